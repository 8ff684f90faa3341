//! How connections end: half-close, lingering, resets and drain. Received input is answered, and answers arrive.

use super::harness::Harness;
use super::services::{FnService, ReverseFrames, SECOND, pattern, service_fn};
use crate::connection::{CloseReason, Limits};
use crate::pump::Turn;
use crate::service::{Context, Delayed, Echo, Input, Output, Service, Wait};
use crate::testing::{ScriptedSocket, SocketInput, SocketOutput};
use std::time::Instant;

fn sim<S: Service>(service: S, inputs: impl IntoIterator<Item = SocketInput>) -> Harness<S> {
    Harness::new(service, ScriptedSocket::new(inputs), Limits { buffer_bytes: 1000, ..Limits::default() })
}

/// Writes "bye" and closes at the first byte, whatever else arrives.
fn write_and_close() -> FnService<impl FnMut(&mut Input<'_>, &mut Output<'_>, Instant) -> Wait> {
    service_fn(|input, output, _now| {
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
fn an_end_without_data_closes_at_once() {
    let mut sim = sim(Echo, [SocketInput::End]);
    assert_eq!(sim.run(), Some(CloseReason::PeerClosed));
    assert_eq!((sim.socket.reads, sim.socket.writes, sim.socket.shuts), (1, 0, 0));
    sim.assert_owns_no_heap();
}

#[test]
fn input_before_the_end_is_answered() {
    let mut sim = sim(Echo, [SocketInput::Last(pattern(5000))]);
    sim.socket.stall_after(0);
    assert_eq!(sim.run(), None, "not closed while output is unsent");
    sim.socket.resume();
    assert_eq!(sim.run(), Some(CloseReason::PeerClosed));
    assert_eq!(sim.socket.written, pattern(5000));
    sim.assert_owns_no_heap();
}

/// A service ends its output: the peer receives all of it, then the end, and its further input is still served.
#[test]
fn a_service_may_receive_after_ending_its_output() {
    let mut served = Vec::new();
    let service = service_fn(|input, output, _now| {
        let room = output.room();
        output.write(b"a question");
        assert!(served.is_empty() || room == 0, "room after the end of output");
        output.end();
        served.extend_from_slice(input.bytes());
        input.clear();
        Wait::Input
    });
    let mut sim = sim(service, [bytes(300), bytes(700), SocketInput::Last(pattern(900))]);
    sim.socket.stall_after(0);
    assert_eq!((sim.turn(), sim.socket.shuts), (Turn::Blocked, 0), "not shut down while output is unsent");
    sim.socket.resume();
    assert_eq!(sim.run(), Some(CloseReason::PeerClosed));
    assert_eq!((sim.socket.written.as_slice(), sim.socket.shuts), (&b"a question"[..], 1));
    sim.assert_owns_no_heap();
    drop(sim);
    assert_eq!(served.len(), 300 + 700 + 900);
}

/// The end is sent once, and input is discarded while the connection finishes.
#[test]
fn the_sending_half_is_shut_down_once() {
    let service = service_fn(|input, output, _now| {
        output.end();
        if input.is_empty() { Wait::Input } else { Wait::Close }
    });
    let mut sim = sim(service, [bytes(10), bytes(500)]);
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.shuts, sim.connection.buffered_bytes()), (1, [0, 0]));
    sim.socket.push(SocketInput::End);
    assert_eq!((sim.run(), sim.socket.shuts), (Some(CloseReason::Completed), 1));
}

#[test]
fn a_service_may_write_after_the_end_of_input() {
    let service = service_fn(|input, output, now| {
        if !input.has_ended() {
            return Wait::Deadline(now + SECOND);
        }
        output.write(b"and one more thing");
        Wait::Input
    });
    let mut sim = sim(service, [SocketInput::End]);
    assert_eq!(sim.run(), Some(CloseReason::PeerClosed));
    assert_eq!(sim.socket.written, b"and one more thing");
}

#[test]
fn a_partial_frame_before_the_end_is_dropped() {
    let mut sim = sim(ReverseFrames(10), [SocketInput::Last(pattern(15))]);
    assert_eq!(sim.run(), Some(CloseReason::PeerClosed));
    assert_eq!(sim.socket.written.len(), 10);
    sim.assert_owns_no_heap();
}

#[test]
fn unread_input_is_discarded_until_its_end() {
    let mut sim = sim(write_and_close(), [bytes(5000), bytes(10)]);
    assert_eq!(sim.run(), None, "lingering");
    assert_eq!((sim.socket.written.as_slice(), sim.socket.shuts), (&b"bye"[..], 1));
    assert!(sim.socket.is_drained());
    assert_eq!(sim.observer.received.len(), 5010, "discarded input is reported too");
    sim.assert_owns_no_heap();
    sim.socket.push(SocketInput::End);
    assert_eq!(sim.run(), Some(CloseReason::Completed));
}

#[test]
fn input_does_not_extend_lingering() {
    let mut sim = sim(write_and_close(), [bytes(5000)]);
    sim.limits.linger = SECOND * 5;
    assert_eq!(sim.run(), None);
    assert_eq!(sim.deadline(), Some(SECOND * 5));
    sim.observer.now += SECOND;
    sim.socket.push(bytes(10));
    assert_eq!(sim.run(), None);
    assert_eq!(sim.deadline(), Some(SECOND * 5), "a trickle does not prolong it");
    assert_eq!(sim.advance(SECOND * 3), None);
    assert_eq!(sim.advance(SECOND), Some(CloseReason::Completed));
    sim.assert_owns_no_heap();
}

#[test]
fn a_reset_while_lingering_keeps_the_reason() {
    let mut sim = sim(write_and_close(), [bytes(10), SocketInput::Reset]);
    assert_eq!(sim.run(), Some(CloseReason::Completed));
    assert_eq!(sim.socket.written, b"bye");
}

#[test]
fn a_reset_with_unsent_output_is_reported() {
    let mut sim = sim(write_and_close(), [bytes(10), SocketInput::Reset]);
    sim.socket.stall_after(0);
    assert_eq!(sim.run(), Some(CloseReason::Reset));
    sim.assert_owns_no_heap();
}

#[test]
fn input_is_discarded_while_output_is_unsent() {
    let mut sim = sim(write_and_close(), [bytes(5000), SocketInput::End]);
    sim.socket.stall_after(0);
    assert_eq!(sim.run(), None);
    assert!(sim.socket.is_drained());
    assert_eq!(sim.connection.storage_bytes_of_each(), [0, 3]);
    sim.socket.resume();
    assert_eq!(sim.run(), Some(CloseReason::Completed));
    assert_eq!((sim.socket.written.as_slice(), sim.socket.shuts), (&b"bye"[..], 0), "the peer has ended already");
}

#[test]
fn shutdown_follows_the_last_byte() {
    let mut sim = sim(write_and_close(), [bytes(1)]);
    sim.socket = ScriptedSocket::new([bytes(1)]).with_outputs([SocketOutput::Takes(2), SocketOutput::Full]).stalled();
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.written.as_slice(), sim.socket.shuts), (&b"by"[..], 0));
    sim.socket.resume();
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.written.as_slice(), sim.socket.shuts), (&b"bye"[..], 1));
}

