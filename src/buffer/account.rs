//! Account of the memory that a process holds for its peers.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory account of a process: the bytes that all its connections hold between their turns, and the limit on them.
///
/// A connection reports a change after its turn. One that held nothing before and holds nothing now changes nothing, so
/// a message that is answered at once costs no shared write.
#[derive(Debug)]
pub struct MemoryAccount {
    held: AtomicUsize,
    limit: usize,
}

impl MemoryAccount {
    /// Creates an empty account that may hold `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { held: AtomicUsize::new(0), limit }
    }

    /// Creates an account without a limit.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Maximum number of bytes that may be held.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Number of bytes held now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Records that a connection which held `before` bytes now holds `after` bytes. Returns false when it grew and the
    /// account is above its limit; the connection must then be closed.
    #[inline]
    #[must_use = "a connection that exceeds the limit must be closed"]
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

    /// Records that a connection released `bytes` bytes.
    #[inline]
    pub fn release(&self, bytes: usize) {
        let held = self.held.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(held >= bytes, "more bytes released than held");
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryAccount;

    #[test]
    fn only_growth_above_the_limit_is_rejected() {
        let account = MemoryAccount::new(100);
        assert!(account.update(0, 60));
        assert!(account.update(0, 40));
        assert_eq!(account.held_bytes(), 100);
        assert!(!account.update(60, 61), "the account is full");
        assert!(account.update(61, 61), "a connection that does not grow is accepted");
        assert!(account.update(40, 10));
        assert!(account.update(0, 29));
        account.release(61);
        account.release(10);
        account.release(29);
        assert_eq!((account.held_bytes(), account.limit()), (0, 100));
    }
}
