//! Progress of a worker, for a live display by other threads while the run lasts.

use super::failure::Failure;
use crate::counter::{Counter, Tally};
use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of counted seconds that wait to be taken. The oldest are dropped.
const MAX_DUE_SECONDS: usize = 3600;

/// Progress of one worker, readable by other threads.
#[derive(Debug, Default)]
pub struct WorkerProgress {
    /// Connections opened.
    pub opened: Counter,
    /// Connections whose exchange is complete or has failed. They may still be open.
    pub done: Counter,
    /// Connections that have ended, with or without a failure.
    pub ended: Counter,
    /// Connections that failed.
    pub failed: Counter,
    /// Messages sent.
    pub messages_sent: Counter,
    /// Messages that were answered correctly.
    pub messages_answered: Counter,
    /// TLS handshakes that were completed.
    pub(super) handshakes: Counter,
    /// TLS handshakes that were not, by reason.
    pub(super) failed_handshakes: Tally<Failure>,
    /// Seconds counted by when messages were due. One is added per second.
    due_seconds: Mutex<VecDeque<DueSecond>>,
    begun: OnceLock<Instant>,
}

/// Messages of one worker that were due in one second of the measured time, for the limits of
/// [`ClientConfig::limits`](super::ClientConfig::limits).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DueSecond {
    /// Number of the second, counted from 0.
    pub index: u64,
    /// Messages due.
    pub due: u64,
    /// Messages that the client sent much too late or not at all, although the server left room for them.
    pub missed: u64,
    /// Messages that were not answered within each limit, by the response time.
    pub over: Vec<u64>,
    /// The same by the floor of the response time.
    pub over_floor: Vec<u64>,
    /// Median response time of the replies received in this second, and their number.
    pub median: Option<(Duration, u64)>,
}

impl WorkerProgress {
    /// The seconds counted for [`ClientConfig::limits`](super::ClientConfig::limits) that were not taken yet, oldest
    /// first. Each is complete: it is published once no further reply can be within the longest limit.
    #[must_use]
    pub fn take_due_seconds(&self) -> Vec<DueSecond> {
        self.due_seconds.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    pub(super) fn publish_due_second(&self, second: DueSecond) {
        let mut seconds = self.due_seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if seconds.len() == MAX_DUE_SECONDS {
            seconds.pop_front();
        }
        seconds.push_back(second);
    }

    /// Start of a load that begins for all connections together, once it is known.
    #[must_use]
    pub fn begun(&self) -> Option<Instant> {
        self.begun.get().copied()
    }

    pub(super) fn begin(&self, instant: Instant) {
        let _ = self.begun.set(instant);
    }
}
