//! Counters and gauges with one writing thread and any number of readers.
//!
//! The writer uses a plain load and a plain store instead of an atomic read-modify-write, so that counting adds no cost
//! to the message path. This is correct only with one writing thread per counter. Each worker owns its counters, and
//! readers add them up.

#[cfg(feature = "metrics")]
mod exposition_format;
mod fixed_histogram;
#[cfg(feature = "metrics")]
mod open_metrics;
mod tally;

#[cfg(feature = "metrics")]
pub use exposition_format::ExpositionFormat;
pub use fixed_histogram::{BOUNDS, FixedHistogram};
#[cfg(feature = "metrics")]
pub use open_metrics::{BYTES, Buckets, Families, SECONDS, page};
pub use tally::Tally;

use crate::sync::{AtomicU64, Ordering};

/// Counter with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`. Only the thread that owns the counter may call this: two writers would lose counts.
    #[inline]
    pub fn add(&self, amount: u64) {
        let value = self.0.load(Ordering::Relaxed).wrapping_add(amount);
        self.0.store(value, Ordering::Relaxed);
    }

    /// Current value; any thread may read it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Gauge with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the current value. Only the thread that owns the gauge may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Current value; any thread may read it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, Gauge};

    #[test]
    fn a_gauge_returns_the_last_value() {
        let gauge = Gauge::default();
        gauge.set(7);
        gauge.set(3);
        assert_eq!(gauge.get(), 3);
    }

    #[test]
    fn a_counter_adds_up() {
        let counter = Counter::default();
        counter.add(2);
        counter.add(40);
        assert_eq!(counter.get(), 42);
    }
}
