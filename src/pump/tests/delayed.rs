//! `Delayed`: each answer is sent after its delay and never earlier, whatever arrives when.

use super::harness::Harness;
use super::services::{ReverseFrames, SECOND, pattern, service_fn};
use crate::connection::{CloseReason, Limits};
use crate::service::{Delayed, Echo, Service, Wait};
use crate::testing::{ScriptedSocket, SocketInput, SocketOutput};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

const DELAY: Duration = Duration::from_millis(5);

fn delayed<S: Service>(service: S, limits: Limits) -> Harness<Delayed<S>> {
    Harness::new(Delayed::new(service, DELAY), ScriptedSocket::default(), limits)
}

/// Advances the time to `instant`, counted from the start.
fn advance_to<S: Service>(sim: &mut Harness<S>, instant: Duration) -> Option<CloseReason> {
    sim.advance(instant.saturating_sub(sim.observer.now - sim.start))
}

/// Advances the time as a loop does, from one precise timer to the next, until none is armed.
fn advance_to_end<S: Service>(sim: &mut Harness<S>) -> Option<CloseReason> {
    for _ in 0..10_000 {
        let precise_deadline = sim.precise_deadline()?;
        if let Some(reason) = advance_to(sim, precise_deadline) {
            return Some(reason);
        }
    }
    panic!("precise timers never end");
}

proptest! {
    /// The bytes sent at any instant are exactly those that were received one delay earlier.
    #[test]
    fn each_byte_is_echoed_after_the_delay(parts in vec((0u64..9_000, 1usize..200), 1..40)) {
        let mut sim = delayed(Echo, Limits::default());
        prop_assert_eq!(sim.run(), None);
        let stream = pattern(parts.iter().map(|(_, count)| count).sum());
        let mut received = vec![(Duration::ZERO, 0)];
        let check = |sim: &Harness<_>, received: &[(Duration, usize)]| {
            let now = sim.observer.now - sim.start;
            let due = received.iter().rev().find(|(at, _)| *at + DELAY <= now).map_or(0, |(_, total)| *total);
            assert!(sim.socket.written == stream[..due], "{} of {due} bytes at {now:?}", sim.socket.written.len());
        };
        let mut total = 0;
        for (pause, count) in parts {
            let arrival = sim.observer.now - sim.start + Duration::from_micros(pause);
            while let Some(precise_deadline) = sim.precise_deadline().filter(|&deadline| deadline < arrival) {
                prop_assert_eq!(advance_to(&mut sim, precise_deadline), None);
                check(&sim, &received);
            }
            sim.socket.push_bytes(&stream[total..total + count]);
            total += count;
            received.push((arrival, total));
            prop_assert_eq!(advance_to(&mut sim, arrival), None);
            check(&sim, &received);
        }
        prop_assert_eq!(advance_to_end(&mut sim), None);
        prop_assert_eq!(&sim.socket.written, &stream);
        sim.assert_owns_no_heap();
        sim.socket.push(SocketInput::End);
        prop_assert_eq!(sim.run(), None, "the end is delayed as well");
        prop_assert_eq!(advance_to_end(&mut sim), Some(CloseReason::PeerClosed));
    }

    /// For any buffer size and any speed of the peer, every frame is answered in order, followed by the end.
    #[test]
    fn every_frame_is_answered_under_pressure(
        count in 0usize..2000, part in 1usize..300, size in 1usize..40, buffer_bytes in 40usize..200, room in 1usize..90,
    ) {
        let stream = pattern(count);
        let mut inputs: Vec<_> = stream.chunks(part).map(|part| SocketInput::Bytes(part.to_vec())).collect();
        inputs.push(SocketInput::End);
        let outputs = [SocketOutput::Full, SocketOutput::Takes(room)].into_iter().cycle().take(400);
        let limits = Limits { buffer_bytes, turn_bytes: 100, ..Limits::without_timeouts() };
        let socket = ScriptedSocket::new(inputs).with_outputs(outputs);
        let mut sim = Harness::new(Delayed::new(ReverseFrames(size), DELAY), socket, limits);
        let closed = sim.run().or_else(|| advance_to_end(&mut sim));
        prop_assert_eq!(closed, Some(CloseReason::PeerClosed));
        let answers: Vec<u8> = stream.chunks_exact(size).flat_map(|frame| frame.iter().rev().copied()).collect();
        prop_assert_eq!(&sim.socket.written, &answers);
    }
}

