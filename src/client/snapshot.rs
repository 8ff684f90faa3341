//! Per-second snapshots of a worker, for a live display while the run lasts.

use crate::results::Interval;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One second of one worker.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What happened in it.
    pub interval: Interval,
    /// Maximum send delay in it; `None` in a closed loop.
    pub lag: Option<Duration>,
    /// Whether the load had ended before it, while connections are held or replies awaited.
    pub is_after_load: bool,
}

/// The last complete second that was not taken yet. It is written once per second.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<Option<Snapshot>>);

impl Slot {
    pub(super) fn put(&self, snapshot: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
    }

    pub(super) fn take(&self) -> Option<Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
