//! Service of a connection that sends nothing and reads until the server closes, or the load or the hold ends.

use super::exchange::ExchangeOutcome;
use crate::client::failure::Failure;
use crate::client::plan::{LoadPhase, Plan};
use crate::connection::CloseReason;
use crate::service::{Context, Input, Output, Service, Wait};
use std::rc::Rc;

/// Service of a read-only connection.
#[derive(Debug)]
pub(in crate::client) struct ReadOnly {
    plan: Rc<Plan>,
    /// The connection is held for a time, and the server must not close it earlier.
    is_held: bool,
    /// The load or the hold has ended.
    is_over: bool,
}

impl ReadOnly {
    pub(in crate::client) fn new(plan: Rc<Plan>) -> Self {
        let is_held = plan.holding.get();
        Self { plan, is_held, is_over: false }
    }

    /// Whether the connection can close without waiting for the server.
    pub(in crate::client) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Outcome of the connection after it was closed for `reason`.
    pub(in crate::client) fn outcome_after(&self, reason: CloseReason) -> ExchangeOutcome {
        match reason {
            _ if self.is_over => ExchangeOutcome::Completed,
            CloseReason::Stopped => ExchangeOutcome::Completed,
            CloseReason::PeerClosed if !self.is_held => ExchangeOutcome::Completed,
            _ => ExchangeOutcome::Failed(Failure::of_close(reason)),
        }
    }
}

impl Service for ReadOnly {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        if !input.is_empty() {
            self.plan.metrics.borrow_mut().add_unsolicited_bytes(input.len(), self.plan.clock.nanos(now));
            input.consume(input.len());
        }
        self.is_over |= self.plan.phase.get() == LoadPhase::Draining || self.is_held && !self.plan.holding.get();
        if self.is_over { Wait::Close } else { Wait::Input }
    }
}
