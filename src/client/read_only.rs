//! A connection that sends nothing and reads whatever comes: until the server closes it, or the load or the hold is over.

use super::exchange::{ExchangeOutcome, LoadPhase, Plan};
use super::failure::Failure;
use crate::connection::CloseReason;
use crate::service::{Input, Output, Service, Wait};
use std::rc::Rc;
use std::time::Instant;

/// The service of such a connection.
#[derive(Debug)]
pub(super) struct ReadOnly {
    plan: Rc<Plan>,
    /// Connections are held for a time that the server must not cut short.
    is_held: bool,
    /// The load or the hold is over.
    is_over: bool,
}

impl ReadOnly {
    pub(super) fn new(plan: Rc<Plan>) -> Self {
        let is_held = plan.holding.get();
        Self { plan, is_held, is_over: false }
    }

    /// Whether nothing that may still be received matters.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How it went, now that the connection has ended for `reason`.
    pub(super) fn outcome_after(&self, reason: CloseReason) -> ExchangeOutcome {
        match reason {
            _ if self.is_over => ExchangeOutcome::Verified,
            CloseReason::Stopped => ExchangeOutcome::Verified,
            CloseReason::PeerClosed if !self.is_held => ExchangeOutcome::Verified,
            _ => ExchangeOutcome::Failed(Failure::of_close(reason)),
        }
    }
}

impl Service for ReadOnly {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, _now: Instant) -> Wait {
        if !input.is_empty() {
            self.plan.metrics.borrow_mut().right(input.len(), None);
            input.consume(input.len());
        }
        self.is_over |= self.plan.phase.get() == LoadPhase::HalfClose || self.is_held && !self.plan.holding.get();
        if self.is_over { Wait::Close } else { Wait::Input }
    }
}
