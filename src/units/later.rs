//! Instants that lie ahead.

use std::time::{Duration, Instant};

/// The longest time that is waited for: 584 years, as many nanoseconds as 64 bits hold.
const LONGEST: Duration = Duration::from_nanos(u64::MAX);

/// The instant `delay` after `now`, and at most 584 years after it: whatever delay is given, an `Instant` holds the sum.
#[must_use]
pub fn later(now: Instant, delay: Duration) -> Instant {
    now + delay.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, later};
    use std::time::{Duration, Instant};

    #[test]
    fn no_delay_is_too_long() {
        let now = Instant::now();
        assert_eq!(later(now, Duration::from_secs(1)), now + Duration::from_secs(1));
        assert_eq!(later(now, Duration::MAX), now + LONGEST);
        assert!(later(later(now, Duration::MAX), Duration::MAX) > later(now, Duration::MAX));
    }
}
