//! Discard (RFC 863): drops received bytes.

use super::{Context, Input, Output, Service, Wait};

/// Drops every received byte and never answers (RFC 863).
#[derive(Debug, Default, Clone, Copy)]
pub struct Discard;

impl Service for Discard {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        input.clear();
        Wait::Input
    }
}
