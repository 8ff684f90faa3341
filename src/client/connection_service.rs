//! What a connection is opened for: to exchange messages, to let a person talk, or only to read.

use super::exchange::{Exchange, ExchangeOutcome};
use super::failure::Failure;
use super::interactive::InteractiveExchange;
use super::measurements::{MessageMetrics, Unanswered};
use super::read_only::ReadOnly;
use crate::connection::CloseReason;
use crate::service::{Input, Output, Service, Wait};
use std::time::Instant;

/// The service of one connection.
#[derive(Debug)]
pub(super) enum ConnectionService {
    Exchange(Exchange),
    InteractiveExchange(InteractiveExchange),
    Read(ReadOnly),
}

impl ConnectionService {
    /// Whether nothing that may still be sent or received matters.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Exchange(exchange) => exchange.is_over(),
            Self::InteractiveExchange(talk) => talk.has_failed(),
            Self::Read(read_only) => read_only.is_over(),
        }
    }

    /// Whether its exchange of messages is complete.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Exchange(exchange) => exchange.is_complete(),
            Self::InteractiveExchange(_) => false,
            Self::Read(read_only) => read_only.is_over(),
        }
    }

    /// How it went, now that the conversation has ended for `reason`.
    pub(super) fn outcome_after(&self, reason: CloseReason) -> ExchangeOutcome {
        match self {
            Self::Exchange(exchange) => exchange.outcome_after(reason),
            Self::InteractiveExchange(talk) => talk.outcome_after(reason),
            Self::Read(read_only) => read_only.outcome_after(reason),
        }
    }
}

impl ConnectionService {
    /// The exchange of messages, if it is one.
    #[inline]
    pub(super) fn exchange(&mut self) -> Option<&mut Exchange> {
        match self {
            Self::Exchange(exchange) => Some(exchange),
            Self::InteractiveExchange(_) | Self::Read(_) => None,
        }
    }
}

impl ConnectionService {
    /// How many messages were answered.
    pub(super) fn answered_count(&self) -> u64 {
        match self {
            Self::Exchange(exchange) => exchange.answered_count(),
            Self::InteractiveExchange(_) | Self::Read(_) => 0,
        }
    }

    /// Writes down the messages that will not be answered any more since it went like this.
    pub(super) fn give_up(&self, outcome: ExchangeOutcome, now: u64, messages: &mut MessageMetrics) {
        let Self::Exchange(exchange) = self else { return };
        let why = match outcome {
            ExchangeOutcome::Failed(Failure::ReplyTimeout | Failure::SendTimeout) => Unanswered::TimedOut,
            ExchangeOutcome::Failed(Failure::Stopped) | ExchangeOutcome::Verified => Unanswered::Pending,
            ExchangeOutcome::Failed(_) => Unanswered::Lost,
        };
        exchange.unanswered().for_each(|(times, count)| messages.unanswered(times, now, count, why));
    }
}

impl Service for ConnectionService {
    #[inline]
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        match self {
            Self::Exchange(exchange) => exchange.serve(input, output, now),
            Self::InteractiveExchange(talk) => talk.serve(input, output, now),
            Self::Read(read_only) => read_only.serve(input, output, now),
        }
    }
}