/// Starts a drain as a worker does, with a turn but without an event.
fn drain<S: Service>(sim: &mut Harness<S>) -> Option<CloseReason> {
    sim.limits.drain_by = Some(sim.observer.now + SECOND * 2);
    sim.connection.handle_drain();
    sim.run()
}

#[test]
fn a_quiet_connection_is_drained_after_one_read() {
    let mut sim = sim(Echo, []);
    assert_eq!(sim.run(), None);
    assert_eq!(drain(&mut sim), None);
    assert_eq!((sim.socket.reads, sim.socket.writes, sim.socket.shuts), (1, 0, 1));
    sim.assert_owns_no_heap();
    sim.socket.push(SocketInput::End);
    assert_eq!(sim.run(), Some(CloseReason::Drained));
}

#[test]
fn a_drain_answers_input_that_has_arrived() {
    let mut sim = sim(Echo, []);
    assert_eq!(sim.run(), None);
    // The bytes have arrived, but their event is still unhandled when the drain starts.
    sim.socket.push(bytes(5000));
    assert_eq!(drain(&mut sim), None);
    assert_eq!((sim.socket.written.len(), sim.socket.shuts), (5000, 1));
    sim.socket.push(SocketInput::End);
    assert_eq!(sim.run(), Some(CloseReason::Drained));
}

#[test]
fn a_connection_that_opens_while_draining_is_read() {
    let mut sim = sim(Echo, [SocketInput::Last(b"ping".to_vec())]);
    assert_eq!(drain(&mut sim), Some(CloseReason::Drained));
    assert_eq!((sim.socket.written.as_slice(), sim.socket.shuts), (&b"ping"[..], 1));
}

