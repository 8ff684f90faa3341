//! Services of the pump's tests, and their bytes.

use crate::service::{Context, Input, Output, Service, Wait};
use std::time::{Duration, Instant};

/// One second of simulated time.
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A service made from a closure.
pub(super) struct FnService<F>(F);

pub(super) fn service_fn<F>(serve: F) -> FnService<F>
where
    F: FnMut(&mut Input<'_>, &mut Output<'_>, Instant) -> Wait,
{
    FnService(serve)
}

impl<F> Service for FnService<F>
where
    F: FnMut(&mut Input<'_>, &mut Output<'_>, Instant) -> Wait,
{
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        (self.0)(input, output, context.now())
    }
}

/// Answers each frame of that many bytes with the reversed frame.
#[derive(Debug)]
pub(super) struct ReverseFrames(pub(super) usize);

impl Service for ReverseFrames {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        while input.bytes().len() >= self.0 {
            let frame: Vec<u8> = input.bytes()[..self.0].iter().rev().copied().collect();
            if !output.write_whole(&frame) {
                return Wait::Writable;
            }
            input.consume(self.0);
        }
        Wait::Input
    }
}

/// Test bytes in which a lost, repeated or misplaced byte is detected: the pattern repeats after a prime number of
/// bytes.
pub(super) fn pattern(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}
