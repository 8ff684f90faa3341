//! Every wait with every state of the input and the output: whether it ends the connection, and with which reason.

use super::{CloseReason, Harness, Phase, SECOND};
use crate::service::{Context, Input, Output, Service, Wait};
use std::io::ErrorKind;
use std::time::Instant;

/// State of the input after the service was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputState {
    Empty,
    Partial,
    Full,
    /// All of it was consumed before its end.
    Ended,
    EndedPartial,
    EndedFull,
}

/// State of the output after the service was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputState {
    Empty,
    Filled,
    /// The service has ended it, and nothing waits.
    EndedEmpty,
    EndedFilled,
    /// The end was sent.
    Shut,
}

const INPUTS: [InputState; 6] = [
    InputState::Empty,
    InputState::Partial,
    InputState::Full,
    InputState::Ended,
    InputState::EndedPartial,
    InputState::EndedFull,
];

const OUTPUTS: [OutputState; 5] =
    [OutputState::Empty, OutputState::Filled, OutputState::EndedEmpty, OutputState::EndedFilled, OutputState::Shut];

/// Waits for a wake until it is told what to do.
struct Told {
    writes: &'static [u8],
    ends_output: bool,
    wait: Wait,
}

impl Service for Told {
    fn serve(&mut self, _input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        output.write(std::mem::take(&mut self.writes));
        if self.ends_output {
            output.end();
        }
        self.wait
    }
}

/// A connection whose service has returned `wait` in this state.
fn connection(wait: Wait, input: InputState, output: OutputState) -> Harness<Told> {
    let writes = if matches!(output, OutputState::Filled | OutputState::EndedFilled) { &b"1234"[..] } else { b"" };
    let ends_output = !matches!(output, OutputState::Empty | OutputState::Filled);
    let mut harness = Harness::new(Told { writes, ends_output, wait: Wait::Wake });
    if output == OutputState::Shut {
        harness.shut();
        assert_eq!(harness.connection.phase, Phase::OutputShut);
    }
    match input {
        InputState::Empty | InputState::Ended => {}
        InputState::Partial | InputState::EndedPartial => harness.receive(b"12"),
        InputState::Full | InputState::EndedFull => harness.receive(b"12345678"),
    }
    if matches!(input, InputState::Ended | InputState::EndedPartial | InputState::EndedFull) {
        harness.connection.handle_end();
    }
    harness.connection.service_mut().expect("a service").wait = wait;
    harness.serve();
    harness
}

/// What the documentation of [`Wait`] says.
fn documented(wait: Wait, input: InputState, output: OutputState) -> Option<CloseReason> {
    let is_full = matches!(input, InputState::Full | InputState::EndedFull);
    let has_ended = matches!(input, InputState::Ended | InputState::EndedPartial | InputState::EndedFull);
    let is_empty = !matches!(output, OutputState::Filled | OutputState::EndedFilled);
    match wait {
        Wait::Input if has_ended => Some(CloseReason::PeerClosed),
        Wait::Input if is_full => Some(CloseReason::FrameTooLarge),
        Wait::Writable if output == OutputState::Empty => Some(CloseReason::ReplyTooLarge),
        Wait::Writable if is_empty => Some(CloseReason::NoProgress),
        Wait::Either if is_empty && input == InputState::Ended => Some(CloseReason::PeerClosed),
        Wait::Either if is_empty && (has_ended || is_full) => Some(CloseReason::NoProgress),
        Wait::Close => Some(CloseReason::Completed),
        Wait::Abort => Some(CloseReason::ProtocolError),
        _ => None,
    }
}

#[test]
fn each_wait_ends_the_connection_as_documented() {
    let instant = Instant::now() + SECOND * 3600;
    let timed = [Wait::Deadline(instant), Wait::PreciseDeadline(instant)];
    let plain = [Wait::Input, Wait::Writable, Wait::Either, Wait::Wake, Wait::Close, Wait::Abort];
    for wait in plain.into_iter().chain(timed) {
        for (input, output) in INPUTS.iter().flat_map(|input| OUTPUTS.map(|output| (*input, output))) {
            let harness = connection(wait, input, output);
            let connection = &harness.connection;
            let reason = (!connection.phase.is_open()).then_some(connection.reason);
            assert_eq!(reason, documented(wait, input, output), "{wait:?}, {input:?} input, {output:?} output");
            assert!(!connection.wants_service(), "{wait:?}, {input:?} input, {output:?} output: called again");
        }
    }
}

/// A service that waits for a wake is called for nothing else, in any state.
#[test]
fn a_wake_is_awaited_without_calls() {
    for (input, output) in INPUTS.iter().flat_map(|input| OUTPUTS.map(|output| (*input, output))) {
        let mut harness = connection(Wait::Wake, input, output);
        harness.connection.handle_read_blocked();
        harness.connection.handle_event(false, true, false);
        assert!(!harness.connection.wants_service(), "{input:?} input, {output:?} output");
        harness.connection.handle_wake();
        assert!(harness.connection.wants_service(), "{input:?} input, {output:?} output");
    }
}

/// The half is not shut again: a TLS layer, which cannot send its alert any more, would never report the end of that.
#[test]
fn undecodable_input_behind_the_end_of_the_output_leaves_the_connection_lingering() {
    let mut harness = connection(Wait::Input, InputState::Empty, OutputState::Shut);
    harness.connection.handle_error(&ErrorKind::InvalidData.into());
    assert_eq!((harness.connection.phase, harness.connection.wants_shut()), (Phase::Lingering, false));
    assert_eq!(harness.connection.ending(), Some(CloseReason::Damaged));
    harness.connection.handle_end();
    assert_eq!(harness.connection.closed(), Some(CloseReason::Damaged));
}
