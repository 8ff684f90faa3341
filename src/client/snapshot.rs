//! What a worker tells of each second while the run goes on.

use crate::results::Interval;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One second of one worker.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What happened in it.
    pub interval: Interval,
    /// How late the latest message was sent, where there is a schedule.
    pub lag: Option<Duration>,
    /// Whether the load had ended before it: connections are still held, or replies awaited.
    pub is_after_load: bool,
}

/// The last second that has not been looked at. It is written once a second.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<Option<Snapshot>>);

impl Slot {
    pub(super) fn put(&self, live: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(live);
    }

    pub(super) fn take(&self) -> Option<Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
