//! Back-pressure and fairness: the cost of a peer that only sends, and of a busy connection to others.

use super::harness::Harness;
use super::services::{ReverseFrames, pattern, service_fn};
use crate::buffer::BLOCK_BYTES;
use crate::connection::{CloseReason, Limits};
use crate::pump::Turn;
use crate::service::{Discard, Echo, Service, Wait};
use crate::testing::{ScriptedSocket, SimulatedSocket, SocketInput, SocketOutput};

fn buffers_of(buffer_bytes: usize) -> Limits {
    Limits { buffer_bytes, ..Limits::default() }
}

/// Serves a peer that sends `stream` and reads nothing at first, then everything.
fn assert_stops_reading<S: Service>(service: S, stream: &[u8], answer: &[u8], limits: Limits) {
    let limit = limits.buffer_bytes;
    let mut sim = Harness::new(service, ScriptedSocket::new([SocketInput::Bytes(stream.to_vec())]).stalled(), limits);
    assert_eq!(sim.run(), None);
    assert!(!sim.socket.is_drained(), "reading stopped");
    let held: usize = sim.connection.buffered_bytes().iter().sum();
    assert_eq!(sim.observer.received.len(), held);
    assert!(held > limit && held <= 2 * limit, "{held} bytes are held");

    let reads = sim.socket.reads;
    sim.connection.handle_event(true, false, false);
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.reads, reads, "an event does not change that");

    sim.socket.resume();
    assert_eq!(sim.run(), None);
    assert!(sim.socket.is_drained());
    assert_eq!(sim.socket.written, answer);
    sim.assert_owns_no_heap();
}

#[test]
fn reading_stops_while_the_peer_does_not_read() {
    for limit in [1, 100, 1000, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES] {
        let stream = pattern(4 * limit + 7);
        assert_stops_reading(Echo, &stream, &stream, buffers_of(limit));
    }
}

#[test]
fn reading_stops_with_a_copying_service_too() {
    let stream = pattern(4000);
    let answer: Vec<u8> = stream.chunks(10).flat_map(|frame| frame.iter().rev().copied()).collect();
    assert_stops_reading(ReverseFrames(10), &stream, &answer, buffers_of(1005));
}

#[test]
fn room_counts_as_free_at_the_low_watermark() {
    let mut calls = Vec::new();
    let service = service_fn(|_input, output, _now| {
        calls.push(output.room());
        while output.write(b"x") > 0 {}
        Wait::Writable
    });
    let outputs = [50, 24, 1].into_iter().flat_map(|count| [SocketOutput::Takes(count), SocketOutput::Full]);
    let script = ScriptedSocket::default().with_outputs(outputs).stalled();
    let mut sim = Harness::new(service, script, buffers_of(100));
    assert_eq!(sim.run(), None);
    drop(sim);
    assert_eq!(calls, [100, 75], "called at the start and at the low watermark");
}

#[test]
fn a_stalled_connection_holds_only_its_bytes() {
    let mut sim = Harness::new(
        ReverseFrames(10),
        ScriptedSocket::new([SocketInput::Bytes(pattern(17))]).stalled(),
        buffers_of(1000),
    );
    assert_eq!(sim.run(), None);
    assert_eq!(sim.connection.buffered_bytes(), [7, 10]);
    assert_eq!(sim.connection.storage_bytes_of_each(), [7, 10]);
}

const TURN_BYTES: usize = 4000;

fn turns_of_4000() -> Limits {
    Limits { turn_bytes: TURN_BYTES, ..buffers_of(1000) }
}

#[test]
fn a_turn_ends_when_its_budget_is_spent() {
    let stream = pattern(20_000);
    let mut sim = Harness::new(Echo, ScriptedSocket::new([SocketInput::Bytes(stream.clone())]), turns_of_4000());
    let event = sim.socket.next_event();
    assert_eq!(event, Some((true, false, false)));
    sim.connection.handle_event(true, false, false);
    // Input is echoed in the same turn, so each direction gets half of the budget.
    for turn in 1..=10 {
        assert_eq!(sim.turn(), Turn::Yielded, "without a further event");
        assert_eq!(sim.socket.written, &stream[..turn * TURN_BYTES / 2]);
    }
    assert_eq!(sim.turn(), Turn::Blocked);
    assert_eq!(sim.socket.next_event(), None);
    sim.assert_owns_no_heap();
}

