//! Service that never reads, to show the effect on its peer.

use super::{Context, Input, Output, Service, Wait};
use std::time::Duration;

/// A hundred years: later than any other deadline of a connection.
const FAR_FUTURE: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Reads nothing: the input buffer fills, then the socket buffers on both sides, until a send of the peer would block
/// ("resource temporarily unavailable"). The timeouts of the connection decide when that ends. If everything the peer
/// sends fits the input buffer, its end is seen and the connection closes.
#[derive(Debug, Default, Clone, Copy)]
pub struct NeverRead;

impl Service for NeverRead {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        if input.has_ended() { Wait::Input } else { Wait::Deadline(now + FAR_FUTURE) }
    }
}
