//! Service of a client connection: message exchange, interactive, or read-only.

use super::exchange::{Exchange, ExchangeOutcome};
use super::interactive::InteractiveExchange;
use super::read_only::ReadOnly;
use crate::client::failure::Failure;
use crate::client::metrics::{Unanswered, WorkerMetrics};
use crate::connection::CloseReason;
use crate::service::{Context, Input, Output, Service, Wait};

/// Service of one connection.
#[derive(Debug)]
pub(in crate::client) enum ConnectionService {
    Exchange(Exchange),
    Interactive(InteractiveExchange),
    ReadOnly(ReadOnly),
}

impl ConnectionService {
    /// Whether the connection can close without waiting for the server.
    pub(in crate::client) fn is_over(&self) -> bool {
        match self {
            Self::Exchange(exchange) => exchange.is_over(),
            Self::Interactive(interactive) => interactive.has_failed(),
            Self::ReadOnly(read_only) => read_only.is_over(),
        }
    }

    /// Whether its message exchange is complete.
    #[inline]
    pub(in crate::client) fn is_complete(&self) -> bool {
        match self {
            // Its replacement continues the exchange.
            Self::Exchange(exchange) => exchange.is_complete() && !exchange.is_cut_short(),
            Self::Interactive(_) => false,
            Self::ReadOnly(read_only) => read_only.is_over(),
        }
    }

    /// Outcome of the connection after it was closed for `reason`.
    pub(in crate::client) fn outcome_after(&self, reason: CloseReason) -> ExchangeOutcome {
        match self {
            Self::Exchange(exchange) => exchange.outcome_after(reason),
            Self::Interactive(interactive) => interactive.outcome_after(reason),
            Self::ReadOnly(read_only) => read_only.outcome_after(reason),
        }
    }

    /// The message exchange, if the connection has one.
    #[inline]
    pub(in crate::client) fn exchange(&mut self) -> Option<&mut Exchange> {
        match self {
            Self::Exchange(exchange) => Some(exchange),
            Self::Interactive(_) | Self::ReadOnly(_) => None,
        }
    }

    /// Number of messages that a replacement of the connection does not send.
    pub(in crate::client) fn done_count(&self) -> u64 {
        match self {
            Self::Exchange(exchange) => exchange.done_count(),
            Self::Interactive(_) | Self::ReadOnly(_) => 0,
        }
    }

    /// Counts the messages that will not be answered after this outcome.
    pub(in crate::client) fn count_unanswered(&self, outcome: ExchangeOutcome, now: u64, metrics: &mut WorkerMetrics) {
        let Self::Exchange(exchange) = self else { return };
        let why = match outcome {
            ExchangeOutcome::Failed(Failure::ReplyTimeout | Failure::SendTimeout) => Unanswered::TimedOut,
            ExchangeOutcome::Failed(Failure::Stopped) | ExchangeOutcome::Completed => Unanswered::Pending,
            ExchangeOutcome::Failed(_) => Unanswered::Lost,
        };
        let mut is_wrong = matches!(outcome, ExchangeOutcome::Failed(failure) if failure.is_wrong_reply());
        for (times, mut count) in exchange.unanswered() {
            // A wrong reply answers the oldest message.
            if std::mem::take(&mut is_wrong) {
                metrics.unanswered(times, now, 1, Unanswered::Wrong);
                count -= 1;
            }
            metrics.unanswered(times, now, count, why);
        }
    }
}

impl Service for ConnectionService {
    #[inline]
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        match self {
            Self::Exchange(exchange) => exchange.serve(input, output, context),
            Self::Interactive(interactive) => interactive.serve(input, output, context),
            Self::ReadOnly(read_only) => read_only.serve(input, output, context),
        }
    }
}
