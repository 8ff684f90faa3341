//! How conversations end: half-close, lingering, resets and the drain. What was received is answered, what was answered
//! arrives.

use super::scene::{Act, Frames, SECOND, Scene, act, pattern};
use super::script::{Script, SocketInput, SocketOutput};
use crate::connection::{CloseReason, Limits};
use crate::pump::Turn;
use crate::service::{Echo, Input, Output, Service, Wait};
use std::time::Instant;

fn scene<S: Service>(service: S, arrivals: impl IntoIterator<Item = SocketInput>) -> Scene<S> {
    Scene::new(service, Script::new(arrivals), Limits { buffer_bytes: 1000, ..Limits::default() })
}

/// Says goodbye at the first byte, whatever else comes.
fn goodbye() -> Act<impl FnMut(&mut Input<'_>, &mut Output<'_>, Instant) -> Wait> {
    act(|input, output, _now| {
        if input.is_empty() {
            return Wait::Input;
        }
        output.write(b"bye");
        Wait::Close
    })
}

fn bytes(count: usize) -> SocketInput {
    SocketInput::Bytes(pattern(count))
}

#[test]
fn an_end_with_no_data_closes_at_once() {
    let mut scene = scene(Echo, [SocketInput::End]);
    assert_eq!(scene.run(), Some(CloseReason::PeerClosed));
    assert_eq!((scene.socket.reads, scene.socket.writes, scene.socket.shuts), (1, 0, 0));
    scene.assert_owns_no_heap();
}

#[test]
fn everything_before_the_end_is_answered() {
    let mut scene = scene(Echo, [SocketInput::Last(pattern(5000))]);
    scene.socket.stalled = true;
    assert_eq!(scene.run(), None, "not closed while output is left");
    scene.socket.stalled = false;
    assert_eq!(scene.run(), Some(CloseReason::PeerClosed));
    assert_eq!(scene.socket.written, pattern(5000));
    scene.assert_owns_no_heap();
}

/// A service that ends its output: the peer reads the end behind all of it, and what the peer still says is served.
#[test]
fn a_service_may_listen_after_its_own_end() {
    let mut heard = Vec::new();
    let service = act(|input, output, _now| {
        let room = output.room();
        output.write(b"a question");
        assert!(heard.is_empty() || room == 0, "room behind the end");
        output.end();
        heard.extend_from_slice(input.bytes());
        input.clear();
        Wait::Input
    });
    let mut scene = scene(service, [bytes(300), bytes(700), SocketInput::Last(pattern(900))]);
    scene.socket.stalled = true;
    assert_eq!((scene.turn(), scene.socket.shuts), (Turn::Blocked, 0), "not shut while output is left");
    scene.socket.stalled = false;
    assert_eq!(scene.run(), Some(CloseReason::PeerClosed));
    assert_eq!((scene.socket.written.as_slice(), scene.socket.shuts), (&b"a question"[..], 1));
    scene.assert_owns_no_heap();
    drop(scene);
    assert_eq!(heard.len(), 300 + 700 + 900);
}

/// The end is sent once, and what comes while the conversation finishes is discarded as ever.
#[test]
fn a_half_that_is_shut_is_not_shut_again() {
    let service = act(|input, output, _now| {
        output.end();
        if input.is_empty() { Wait::Input } else { Wait::Close }
    });
    let mut scene = scene(service, [bytes(10), bytes(500)]);
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.shuts, scene.connection.buffered_bytes()), (1, [0, 0]));
    scene.socket.arrive(SocketInput::End);
    assert_eq!((scene.run(), scene.socket.shuts), (Some(CloseReason::Completed), 1));
}

#[test]
fn a_service_may_speak_after_the_end() {
    let service = act(|input, output, now| {
        if !input.has_ended() {
            return Wait::Deadline(now + SECOND);
        }
        output.write(b"and one more thing");
        Wait::Input
    });
    let mut scene = scene(service, [SocketInput::End]);
    assert_eq!(scene.run(), Some(CloseReason::PeerClosed));
    assert_eq!(scene.socket.written, b"and one more thing");
}

