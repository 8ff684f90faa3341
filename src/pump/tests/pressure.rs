//! Back-pressure and fairness: what a peer that only sends, or a neighbour with much to say, can cost.

use super::scene::{Frames, Scene, act, pattern};
use super::script::{Script, SocketInput, SocketOutput};
use crate::buffer::BLOCK_BYTES;
use crate::connection::{CloseReason, Limits};
use crate::pump::Turn;
use crate::service::{Discard, Echo, Service, Wait};

fn buffers_of(buffer_bytes: usize) -> Limits {
    Limits { buffer_bytes, ..Limits::default() }
}

/// A peer that sends `stream` and reads nothing at first, then everything.
fn assert_holds_back<S: Service>(service: S, stream: &[u8], answer: &[u8], limits: Limits) {
    let limit = limits.buffer_bytes;
    let mut scene = Scene::new(service, Script::new([SocketInput::Bytes(stream.to_vec())]).stalled(), limits);
    assert_eq!(scene.run(), None);
    assert!(!scene.socket.is_drained(), "reading stopped");
    let held: usize = scene.connection.buffered_bytes().iter().sum();
    assert_eq!(scene.witness.received.len(), held);
    assert!(held > limit && held <= 2 * limit, "{held} bytes are held");

    let reads = scene.socket.reads;
    scene.connection.handle_event(true, false, false);
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.reads, reads, "an event does not change that");

    scene.socket.stalled = false;
    assert_eq!(scene.run(), None);
    assert!(scene.socket.is_drained());
    assert_eq!(scene.socket.written, answer);
    scene.assert_owns_no_heap();
}

#[test]
fn a_peer_that_never_reads_is_not_read_from() {
    for limit in [1, 100, 1000, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES] {
        let stream = pattern(4 * limit + 7);
        assert_holds_back(Echo, &stream, &stream, buffers_of(limit));
    }
}

#[test]
fn so_with_a_service_that_copies() {
    let stream = pattern(4000);
    let answer: Vec<u8> = stream.chunks(10).flat_map(|frame| frame.iter().rev().copied()).collect();
    assert_holds_back(Frames(10), &stream, &answer, buffers_of(1005));
}

#[test]
fn room_counts_as_freed_when_most_of_the_output_is_gone() {
    let mut calls = Vec::new();
    let service = act(|_input, output, _now| {
        calls.push(output.room());
        while output.write(b"x") > 0 {}
        Wait::Writable
    });
    let departures = [50, 24, 1].into_iter().flat_map(|count| [SocketOutput::Takes(count), SocketOutput::Full]);
    let script = Script::default().taking(departures).stalled();
    let mut scene = Scene::new(service, script, buffers_of(100));
    assert_eq!(scene.run(), None);
    drop(scene);
    assert_eq!(calls, [100, 75], "called to open, and at a quarter left");
}

#[test]
fn a_stalled_conversation_holds_what_it_needs() {
    let mut scene = Scene::new(Frames(10), Script::new([SocketInput::Bytes(pattern(17))]).stalled(), buffers_of(1000));
    assert_eq!(scene.run(), None);
    assert_eq!(scene.connection.buffered_bytes(), [7, 10]);
    assert_eq!(scene.connection.storage_bytes_of_each(), [7, 10]);
}

const TURN_BYTES: usize = 4000;

fn turns_of_4000() -> Limits {
    Limits { turn_bytes: TURN_BYTES, ..buffers_of(1000) }
}

#[test]
fn a_turn_ends_when_its_budget_is_spent() {
    let stream = pattern(20_000);
    let mut scene = Scene::new(Echo, Script::new([SocketInput::Bytes(stream.clone())]), turns_of_4000());
    let event = scene.socket.next_event();
    assert_eq!(event, Some((true, false, false)));
    scene.connection.handle_event(true, false, false);
    // What was read is written in the same turn, so half of the budget goes each way.
    for turn in 1..=10 {
        assert_eq!(scene.turn(), Turn::Yielded, "without a further event");
        assert_eq!(scene.socket.written, &stream[..turn * TURN_BYTES / 2]);
    }
    assert_eq!(scene.turn(), Turn::Blocked);
    assert_eq!(scene.socket.next_event(), None);
    scene.assert_owns_no_heap();
}