#[test]
fn output_before_any_input_is_delayed() {
    let service = service_fn(|_, output, _| {
        output.write(b"Welcome");
        Wait::Close
    });
    let mut sim = delayed(service, Limits::default());
    assert_eq!(sim.run(), None);
    sim.socket.push_bytes(b"Is anybody there?");
    assert_eq!(sim.advance(DELAY.saturating_sub(Duration::from_nanos(1))), None);
    assert_eq!(sim.socket.written, b"");
    assert_eq!(sim.advance(Duration::from_nanos(1)), None);
    assert_eq!(sim.socket.written, b"Welcome");
    assert_eq!(sim.socket.shuts, 1);
}

#[test]
fn a_full_buffer_stops_reading() {
    let mut sim = delayed(Echo, Limits { buffer_bytes: 100, ..Limits::default() });
    for part in pattern(1000).chunks(30) {
        sim.socket.push_bytes(part);
    }
    assert_eq!(sim.run(), None);
    assert_eq!(sim.observer.received, &pattern(100)[..], "reads stop at the buffer limit");
    assert_eq!(advance_to_end(&mut sim), None);
    assert_eq!(sim.socket.written, pattern(1000));
    assert_eq!(sim.observer.now - sim.start, DELAY * 10, "ten full buffers, one per delay");
    sim.assert_owns_no_heap();
}

/// Each byte would be a separate entry. Merging bounds the memory for entries, and no byte is sent early.
#[test]
fn tiny_inputs_are_merged() {
    let mut sim = delayed(Echo, Limits::default());
    assert_eq!(sim.run(), None);
    for byte in pattern(2000) {
        sim.socket.push_bytes(&[byte]);
        assert_eq!(sim.advance(Duration::from_micros(1)), None);
    }
    assert_eq!(sim.advance(DELAY.saturating_sub(Duration::from_millis(2))), None);
    assert_eq!(sim.socket.written, b"", "the first byte arrived one microsecond later");
    assert_eq!(sim.advance(Duration::from_micros(1)), None);
    assert_eq!(sim.socket.written, pattern(1));
    assert!(sim.precise_timers.len() < 600, "{} timers", sim.precise_timers.len());
    assert_eq!(advance_to_end(&mut sim), None);
    assert_eq!(sim.socket.written, pattern(2000));
    assert!(sim.observer.now - sim.start <= DELAY * 2 + Duration::from_millis(2));
}

#[test]
fn the_earlier_of_two_deadlines_counts() {
    let mut next = None;
    let service = service_fn(|input, output, now| {
        output.take(input);
        let due = *next.get_or_insert(now + SECOND);
        if due <= now {
            output.write(b"tick");
            next = Some(now + SECOND);
        }
        Wait::Deadline(due)
    });
    let mut sim = delayed(service, Limits { idle: None, first_byte: None, ..Limits::default() });
    assert_eq!(sim.run(), None);
    assert_eq!(sim.advance(DELAY), None);
    assert_eq!(sim.deadline(), Some(SECOND + DELAY), "a plain deadline stays plain");
    sim.socket.push_bytes(b"now");
    assert_eq!(sim.advance(DELAY), None);
    assert_eq!((sim.precise_deadline(), sim.deadline()), (Some(DELAY * 3), None));
    assert_eq!(sim.advance(DELAY), None);
    assert_eq!(sim.socket.written, b"now");
    assert_eq!(sim.deadline(), Some(SECOND + DELAY));
    assert_eq!(sim.advance(SECOND), None);
    assert_eq!(sim.socket.written, b"nowtick");
}
