//! Progress of a worker, for a live display by other threads while the run lasts.

use crate::counter::Counter;
use crate::results::Interval;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

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
    /// The last complete second that was not taken yet. It is written once per second.
    second: Mutex<Option<Snapshot>>,
    begun: OnceLock<Instant>,
}

/// One second of one worker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// What happened in it.
    pub interval: Interval,
    /// Maximum send delay in it; `None` in a closed loop.
    pub send_delay: Option<Duration>,
    /// Whether the load had ended before it, while connections are held or replies awaited.
    pub is_after_load: bool,
}

impl WorkerProgress {
    /// The last complete second, unless it was taken already.
    #[must_use]
    pub fn take_second(&self) -> Option<Snapshot> {
        self.second.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Start of a load that begins for all connections together, once it is known.
    #[must_use]
    pub fn begun(&self) -> Option<Instant> {
        self.begun.get().copied()
    }

    pub(super) fn begin(&self, instant: Instant) {
        let _ = self.begun.set(instant);
    }

    /// Publishes a second. Those before the start of the load are omitted.
    pub(super) fn publish_second(&self, second: Snapshot) {
        if self.begun.get().is_some() {
            *self.second.lock().unwrap_or_else(PoisonError::into_inner) = Some(second);
        }
    }
}
