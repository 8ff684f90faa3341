//! Echo (RFC 862): sends received bytes back.

use super::{Context, Input, Output, Service, Wait};

/// Sends every received byte back (RFC 862). Bytes that can be sent at once are not copied: the input buffer becomes
/// the output buffer.
#[derive(Debug, Default, Clone, Copy)]
pub struct Echo;

impl Service for Echo {
    #[inline]
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        output.take(input);
        if input.is_empty() { Wait::Input } else { Wait::Writable }
    }
}
