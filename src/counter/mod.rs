//! A number that one thread writes and any thread may read.
//!
//! The writer pays for a plain load and a plain store, never for a locked read-modify-write: counting must cost the
//! path of every message nothing. That is only right while each counter has one writing thread; a worker owns its own
//! counters and whoever wants a total adds them up.

mod fixed_histogram;
mod tally;

pub use fixed_histogram::FixedHistogram;
pub use tally::Tally;

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`. Only the one thread that owns the counter may call this: two writers would lose counts.
    #[inline]
    pub fn add(&self, amount: u64) {
        let value = self.0.load(Ordering::Relaxed).wrapping_add(amount);
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value at this moment, as any thread may read it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down, with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// What it is now. Only the one thread that owns the gauge may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value at this moment, as any thread may read it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, Gauge};

    #[test]
    fn a_gauge_is_what_it_was_set_to() {
        let gauge = Gauge::default();
        gauge.set(7);
        gauge.set(3);
        assert_eq!(gauge.get(), 3);
    }

    #[test]
    fn adds_up() {
        let counter = Counter::default();
        counter.add(2);
        counter.add(40);
        assert_eq!(counter.get(), 42);
    }
}
