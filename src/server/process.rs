//! Facts about the process, for the admin pages.

use crate::event_loop::unix_time;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Facts about the process.
#[derive(Debug)]
pub(super) struct Process {
    /// When the server was created, on the monotonic clock of the loops.
    pub(super) created: Instant,
    /// The same on the wall clock, since 1970. A later change of the wall clock does not affect it.
    pub(super) started: Duration,
    /// The limit on open descriptors, if it is known.
    pub(super) descriptors: Option<u64>,
    /// New connections are no longer accepted.
    pub(super) is_draining: AtomicBool,
}

impl Process {
    pub(super) fn new(descriptors: Option<u64>) -> Self {
        let (created, started) = (Instant::now(), unix_time());
        Self { created, started, descriptors, is_draining: AtomicBool::new(false) }
    }

    /// Whole seconds from the creation to `now`.
    pub(super) fn age_s(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.created).as_secs()
    }
}
