//! What a connection is opened for: to exchange messages, or to let a person talk.

use super::relay::Talk;
use super::workload::{Outcome, Workload};
use crate::connection::CloseReason;
use crate::service::{Input, Output, Service, Wait};
use std::time::Instant;

/// The service of one connection.
#[derive(Debug)]
pub(super) enum Task {
    Exchange(Workload),
    Talk(Talk),
}

impl Task {
    /// How it went, if that is known before the end.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Exchange(workload) => workload.outcome(),
            Self::Talk(talk) => talk.outcome(),
        }
    }

    /// How it went, now that the conversation has ended for `reason`.
    pub(super) fn outcome_after(&self, reason: CloseReason) -> Outcome {
        match self {
            Self::Exchange(workload) => workload.outcome_after(reason),
            Self::Talk(talk) => talk.outcome_after(reason),
        }
    }
}

impl Service for Task {
    #[inline]
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        match self {
            Self::Exchange(workload) => workload.serve(input, output, now),
            Self::Talk(talk) => talk.serve(input, output, now),
        }
    }
}
