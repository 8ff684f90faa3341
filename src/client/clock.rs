//! Monotonic clock of a run, in nanoseconds since its start, and its relation to the wall clock.

pub(super) use crate::units::nanos;

use crate::event_loop::{monotonic_time, unix_time};
use crate::moment::Moment;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Maximum time between two readings of the run clock with one of the wall clock in between. A longer time means that the
/// thread was preempted.
const PAIR_NANOS: u64 = 500;

/// Maximum number of attempts to read both clocks together.
const PAIR_ATTEMPTS: usize = 3;

/// Converts instants to nanoseconds since the client was created. All workers share the same origin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    origin: Moment,
}

impl Clock {
    /// Creates a clock whose origin is now.
    pub(super) fn new() -> Self {
        Self { origin: monotonic_time().into() }
    }

    /// Nanoseconds from the origin to `instant`; 0 for an earlier instant.
    #[inline]
    pub(super) fn nanos(self, instant: Instant) -> u64 {
        Moment::from(instant).nanos_since(self.origin)
    }

    /// The instant `nanos` nanoseconds after the origin, at most 292 years.
    #[inline]
    pub(super) fn instant(self, nanos: u64) -> Instant {
        self.origin.after_nanos(nanos).into()
    }

    /// Time since 1970 at the origin, by the current wall clock. Reads both clocks, the run clock before and after the wall
    /// clock, and takes the closest pair of readings.
    pub(super) fn unix_origin(self) -> Duration {
        let mut best = (u64::MAX, Duration::ZERO);
        for _ in 0..PAIR_ATTEMPTS {
            let before = self.nanos(monotonic_time());
            let wall = unix_time();
            let after = self.nanos(monotonic_time());
            let took = after - before;
            if took < best.0 {
                best = (took, wall.saturating_sub(Duration::from_nanos(before + took / 2)));
            }
            if took <= PAIR_NANOS {
                break;
            }
        }
        best.1
    }
}

/// Converts the kernel's timestamps, which are of the wall clock, to the run clock.
///
/// Both clocks are read together once per round of the loop. A step or slew of the wall clock therefore affects only
/// timestamps of replies that were on their way at that moment.
#[derive(Debug)]
pub(super) struct KernelClock {
    clock: Clock,
    /// Round in which both clocks were last read together.
    round: Cell<Option<Instant>>,
    /// Time since 1970 at the origin of the run clock, by the wall clock of that round.
    origin: Cell<Duration>,
}

impl KernelClock {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, round: Cell::new(None), origin: Cell::new(Duration::ZERO) }
    }

    /// The timestamp `since_1970`, taken in the round that began at `round` or before, in nanoseconds of the run clock. None
    /// if that is before its origin.
    #[inline]
    pub(super) fn nanos(&self, since_1970: Duration, round: Instant) -> Option<u64> {
        if self.round.replace(Some(round)) != Some(round) {
            self.origin.set(self.clock.unix_origin());
        }
        since_1970.checked_sub(self.origin.get()).map(nanos)
    }
}
