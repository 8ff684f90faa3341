//! Counts per kind, for a small number of kinds that are not all known in advance.
//!
//! Like a [`Counter`], a tally has one writer and takes no lock. A kind gets a slot at its first use and keeps it, so
//! readers see each kind once and in a fixed order.

use super::Counter;
use std::sync::OnceLock;

/// Maximum number of kinds. Close reasons and error numbers need one or two dozen.
const MAX_KINDS: usize = 32;

/// Counts per kind, with one writer and any number of readers.
#[derive(Debug)]
pub struct Tally<K> {
    slots: [(OnceLock<K>, Counter); MAX_KINDS],
    /// Count of kinds without a slot.
    others: Counter,
}

impl<K: Copy + PartialEq> Default for Tally<K> {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl<K: Copy + PartialEq> Tally<K> {
    /// Creates an empty tally. The `known` kinds get slots at once, so that readers can tell zero from unknown.
    #[must_use]
    pub fn of(known: &[K]) -> Self {
        let slots = std::array::from_fn(|index| match known.get(index) {
            Some(kind) => (OnceLock::from(*kind), Counter::default()),
            None => (OnceLock::new(), Counter::default()),
        });
        Self { slots, others: Counter::default() }
    }

    /// Counts one of `kind`. Only the thread that owns the tally may call this.
    pub fn add(&self, kind: K) {
        for (slot, count) in &self.slots {
            if *slot.get_or_init(|| kind) == kind {
                return count.add(1);
            }
        }
        self.others.add(1);
    }

    /// Count of `kind`; 0 if it has no slot.
    #[must_use]
    pub fn get(&self, kind: K) -> u64 {
        self.counts().find(|(counted, _)| *counted == kind).map_or(0, |(_, count)| count)
    }

    /// The kinds with a slot, and their counts.
    pub fn counts(&self) -> impl Iterator<Item = (K, u64)> {
        self.slots.iter().map_while(|(slot, count)| Some((*slot.get()?, count.get())))
    }

    /// Total count of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts().map(|(_, count)| count).sum::<u64>() + self.others.get()
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_KINDS, Tally};

    #[test]
    fn known_kinds_start_at_zero_and_others_appear_on_use() {
        let tally = Tally::of(&["a", "b"]);
        tally.add("c");
        tally.add("b");
        tally.add("c");
        assert_eq!(tally.counts().collect::<Vec<_>>(), [("a", 0), ("b", 1), ("c", 2)]);
        assert_eq!(tally.total(), 3);
        assert_eq!(["a", "c", "d"].map(|kind| tally.get(kind)), [0, 2, 0]);
    }

    #[test]
    fn kinds_without_a_slot_count_in_the_total() {
        let tally = Tally::of(&[]);
        (0..MAX_KINDS + 3).for_each(|kind| tally.add(kind));
        assert_eq!((tally.counts().count(), tally.total()), (MAX_KINDS, MAX_KINDS as u64 + 3));
    }
}
