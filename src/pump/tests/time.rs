//! What the clock does to a conversation: silence, instants a service waits for, and calls from other threads.

use super::scene::{SECOND, Scene, act};
use super::script::{Script, SocketInput};
use crate::connection::{CloseReason, Limits};
use crate::service::{Echo, Service, Wait};
use std::cell::RefCell;

fn scene<S: Service>(service: S, arrivals: impl IntoIterator<Item = SocketInput>) -> Scene<S> {
    Scene::new(service, Script::new(arrivals), Limits { idle: Some(SECOND * 10), ..Limits::default() })
}

#[test]
fn a_silent_conversation_ends() {
    let mut scene = scene(Echo, []);
    assert_eq!(scene.run(), None);
    assert_eq!(scene.deadline(), Some(SECOND * 10));
    assert_eq!(scene.pass(SECOND * 10), None);
    assert_eq!(scene.socket.shuts, 1, "the peer is told, and may still end in good order");
    scene.assert_owns_no_heap();
    scene.socket.arrive(SocketInput::End);
    assert_eq!(scene.run(), Some(CloseReason::Idle));
}

#[test]
fn the_idle_timeout_moves_with_every_message() {
    let mut scene = scene(Echo, []);
    for _ in 0..3 {
        scene.socket.arrive_bytes(b"ping");
        assert_eq!(scene.pass(SECOND * 9), None);
    }
    assert_eq!(scene.deadline(), Some(SECOND * 37));
    assert_eq!(scene.pass(SECOND), None, "the timer of an earlier deadline is no news");
    assert_eq!(scene.socket.shuts, 0);
    assert_eq!(scene.pass(SECOND * 9), None);
    assert_eq!(scene.socket.shuts, 1);
    let linger = scene.limits.linger;
    assert_eq!(scene.pass(linger), Some(CloseReason::Idle));
}

#[test]
fn a_peer_that_reads_nothing_is_cut_at_once() {
    let mut scene = scene(Echo, [SocketInput::Bytes(b"ping".to_vec())]);
    scene.socket.stalled = true;
    assert_eq!(scene.run(), None);
    assert_eq!(scene.pass(SECOND * 9), None);
    assert_eq!(scene.pass(SECOND), Some(CloseReason::Idle));
    assert_eq!(scene.socket.shuts, 0);
    scene.assert_owns_no_heap();
}

#[test]
fn so_when_the_service_has_ended() {
    let service = act(|_input, output, _now| {
        output.write(b"bye");
        Wait::Close
    });
    let mut scene = scene(service, []);
    scene.socket.stalled = true;
    assert_eq!(scene.run(), None);
    // What is discarded counts for nothing: the peer does not take what is due to it.
    scene.socket.arrive_bytes(b"more");
    assert_eq!(scene.pass(SECOND * 9), None);
    assert_eq!(scene.deadline(), Some(SECOND * 10));
    assert_eq!(scene.pass(SECOND), Some(CloseReason::Idle));
}

#[test]
fn without_an_idle_timeout_a_conversation_may_wait_for_ever() {
    let mut scene = scene(Echo, []);
    scene.limits = Limits::without_timeouts();
    assert_eq!(scene.run(), None);
    assert_eq!(scene.deadline(), None);
    assert_eq!(scene.pass(SECOND * 1_000_000), None);
    assert_eq!(scene.socket.shuts, 0);
}

#[test]
fn a_service_is_called_when_its_instant_comes_and_on_input_before() {
    let calls = RefCell::new(Vec::new());
    let service = act(|input, output, now| {
        calls.borrow_mut().push((now, input.bytes().len()));
        input.clear();
        output.write(b"tick");
        Wait::Deadline(now + SECOND * 4)
    });
    let mut scene = scene(service, []);
    let at = |seconds| scene.start + SECOND * seconds;
    let expected = [(at(0), 0), (at(4), 0), (at(5), 3), (at(9), 0)];
    assert_eq!(scene.run(), None);
    assert_eq!(scene.deadline(), Some(SECOND * 4));
    assert_eq!(scene.pass(SECOND * 3), None, "too early");
    assert_eq!(scene.pass(SECOND), None);
    scene.socket.arrive_bytes(b"now");
    assert_eq!(scene.pass(SECOND), None);
    assert_eq!(scene.deadline(), Some(SECOND * 9), "the instant named last counts");
    assert_eq!(scene.pass(SECOND * 3), None);
    assert_eq!(scene.pass(SECOND), None);
    assert_eq!(*calls.borrow(), expected);
    assert_eq!(scene.socket.written, b"tick".repeat(4));
    scene.assert_owns_no_heap();
}

