//! Memory that a process holds on behalf of its peers.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::{AtomicUsize, Ordering};

/// One account for all connections of a process: the bytes they hold between their turns, and the limit on them.
///
/// A connection reports a change after its turn. One that held nothing before and holds nothing now changes nothing, so a
/// message that is answered at once costs no shared write.
#[derive(Debug)]
pub struct MemoryAccount {
    held: AtomicUsize,
    limit: usize,
}

impl MemoryAccount {
    /// An empty account that may hold `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { held: AtomicUsize::new(0), limit }
    }

    /// An account without a limit.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// The most bytes that may be held.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes are held now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Records that a connection which held `before` bytes now holds `after`. Returns false when it grew and the account is
    /// above its limit: then this connection has to go.
    #[inline]
    #[must_use = "a connection that may not grow has to be closed"]
    pub fn update(&self, before: usize, after: usize) -> bool {
        match after.cmp(&before) {
            Equal => true,
            Greater => {
                let growth = after - before;
                self.held.fetch_add(growth, Ordering::Relaxed).saturating_add(growth) <= self.limit
            }
            Less => {
                self.release(before - after);
                true
            }
        }
    }

    /// Records that a connection gave up `bytes`.
    #[inline]
    pub fn release(&self, bytes: usize) {
        let held = self.held.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(held >= bytes, "more was given back than held");
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryAccount;

    #[test]
    fn only_growth_beyond_the_limit_is_refused() {
        let account = MemoryAccount::new(100);
        assert!(account.update(0, 60));
        assert!(account.update(0, 40));
        assert!(!account.update(60, 61), "the account is full");
        assert!(account.update(61, 61), "what does not grow may stay");
        assert!(account.update(40, 10));
        assert!(account.update(0, 29));
        account.release(61);
        account.release(10);
        account.release(29);
        assert_eq!((account.held_bytes(), account.limit()), (0, 100));
    }
}
