//! Echo, RFC 862: whatever comes in goes out again.

use super::{Input, Output, Service, Wait};
use std::time::Instant;

/// Sends back every byte it receives (RFC 862). It never copies a byte that can go out at once: its input buffer becomes
/// its output buffer.
#[derive(Debug, Default, Clone, Copy)]
pub struct Echo;

impl Service for Echo {
    #[inline]
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _now: Instant) -> Wait {
        output.take(input);
        if input.is_empty() { Wait::Input } else { Wait::Writable }
    }
}
