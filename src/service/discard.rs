//! Discard, RFC 863: whatever comes in is thrown away.

use super::{Input, Output, Service, Wait};
use std::time::Instant;

/// Throws away every byte it receives and never answers (RFC 863).
#[derive(Debug, Default, Clone, Copy)]
pub struct Discard;

impl Service for Discard {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, _now: Instant) -> Wait {
        input.clear();
        Wait::Input
    }
}
