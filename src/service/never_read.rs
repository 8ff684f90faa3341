//! A server that does not read, to show what its peer meets then.

use super::{Input, Output, Service, Wait};
use std::time::{Duration, Instant};

/// A hundred years: no other deadline of a connection is as late.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Takes nothing of what comes: the input buffer fills, then the sockets' buffers on both sides, until a send of the peer
/// blocks ("resource temporarily unavailable"). Which of the connection's timeouts ends that is not its concern. When all that the
/// peer had to say fits the input buffer, the peer's end is seen, and the conversation is over.
#[derive(Debug, Default, Clone, Copy)]
pub struct NeverRead;

impl Service for NeverRead {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, now: Instant) -> Wait {
        if input.has_ended() { Wait::Input } else { Wait::Deadline(now + FAR) }
    }
}
