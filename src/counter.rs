//! A number that one thread writes and any thread may read.
//!
//! The writer pays for a plain load and a plain store, never for a locked read-modify-write: counting must cost the
//! path of every message nothing. That is only right while each counter has one writing thread; a worker owns its own
//! counters and whoever wants a total adds them up.

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

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn adds_up() {
        let counter = Counter::default();
        counter.add(2);
        counter.add(40);
        assert_eq!(counter.get(), 42);
    }
}
