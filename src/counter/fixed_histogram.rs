//! How long something took, as counts of durations between fixed bounds.

use super::Counter;
use std::time::Duration;

/// The bounds, in nanoseconds: one, two, five of each power of ten. A round of the loop takes some microseconds when it
/// is quiet; one of a second has been blocked by something.
const BOUNDS: [u64; 16] = [
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
];

const NANOS_PER_SECOND: f64 = 1e9;

/// Durations counted by size, with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct FixedHistogram {
    /// Each bound's count is of what is at most that, and more than the bound before; the last is of all the rest.
    counts: [Counter; BOUNDS.len() + 1],
    sum_nanos: Counter,
}

impl FixedHistogram {
    /// Counts one `duration`. Only the one thread that owns the histogram may call this.
    #[inline]
    pub fn observe(&self, duration: Duration) {
        // Not `as_nanos`, whose 128 bits cost more than everything else in here. 584 years fit.
        let nanos = duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()));
        let index = BOUNDS.partition_point(|bound| *bound < nanos);
        self.counts[index].add(1);
        self.sum_nanos.add(nanos);
    }

    /// The upper bounds in seconds, ending with infinity, and how many durations lie between each and the one before.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|bound| in_seconds(*bound)).chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().map(Counter::get)).collect()
    }

    /// The sum of all durations, in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        in_seconds(self.sum_nanos.get())
    }
}

#[allow(clippy::cast_precision_loss, reason = "below 2^53 ns, which are 104 days of work, it is exact")]
fn in_seconds(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, FixedHistogram};
    use std::time::Duration;

    #[test]
    fn a_bound_belongs_to_what_is_below_it() {
        let histogram = FixedHistogram::default();
        for nanos in [0, 10_000, 10_001, 1_000_000_000, 1_000_000_001, u64::MAX / 4] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let buckets = histogram.buckets();
        assert_eq!((buckets[0], buckets[1], buckets[2]), ((1e-5, 2), (2e-5, 1), (5e-5, 0)));
        assert_eq!((buckets[15], buckets[16]), ((1.0, 1), (f64::INFINITY, 2)));
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 6);
    }

    #[test]
    fn the_sum_is_in_seconds() {
        let histogram = FixedHistogram::default();
        histogram.observe(Duration::from_millis(1500));
        histogram.observe(Duration::from_millis(500));
        assert!((histogram.sum_seconds() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn the_bounds_ascend() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
    }
}
