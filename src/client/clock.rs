//! The one clock of a run.

use std::time::{Duration, Instant};

/// Counts nanoseconds since the client was made, which is the same instant for all its workers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(super) fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// The number of `instant`.
    #[inline]
    pub(super) fn nanos(self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.origin))
    }

    /// The instant of a number; any is within what an `Instant` holds.
    pub(super) fn instant(self, nanos: u64) -> Instant {
        self.origin + Duration::from_nanos(nanos)
    }
}

/// As a number of nanoseconds; 584 years fit.
#[inline]
pub(super) fn nanos(duration: Duration) -> u64 {
    // Not `as_nanos`, whose 128 bits cost more.
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}