#[test]
fn a_part_of_a_frame_before_the_end_is_dropped() {
    let mut scene = scene(Frames(10), [SocketInput::Last(pattern(15))]);
    assert_eq!(scene.run(), Some(CloseReason::PeerClosed));
    assert_eq!(scene.socket.written.len(), 10);
    scene.assert_owns_no_heap();
}

#[test]
fn unread_input_is_discarded_until_its_end() {
    let mut scene = scene(goodbye(), [bytes(5000), bytes(10)]);
    assert_eq!(scene.run(), None, "lingering");
    assert_eq!((scene.socket.written.as_slice(), scene.socket.shuts), (&b"bye"[..], 1));
    assert!(scene.socket.is_drained());
    assert_eq!(scene.witness.received.len(), 5010, "what is discarded is reported all the same");
    scene.assert_owns_no_heap();
    scene.socket.arrive(SocketInput::End);
    assert_eq!(scene.run(), Some(CloseReason::Completed));
}

#[test]
fn lingering_ends_at_its_deadline_however_much_arrives() {
    let mut scene = scene(goodbye(), [bytes(5000)]);
    scene.limits.linger = SECOND * 5;
    assert_eq!(scene.run(), None);
    assert_eq!(scene.deadline(), Some(SECOND * 5));
    scene.witness.now += SECOND;
    scene.socket.arrive(bytes(10));
    assert_eq!(scene.run(), None);
    assert_eq!(scene.deadline(), Some(SECOND * 5), "a trickle does not prolong it");
    assert_eq!(scene.pass(SECOND * 3), None);
    assert_eq!(scene.pass(SECOND), Some(CloseReason::Completed));
    scene.assert_owns_no_heap();
}

#[test]
fn a_reset_while_lingering_is_no_news() {
    let mut scene = scene(goodbye(), [bytes(10), SocketInput::Reset]);
    assert_eq!(scene.run(), Some(CloseReason::Completed));
    assert_eq!(scene.socket.written, b"bye");
}

#[test]
fn a_reset_with_unsent_output_is_news() {
    let mut scene = scene(goodbye(), [bytes(10), SocketInput::Reset]);
    scene.socket.stalled = true;
    assert_eq!(scene.run(), Some(CloseReason::Reset));
    scene.assert_owns_no_heap();
}

#[test]
fn input_is_discarded_while_output_is_unsent() {
    let mut scene = scene(goodbye(), [bytes(5000), SocketInput::End]);
    scene.socket.stalled = true;
    assert_eq!(scene.run(), None);
    assert!(scene.socket.is_drained());
    assert_eq!(scene.connection.storage_bytes_of_each(), [0, 3]);
    scene.socket.stalled = false;
    assert_eq!(scene.run(), Some(CloseReason::Completed));
    assert_eq!((scene.socket.written.as_slice(), scene.socket.shuts), (&b"bye"[..], 0), "the end came already");
}

#[test]
fn the_half_is_shut_when_the_last_byte_is_out() {
    let mut scene = scene(goodbye(), [bytes(1)]);
    scene.socket = Script::new([bytes(1)]).taking([SocketOutput::Takes(2), SocketOutput::Full]).stalled();
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.written.as_slice(), scene.socket.shuts), (&b"by"[..], 0));
    scene.socket.stalled = false;
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.written.as_slice(), scene.socket.shuts), (&b"bye"[..], 1));
}

/// Begins a drain as a worker does: the turn comes at once, without an event.
fn drain<S: Service>(scene: &mut Scene<S>) -> Option<CloseReason> {
    scene.limits.drain_by = Some(scene.witness.now + SECOND * 2);
    scene.connection.handle_drain();
    scene.run()
}

