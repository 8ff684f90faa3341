//! Timeouts, deadlines of services, and wake-ups from other threads.

use super::harness::Harness;
use super::services::{SECOND, service_fn};
use crate::connection::{CloseReason, Limits};
use crate::service::{Echo, Service, Wait};
use crate::testing::{ScriptedSocket, SocketInput};
use std::cell::RefCell;

fn sim<S: Service>(service: S, inputs: impl IntoIterator<Item = SocketInput>) -> Harness<S> {
    Harness::new(service, ScriptedSocket::new(inputs), Limits { idle: Some(SECOND * 10), ..Limits::default() })
}

#[test]
fn an_idle_connection_is_finished() {
    let mut sim = sim(Echo, []);
    assert_eq!(sim.run(), None);
    assert_eq!(sim.deadline(), Some(SECOND * 10));
    assert_eq!(sim.advance(SECOND * 10), None);
    assert_eq!(sim.socket.shuts, 1, "our half is shut down, and the peer may still end in order");
    sim.assert_owns_no_heap();
    sim.socket.push(SocketInput::End);
    assert_eq!(sim.run(), Some(CloseReason::Idle));
}

#[test]
fn the_idle_timeout_moves_with_every_message() {
    let mut sim = sim(Echo, []);
    for _ in 0..3 {
        sim.socket.push_bytes(b"ping");
        assert_eq!(sim.advance(SECOND * 9), None);
    }
    assert_eq!(sim.deadline(), Some(SECOND * 37));
    assert_eq!(sim.advance(SECOND), None, "the timer of an earlier deadline changes nothing");
    assert_eq!(sim.socket.shuts, 0);
    assert_eq!(sim.advance(SECOND * 9), None);
    assert_eq!(sim.socket.shuts, 1);
    let linger = sim.limits.linger;
    assert_eq!(sim.advance(linger), Some(CloseReason::Idle));
}

#[test]
fn a_peer_that_reads_nothing_is_closed_at_the_timeout() {
    let mut sim = sim(Echo, [SocketInput::Bytes(b"ping".to_vec())]);
    sim.socket.stall_after(0);
    assert_eq!(sim.run(), None);
    assert_eq!(sim.advance(SECOND * 9), None);
    assert_eq!(sim.advance(SECOND), Some(CloseReason::Idle));
    assert_eq!(sim.socket.shuts, 0);
    sim.assert_owns_no_heap();
}

#[test]
fn a_finishing_connection_is_closed_at_the_idle_timeout() {
    let service = service_fn(|_input, output, _now| {
        output.write(b"bye");
        Wait::Close
    });
    let mut sim = sim(service, []);
    sim.socket.stall_after(0);
    assert_eq!(sim.run(), None);
    // Discarded input does not count as activity, because the peer does not read its output.
    sim.socket.push_bytes(b"more");
    assert_eq!(sim.advance(SECOND * 9), None);
    assert_eq!(sim.deadline(), Some(SECOND * 10));
    assert_eq!(sim.advance(SECOND), Some(CloseReason::Idle));
}

#[test]
fn without_an_idle_timeout_a_connection_waits_for_ever() {
    let mut sim = sim(Echo, []);
    sim.limits = Limits::without_timeouts();
    assert_eq!(sim.run(), None);
    assert_eq!(sim.deadline(), None);
    assert_eq!(sim.advance(SECOND * 1_000_000), None);
    assert_eq!(sim.socket.shuts, 0);
}

#[test]
fn a_service_is_called_at_its_deadline_and_on_input() {
    let calls = RefCell::new(Vec::new());
    let service = service_fn(|input, output, now| {
        calls.borrow_mut().push((now, input.bytes().len()));
        input.clear();
        output.write(b"tick");
        Wait::Deadline(now + SECOND * 4)
    });
    let mut sim = sim(service, []);
    let at = |seconds| sim.start + SECOND * seconds;
    let expected = [(at(0), 0), (at(4), 0), (at(5), 3), (at(9), 0)];
    assert_eq!(sim.run(), None);
    assert_eq!(sim.deadline(), Some(SECOND * 4));
    assert_eq!(sim.advance(SECOND * 3), None, "too early");
    assert_eq!(sim.advance(SECOND), None);
    sim.socket.push_bytes(b"now");
    assert_eq!(sim.advance(SECOND), None);
    assert_eq!(sim.deadline(), Some(SECOND * 9), "the last deadline counts");
    assert_eq!(sim.advance(SECOND * 3), None);
    assert_eq!(sim.advance(SECOND), None);
    assert_eq!(*calls.borrow(), expected);
    assert_eq!(sim.socket.written, b"tick".repeat(4));
    sim.assert_owns_no_heap();
}

