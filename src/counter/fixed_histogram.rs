//! Histogram of durations with fixed bucket bounds.

use super::Counter;
use crate::units::nanos;
use std::time::Duration;

/// Bucket bounds in nanoseconds: 1, 2 and 5 of each power of ten. A quiet round of the loop takes a few microseconds; a
/// round of a second was blocked.
pub const BOUNDS: [u64; 16] = [
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

/// Histogram with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct FixedHistogram {
    /// Each count covers durations above the previous bound and up to its own; the last covers all longer ones.
    counts: [Counter; BOUNDS.len() + 1],
    sum_nanos: Counter,
}

impl FixedHistogram {
    /// Counts one `duration`. Only the thread that owns the histogram may call this.
    #[inline]
    pub fn observe(&self, duration: Duration) {
        let nanos = nanos(duration);
        let index = BOUNDS.partition_point(|bound| *bound < nanos);
        self.counts[index].add(1);
        self.sum_nanos.add(nanos);
    }

    /// Upper bounds in seconds, ending with infinity, each with the number of durations in its bucket.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|bound| nanos_to_seconds(*bound)).chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().map(Counter::get)).collect()
    }

    /// Sum of all durations in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        nanos_to_seconds(self.sum_nanos.get())
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 ns, which is 104 days")]
fn nanos_to_seconds(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, FixedHistogram};
    use std::time::Duration;

    #[test]
    fn a_duration_equal_to_a_bound_is_counted_below_it() {
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