#[test]
fn a_service_may_go_on_after_the_end_of_input() {
    let service = act(|_input, output, now| {
        output.write(b"tick");
        Wait::Deadline(now + SECOND)
    });
    let mut scene = scene(service, [SocketInput::End]);
    assert_eq!(scene.run(), None);
    assert_eq!(scene.pass(SECOND), None);
    assert_eq!(scene.socket.written, b"tick".repeat(3), "to open, at the end, and when the instant came");
}

#[test]
fn a_wake_calls_the_service() {
    let news = RefCell::new(Vec::new());
    let service = act(|_input, output, _now| {
        output.write(&news.take());
        Wait::Input
    });
    let mut scene = scene(service, []);
    assert_eq!(scene.run(), None);
    news.borrow_mut().extend_from_slice(b"news");
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.written, b"", "nobody told the connection");
    scene.connection.handle_wake();
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.written, b"news");
    assert_eq!(scene.socket.reads, 0);
    scene.assert_owns_no_heap();
}

#[test]
fn a_wake_after_the_end_of_the_service_is_no_news() {
    let mut calls = 0;
    let service = act(|_input, _output, _now| {
        calls += 1;
        Wait::Close
    });
    let mut scene = scene(service, []);
    assert_eq!(scene.run(), None);
    scene.connection.handle_wake();
    assert_eq!(scene.run(), None);
    scene.socket.arrive(SocketInput::End);
    assert_eq!(scene.run(), Some(CloseReason::Completed));
    drop(scene);
    assert_eq!(calls, 1);
}

/// The scene itself fails when nobody is told.
#[test]
fn a_deadline_that_comes_nearer_is_told() {
    let mut scene = scene(Echo, []);
    scene.limits.write = Some(SECOND);
    assert_eq!(scene.run(), None);
    scene.socket.stalled = true;
    scene.socket.arrive_bytes(b"what cannot be sent back");
    assert_eq!(scene.run(), None);
    assert_eq!(scene.deadline(), Some(SECOND / 8), "a check of what was delivered");
    assert_eq!(scene.pass(SECOND), Some(CloseReason::WriteTimeout));

    let mut scene =
        self::scene(act(|input, _, now| if input.is_empty() { Wait::Input } else { Wait::Deadline(now + SECOND) }), []);
    assert_eq!(scene.run(), None);
    scene.socket.arrive_bytes(b"wait for it");
    assert_eq!(scene.run(), None);
    assert_eq!(scene.deadline(), Some(SECOND));
}

#[test]
fn a_precise_instant_is_told_once_and_kept() {
    let mut calls = 0;
    let service = act(|input, output, now| {
        calls += 1;
        input.clear();
        output.write(b"tick");
        // The same instant for every call within the same second.
        Wait::PreciseDeadline(now + SECOND)
    });
    let mut scene = scene(service, []);
    assert_eq!(scene.run(), None);
    assert_eq!(scene.precise_deadline(), Some(SECOND));
    assert_eq!(scene.deadline(), Some(SECOND * 10), "the wheel has no part in it");
    scene.socket.arrive_bytes(b"now");
    assert_eq!(scene.run(), None);
    assert_eq!(scene.precise_timers(), 1, "an instant named again is not armed again");
    assert_eq!(scene.pass(SECOND / 2), None);
    scene.socket.arrive_bytes(b"now");
    assert_eq!(scene.pass(SECOND / 4), None);
    assert_eq!(scene.precise_timers(), 2);
    assert_eq!(scene.pass(SECOND / 4), None, "the instant that was overtaken is no news");
    assert_eq!(scene.pass(SECOND * 3 / 4), None);
    drop(scene);
    assert_eq!(calls, 4, "to open, on input twice, and when the instant named last came");
}