#[test]
fn a_service_may_continue_after_the_end_of_input() {
    let service = service_fn(|_input, output, now| {
        output.write(b"tick");
        Wait::Deadline(now + SECOND)
    });
    let mut sim = sim(service, [SocketInput::End]);
    assert_eq!(sim.run(), None);
    assert_eq!(sim.advance(SECOND), None);
    assert_eq!(sim.socket.written, b"tick".repeat(3), "at the start, at the end, and at the deadline");
}

#[test]
fn a_wake_calls_the_service() {
    let message = RefCell::new(Vec::new());
    let service = service_fn(|_input, output, _now| {
        output.write(&message.take());
        Wait::Input
    });
    let mut sim = sim(service, []);
    assert_eq!(sim.run(), None);
    message.borrow_mut().extend_from_slice(b"news");
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.written, b"", "the connection was not woken");
    sim.connection.handle_wake();
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.written, b"news");
    assert_eq!(sim.socket.reads, 0);
    sim.assert_owns_no_heap();
}

#[test]
fn a_wake_after_the_service_has_closed_is_ignored() {
    let mut calls = 0;
    let service = service_fn(|_input, _output, _now| {
        calls += 1;
        Wait::Close
    });
    let mut sim = sim(service, []);
    assert_eq!(sim.run(), None);
    sim.connection.handle_wake();
    assert_eq!(sim.run(), None);
    sim.socket.push(SocketInput::End);
    assert_eq!(sim.run(), Some(CloseReason::Completed));
    drop(sim);
    assert_eq!(calls, 1);
}

/// The simulation itself fails when a nearer deadline is not reported.
#[test]
fn a_nearer_deadline_is_reported() {
    let mut sim = sim(Echo, []);
    sim.limits.write = Some(SECOND);
    assert_eq!(sim.run(), None);
    sim.socket.stall_after(0);
    sim.socket.push_bytes(b"what cannot be sent back");
    assert_eq!(sim.run(), None);
    assert_eq!(sim.deadline(), Some(SECOND / 8), "a check of the delivered output");
    assert_eq!(sim.advance(SECOND), Some(CloseReason::WriteTimeout));

    let mut sim = self::sim(
        service_fn(|input, _, now| if input.is_empty() { Wait::Input } else { Wait::Deadline(now + SECOND) }),
        [],
    );
    assert_eq!(sim.run(), None);
    sim.socket.push_bytes(b"wait for it");
    assert_eq!(sim.run(), None);
    assert_eq!(sim.deadline(), Some(SECOND));
}

#[test]
fn a_precise_deadline_is_armed_once() {
    let mut calls = 0;
    let service = service_fn(|input, output, now| {
        calls += 1;
        input.clear();
        output.write(b"tick");
        // Calls at the same time name the same instant.
        Wait::PreciseDeadline(now + SECOND)
    });
    let mut sim = sim(service, []);
    assert_eq!(sim.run(), None);
    assert_eq!(sim.precise_deadline(), Some(SECOND));
    assert_eq!(sim.deadline(), Some(SECOND * 10), "not a deadline of the wheel");
    sim.socket.push_bytes(b"now");
    assert_eq!(sim.run(), None);
    assert_eq!(sim.precise_timers.len(), 1, "an unchanged deadline is not armed again");
    assert_eq!(sim.advance(SECOND / 2), None);
    sim.socket.push_bytes(b"now");
    assert_eq!(sim.advance(SECOND / 4), None);
    assert_eq!(sim.precise_timers.len(), 2);
    assert_eq!(sim.advance(SECOND / 4), None, "the timer of a replaced deadline changes nothing");
    assert_eq!(sim.advance(SECOND * 3 / 4), None);
    drop(sim);
    assert_eq!(calls, 4, "at the start, on input twice, and at the last deadline");
}