#[test]
fn a_budget_is_exceeded_by_one_buffer_at_most() {
    let limits = Limits { turn_bytes: 1, ..buffers_of(1000) };
    let mut scene = Scene::new(Echo, Script::new([SocketInput::Bytes(pattern(5000))]), limits);
    scene.connection.handle_event(true, false, false);
    let mut moved = 0;
    while scene.turn() == Turn::Yielded {
        let now_moved = scene.witness.received.len() + scene.witness.sent.len();
        assert!(now_moved > moved && now_moved - moved <= 2000, "one read and its answer");
        moved = now_moved;
    }
    assert_eq!(moved, 10_000);
}

#[test]
fn a_service_that_only_speaks_yields() {
    let service = act(|_input, output, _now| {
        while output.write(b"chatter") > 0 {}
        Wait::Writable
    });
    let mut scene = Scene::new(service, Script::default(), turns_of_4000());
    for turn in 1..=3 {
        assert_eq!(scene.turn(), Turn::Yielded);
        assert_eq!(scene.socket.written.len(), turn * TURN_BYTES);
    }
}

#[test]
fn a_peer_that_only_sends_yields() {
    let mut scene = Scene::new(Discard, Script::new([SocketInput::Bytes(pattern(10_000))]), turns_of_4000());
    assert_eq!(scene.run(), None);
    assert_eq!(scene.yields, 2);
    assert!(scene.socket.is_drained());
    scene.assert_owns_no_heap();
}

#[test]
fn discarding_yields() {
    let script = Script::new([SocketInput::Bytes(pattern(10_000)), SocketInput::End]);
    let mut scene = Scene::new(act(|_input, _output, _now| Wait::Close), script, turns_of_4000());
    assert_eq!(scene.run(), Some(CloseReason::Completed));
    assert_eq!(scene.yields, 2);
}

#[test]
fn a_frame_that_just_fits_is_answered() {
    let mut scene = Scene::new(Frames(100), Script::new([SocketInput::Bytes(pattern(500))]), buffers_of(100));
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.written.len(), 500);
}

#[test]
fn a_frame_that_can_never_fit_ends_the_conversation() {
    let mut whole = 2;
    // Two short frames, then one that is longer than the buffer.
    let service = act(move |input, output, _now| {
        while whole > 0 && input.bytes().len() >= 10 {
            output.write(&input.bytes()[..10]);
            input.consume(10);
            whole -= 1;
        }
        Wait::Input
    });
    let stream = pattern(1000);
    let mut scene = Scene::new(service, Script::new([SocketInput::Bytes(stream.clone())]), buffers_of(100));
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.written, &stream[..20], "what came before it is answered");
    assert_eq!(scene.socket.shuts, 1);
    assert!(scene.socket.is_drained(), "the rest is discarded");
    scene.assert_owns_no_heap();
    scene.socket.arrive(SocketInput::End);
    assert_eq!(scene.run(), Some(CloseReason::FrameTooLarge));
}

#[test]
fn a_reply_that_can_never_fit_ends_the_conversation() {
    let reply = [b'x'; 101];
    let service = act(move |input, output, _now| {
        if input.is_empty() || output.write_whole(&reply) {
            return Wait::Input;
        }
        Wait::Writable
    });
    let script = Script::new([SocketInput::Bytes(b"how much?".to_vec())]);
    let mut scene = Scene::new(service, script, buffers_of(100));
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.shuts, 1);
    scene.assert_owns_no_heap();
    scene.socket.arrive(SocketInput::End);
    assert_eq!(scene.run(), Some(CloseReason::ReplyTooLarge));
    assert_eq!(scene.socket.written, b"");
}