#[test]
fn a_turn_exceeds_its_budget_by_at_most_one_buffer() {
    let limits = Limits { turn_bytes: 1, ..buffers_of(1000) };
    let mut sim = Harness::new(Echo, ScriptedSocket::new([SocketInput::Bytes(pattern(5000))]), limits);
    sim.connection.handle_event(true, false, false);
    let mut moved = 0;
    while sim.turn() == Turn::Yielded {
        let now_moved = sim.observer.received.len() + sim.observer.sent.len();
        assert!(now_moved > moved && now_moved - moved <= 2000, "one read and its answer");
        moved = now_moved;
    }
    assert_eq!(moved, 10_000);
}

#[test]
fn a_service_that_only_writes_yields() {
    let service = service_fn(|_input, output, _now| {
        while output.write(b"chatter") > 0 {}
        Wait::Writable
    });
    let mut sim = Harness::new(service, ScriptedSocket::default(), turns_of_4000());
    for turn in 1..=3 {
        assert_eq!(sim.turn(), Turn::Yielded);
        assert_eq!(sim.socket.written.len(), turn * TURN_BYTES);
    }
}

#[test]
fn a_peer_that_only_sends_yields() {
    let mut sim = Harness::new(Discard, ScriptedSocket::new([SocketInput::Bytes(pattern(10_000))]), turns_of_4000());
    assert_eq!(sim.run(), None);
    assert_eq!(sim.yields, 2);
    assert!(sim.socket.is_drained());
    sim.assert_owns_no_heap();
}

#[test]
fn discarding_input_yields() {
    let script = ScriptedSocket::new([SocketInput::Bytes(pattern(10_000)), SocketInput::End]);
    let mut sim = Harness::new(service_fn(|_input, _output, _now| Wait::Close), script, turns_of_4000());
    assert_eq!(sim.run(), Some(CloseReason::Completed));
    assert_eq!(sim.yields, 2);
}

#[test]
fn a_frame_that_just_fits_is_answered() {
    let mut sim =
        Harness::new(ReverseFrames(100), ScriptedSocket::new([SocketInput::Bytes(pattern(500))]), buffers_of(100));
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.written.len(), 500);
}

#[test]
fn a_frame_larger_than_the_buffer_closes() {
    let mut short_frames = 2;
    // Two short frames, then one that is larger than the buffer.
    let service = service_fn(move |input, output, _now| {
        while short_frames > 0 && input.bytes().len() >= 10 {
            output.write(&input.bytes()[..10]);
            input.consume(10);
            short_frames -= 1;
        }
        Wait::Input
    });
    let stream = pattern(1000);
    let mut sim = Harness::new(service, ScriptedSocket::new([SocketInput::Bytes(stream.clone())]), buffers_of(100));
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.written, &stream[..20], "earlier frames are answered");
    assert_eq!(sim.socket.shuts, 1);
    assert!(sim.socket.is_drained(), "the rest is discarded");
    sim.assert_owns_no_heap();
    sim.socket.push(SocketInput::End);
    assert_eq!(sim.run(), Some(CloseReason::FrameTooLarge));
}

#[test]
fn a_reply_larger_than_the_buffer_closes() {
    let reply = [b'x'; 101];
    let service = service_fn(move |input, output, _now| {
        if input.is_empty() || output.write_whole(&reply) {
            return Wait::Input;
        }
        Wait::Writable
    });
    let script = ScriptedSocket::new([SocketInput::Bytes(b"how much?".to_vec())]);
    let mut sim = Harness::new(service, script, buffers_of(100));
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.shuts, 1);
    sim.assert_owns_no_heap();
    sim.socket.push(SocketInput::End);
    assert_eq!(sim.run(), Some(CloseReason::ReplyTooLarge));
    assert_eq!(sim.socket.written, b"");
}
