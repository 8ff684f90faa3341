//! What a connection is opened for: to exchange messages, to let a person talk, or only to read.

use super::failure::Failure;
use super::measured::{Book, Unanswered};
use super::read_only::ReadOnly;
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
    Read(ReadOnly),
}

impl Task {
    /// Whether nothing that may still be sent or received matters.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Exchange(workload) => workload.is_over(),
            Self::Talk(talk) => talk.has_failed(),
            Self::Read(read_only) => read_only.is_over(),
        }
    }

    /// Whether its exchange of messages is complete.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Exchange(workload) => workload.is_complete(),
            Self::Talk(_) => false,
            Self::Read(read_only) => read_only.is_over(),
        }
    }

    /// How it went, now that the conversation has ended for `reason`.
    pub(super) fn outcome_after(&self, reason: CloseReason) -> Outcome {
        match self {
            Self::Exchange(workload) => workload.outcome_after(reason),
            Self::Talk(talk) => talk.outcome_after(reason),
            Self::Read(read_only) => read_only.outcome_after(reason),
        }
    }
}

impl Task {
    /// The exchange of messages, if it is one.
    #[inline]
    pub(super) fn exchange(&mut self) -> Option<&mut Workload> {
        match self {
            Self::Exchange(workload) => Some(workload),
            Self::Talk(_) | Self::Read(_) => None,
        }
    }
}

impl Task {
    /// How many messages were answered.
    pub(super) fn answered_count(&self) -> u64 {
        match self {
            Self::Exchange(workload) => workload.answered_count(),
            Self::Talk(_) | Self::Read(_) => 0,
        }
    }

    /// Writes down the messages that will not be answered any more since it went like this.
    pub(super) fn give_up(&self, outcome: Outcome, now: u64, book: &mut Book) {
        let Self::Exchange(workload) = self else { return };
        let why = match outcome {
            Outcome::Failed(Failure::ReplyTimeout | Failure::SendTimeout) => Unanswered::TimedOut,
            Outcome::Failed(Failure::Stopped) | Outcome::Verified => Unanswered::Pending,
            Outcome::Failed(_) => Unanswered::Lost,
        };
        workload.unanswered().for_each(|(times, count)| book.unanswered(times, now, count, why));
    }
}

impl Service for Task {
    #[inline]
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        match self {
            Self::Exchange(workload) => workload.serve(input, output, now),
            Self::Talk(talk) => talk.serve(input, output, now),
            Self::Read(read_only) => read_only.serve(input, output, now),
        }
    }
}
