//! Counts by kind, where the kinds are few but not all known beforehand.
//!
//! Like a [`Counter`] it has one writer and never locks. A place for a kind is taken when the kind first occurs and is
//! never given back, so a reader sees each kind once and in a fixed order.

use super::Counter;
use std::sync::OnceLock;

/// How many kinds are told apart. Reasons and error numbers come to a dozen or two.
const KINDS: usize = 32;

/// Counts by kind, with one writer and any number of readers.
#[derive(Debug)]
pub struct Tally<K> {
    places: [(OnceLock<K>, Counter); KINDS],
    /// Kinds for which there was no place.
    others: Counter,
}

impl<K: Copy + PartialEq> Tally<K> {
    /// Nothing counted yet; `known` kinds are there from the start, so that a reader can tell zero from unknown.
    #[must_use]
    pub fn of(known: &[K]) -> Self {
        let places = std::array::from_fn(|index| match known.get(index) {
            Some(kind) => (OnceLock::from(*kind), Counter::default()),
            None => (OnceLock::new(), Counter::default()),
        });
        Self { places, others: Counter::default() }
    }

    /// Counts one of `kind`. Only the one thread that owns the tally may call this.
    pub fn add(&self, kind: K) {
        for (place, count) in &self.places {
            if *place.get_or_init(|| kind) == kind {
                return count.add(1);
            }
        }
        self.others.add(1);
    }

    /// How often `kind` was counted, as long as it has a place.
    #[must_use]
    pub fn get(&self, kind: K) -> u64 {
        self.counts().find(|(counted, _)| *counted == kind).map_or(0, |(_, count)| count)
    }

    /// The kinds that have a place, and how often each was counted.
    pub fn counts(&self) -> impl Iterator<Item = (K, u64)> {
        self.places.iter().map_while(|(place, count)| Some((*place.get()?, count.get())))
    }

    /// How often anything was counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts().map(|(_, count)| count).sum::<u64>() + self.others.get()
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, Tally};

    #[test]
    fn known_kinds_are_there_from_the_start_and_others_when_they_occur() {
        let tally = Tally::of(&["a", "b"]);
        tally.add("c");
        tally.add("b");
        tally.add("c");
        assert_eq!(tally.counts().collect::<Vec<_>>(), [("a", 0), ("b", 1), ("c", 2)]);
        assert_eq!(tally.total(), 3);
        assert_eq!(["a", "c", "d"].map(|kind| tally.get(kind)), [0, 2, 0]);
    }

    #[test]
    fn what_has_no_place_is_counted_all_the_same() {
        let tally = Tally::of(&[]);
        (0..KINDS + 3).for_each(|kind| tally.add(kind));
        assert_eq!((tally.counts().count(), tally.total()), (KINDS, KINDS as u64 + 3));
    }
}
