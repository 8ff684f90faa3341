//! Monotonic clock of a run, in nanoseconds since its start.

pub(super) use crate::units::nanos;

use std::time::{Duration, Instant};

/// Converts instants to nanoseconds since the client was created. All workers share the same origin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    /// Creates a clock whose origin is now.
    pub(super) fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// Nanoseconds from the origin to `instant`; 0 for an earlier instant.
    #[inline]
    pub(super) fn nanos(self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.origin))
    }

    /// The instant `nanos` nanoseconds after the origin. An `Instant` can represent every such value.
    pub(super) fn instant(self, nanos: u64) -> Instant {
        self.origin + Duration::from_nanos(nanos)
    }
}
