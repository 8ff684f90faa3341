//! Progress of a worker, for a live display by other threads while the run lasts.

use crate::counter::Counter;
use std::sync::OnceLock;
use std::time::Instant;

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
    begun: OnceLock<Instant>,
}

impl WorkerProgress {
    /// Start of a load that begins for all connections together, once it is known.
    #[must_use]
    pub fn begun(&self) -> Option<Instant> {
        self.begun.get().copied()
    }

    pub(super) fn begin(&self, instant: Instant) {
        let _ = self.begun.set(instant);
    }
}