#[test]
fn a_quiet_conversation_is_drained_after_one_look() {
    let mut scene = scene(Echo, []);
    assert_eq!(scene.run(), None);
    assert_eq!(drain(&mut scene), None);
    assert_eq!((scene.socket.reads, scene.socket.writes, scene.socket.shuts), (1, 0, 1));
    scene.assert_owns_no_heap();
    scene.socket.arrive(SocketInput::End);
    assert_eq!(scene.run(), Some(CloseReason::Drained));
}

#[test]
fn a_drain_answers_what_is_there() {
    let mut scene = scene(Echo, []);
    assert_eq!(scene.run(), None);
    // It arrives, but the event was not seen yet when the drain begins.
    scene.socket.arrive(bytes(5000));
    assert_eq!(drain(&mut scene), None);
    assert_eq!((scene.socket.written.len(), scene.socket.shuts), (5000, 1));
    scene.socket.arrive(SocketInput::End);
    assert_eq!(scene.run(), Some(CloseReason::Drained));
}

#[test]
fn a_conversation_that_opens_while_draining_is_looked_at() {
    let mut scene = scene(Echo, [SocketInput::Last(b"ping".to_vec())]);
    assert_eq!(drain(&mut scene), Some(CloseReason::Drained));
    assert_eq!((scene.socket.written.as_slice(), scene.socket.shuts), (&b"ping"[..], 1));
}

#[test]
fn a_drain_waits_for_output_and_for_the_rest_of_a_frame() {
    let mut scene = scene(Frames(10), [bytes(5)]);
    scene.socket.stalled = true;
    assert_eq!(scene.run(), None);
    assert_eq!(drain(&mut scene), None);
    assert_eq!(scene.socket.shuts, 0, "half a frame is in flight");
    scene.socket.arrive(bytes(5));
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.shuts, 0, "its answer is in flight");
    scene.socket.stalled = false;
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.written.len(), scene.socket.shuts), (10, 1));
}

#[test]
fn a_drain_answers_what_comes_while_output_is_unsent() {
    let mut scene = scene(Echo, [SocketInput::Bytes(b"ping".to_vec())]);
    scene.socket.stalled = true;
    assert_eq!(scene.run(), None);
    assert_eq!(drain(&mut scene), None);
    scene.socket.arrive_bytes(b"pong");
    assert_eq!(scene.run(), None);
    scene.socket.stalled = false;
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.written.as_slice(), scene.socket.shuts), (&b"pingpong"[..], 1));
}

#[test]
fn a_drain_waits_for_the_instant_of_a_service() {
    let mut calls = 0;
    let service = act(|_input, output, now| {
        calls += 1;
        if calls == 1 {
            return Wait::Deadline(now + SECOND);
        }
        output.write(b"bye");
        Wait::Input
    });
    let mut scene = scene(service, []);
    assert_eq!(scene.run(), None);
    assert_eq!(drain(&mut scene), None);
    assert_eq!((scene.socket.shuts, scene.deadline()), (0, Some(SECOND)));
    assert_eq!(scene.pass(SECOND), None);
    assert_eq!((scene.socket.written.as_slice(), scene.socket.shuts), (&b"bye"[..], 1));
}

#[test]
fn a_drain_that_takes_too_long_is_cut() {
    let mut scene = scene(Echo, [bytes(10)]);
    scene.socket.stalled = true;
    assert_eq!(scene.run(), None);
    assert_eq!(drain(&mut scene), None);
    assert_eq!(scene.deadline(), Some(SECOND * 2));
    assert_eq!(scene.pass(SECOND), None);
    assert_eq!(scene.pass(SECOND), Some(CloseReason::DrainCut));
    scene.assert_owns_no_heap();
}

#[test]
fn a_drain_timeout_while_lingering_is_no_news() {
    let mut scene = scene(Echo, []);
    assert_eq!(scene.run(), None);
    scene.limits.linger = SECOND * 5;
    assert_eq!(drain(&mut scene), None);
    assert_eq!(scene.pass(SECOND * 2), Some(CloseReason::Drained));
}
