//! Arithmetic of times that cannot overflow.

use std::time::{Duration, Instant};

/// The longest delay that is added: 584 years, as many nanoseconds as 64 bits hold.
const MAX_DELAY: Duration = Duration::from_nanos(u64::MAX);

/// The instant `delay` after `now`, limited to 584 years after it, so that the sum never overflows an `Instant`.
#[must_use]
pub fn later(now: Instant, delay: Duration) -> Instant {
    now + delay.min(MAX_DELAY)
}

/// Nanoseconds of `duration`, saturating. A `u64` holds 584 years.
#[inline]
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    // Not `as_nanos`, whose 128 bits cost more.
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::{MAX_DELAY, later};
    use std::time::{Duration, Instant};

    #[test]
    fn any_delay_can_be_added() {
        let now = Instant::now();
        assert_eq!(later(now, Duration::from_secs(1)), now + Duration::from_secs(1));
        assert_eq!(later(now, Duration::MAX), now + MAX_DELAY);
        assert!(later(later(now, Duration::MAX), Duration::MAX) > later(now, Duration::MAX));
    }
}
