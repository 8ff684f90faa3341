//! A connection that sends nothing and reads whatever comes: until the server closes it, or the load or the hold is over.

use super::failure::Failure;
use super::workload::{Job, Outcome, Phase};
use crate::connection::CloseReason;
use crate::service::{Input, Output, Service, Wait};
use std::rc::Rc;
use std::time::Instant;

/// The service of such a connection.
#[derive(Debug)]
pub(super) struct ReadOnly {
    job: Rc<Job>,
    /// Connections are held for a time that the server must not cut short.
    is_held: bool,
    /// The load or the hold is over.
    is_over: bool,
}

impl ReadOnly {
    pub(super) fn new(job: Rc<Job>) -> Self {
        let is_held = job.holding.get();
        Self { job, is_held, is_over: false }
    }

    /// Whether nothing that may still be received matters.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How it went, now that the connection has ended for `reason`.
    pub(super) fn outcome_after(&self, reason: CloseReason) -> Outcome {
        match reason {
            _ if self.is_over => Outcome::Verified,
            CloseReason::Stopped => Outcome::Verified,
            CloseReason::PeerClosed if !self.is_held => Outcome::Verified,
            _ => Outcome::Failed(Failure::of_close(reason)),
        }
    }
}

impl Service for ReadOnly {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, _now: Instant) -> Wait {
        if !input.is_empty() {
            self.job.recorder.borrow_mut().right(input.len(), None);
            input.consume(input.len());
        }
        self.is_over |= self.job.phase.get() == Phase::Ending || self.is_held && !self.job.holding.get();
        if self.is_over { Wait::Nothing } else { Wait::Input }
    }
}