#[test]
fn a_drain_waits_for_output_and_for_the_rest_of_a_frame() {
    let mut sim = sim(ReverseFrames(10), [bytes(5)]);
    sim.socket.stall_after(0);
    assert_eq!(sim.run(), None);
    assert_eq!(drain(&mut sim), None);
    assert_eq!(sim.socket.shuts, 0, "half a frame is buffered");
    sim.socket.push(bytes(5));
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.shuts, 0, "the answer is unsent");
    sim.socket.resume();
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.written.len(), sim.socket.shuts), (10, 1));
}

#[test]
fn a_drain_answers_input_received_while_output_is_unsent() {
    let mut sim = sim(Echo, [SocketInput::Bytes(b"ping".to_vec())]);
    sim.socket.stall_after(0);
    assert_eq!(sim.run(), None);
    assert_eq!(drain(&mut sim), None);
    sim.socket.push_bytes(b"pong");
    assert_eq!(sim.run(), None);
    sim.socket.resume();
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.written.as_slice(), sim.socket.shuts), (&b"pingpong"[..], 1));
}

/// Says goodbye after a second.
struct LateGoodbye {
    due: Option<Instant>,
    is_busy: bool,
}

impl LateGoodbye {
    fn new(is_busy: bool) -> Self {
        Self { due: None, is_busy }
    }
}

impl Service for LateGoodbye {
    fn serve(&mut self, _input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let due = *self.due.get_or_insert(context.now() + SECOND);
        if context.now() < due {
            return Wait::Deadline(due);
        }
        output.write(b"bye");
        self.is_busy = false;
        Wait::Input
    }

    fn is_busy(&self) -> bool {
        self.is_busy
    }
}

#[test]
fn a_drain_does_not_wait_for_an_idle_service() {
    let mut sim = sim(LateGoodbye::new(false), []);
    assert_eq!(sim.run(), None);
    assert_eq!(drain(&mut sim), None);
    assert_eq!((sim.socket.written.as_slice(), sim.socket.shuts), (&b""[..], 1));
}

#[test]
fn a_drain_waits_for_a_busy_service() {
    let mut sim = sim(LateGoodbye::new(true), []);
    assert_eq!(sim.run(), None);
    assert_eq!(drain(&mut sim), None);
    assert_eq!((sim.socket.shuts, sim.deadline()), (0, Some(SECOND)));
    assert_eq!(sim.advance(SECOND), None);
    assert_eq!((sim.socket.written.as_slice(), sim.socket.shuts), (&b"bye"[..], 1));
}

#[test]
fn connections_are_closed_at_the_drain_timeout() {
    let mut sim = sim(Echo, [bytes(10)]);
    sim.socket.stall_after(0);
    assert_eq!(sim.run(), None);
    assert_eq!(drain(&mut sim), None);
    assert_eq!(sim.deadline(), Some(SECOND * 2));
    assert_eq!(sim.advance(SECOND), None);
    assert_eq!(sim.advance(SECOND), Some(CloseReason::DrainCut));
    sim.assert_owns_no_heap();
}

#[test]
fn a_drain_timeout_while_lingering_keeps_the_reason() {
    let mut sim = sim(Echo, []);
    assert_eq!(sim.run(), None);
    sim.limits.linger = SECOND * 5;
    assert_eq!(drain(&mut sim), None);
    assert_eq!(sim.advance(SECOND * 2), Some(CloseReason::Drained));
}

/// Nothing is read after the end of input, nor into a full buffer, and nothing is written: only an error of the socket
/// shows that the peer is gone.
#[test]
fn a_reset_is_noticed_while_nothing_is_read() {
    for before in [SocketInput::End, bytes(1 << 17)] {
        let service = service_fn(|_input, _output, _now| Wait::Wake);
        let mut sim = sim(service, [before]);
        assert_eq!(sim.run(), None);
        sim.socket.push(SocketInput::Reset);
        sim.connection.handle_event(true, true, true);
        assert_eq!(sim.run(), Some(CloseReason::Reset));
    }
}

#[test]
fn a_drain_waits_for_an_end_that_is_delayed() {
    let service = service_fn(|input, output, _now| {
        if input.has_ended() {
            output.write(b"bye");
        }
        Wait::Input
    });
    let mut sim = sim(Delayed::new(service, SECOND), []);
    assert_eq!(sim.run(), None);
    assert_eq!(sim.advance(SECOND), None);
    sim.socket.push(SocketInput::End);
    assert_eq!((sim.run(), drain(&mut sim)), (None, None));
    assert_eq!((sim.advance(SECOND), sim.socket.written.as_slice()), (Some(CloseReason::PeerClosed), &b"bye"[..]));
}
