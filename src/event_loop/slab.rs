//! Where a loop keeps its connections.

use super::Key;

/// A vector with holes, in which every value has its own [`Key`]. A key whose value was removed finds nothing, even when
/// another value has taken the place since.
#[derive(Debug)]
pub struct Slab<T> {
    entries: slab::Slab<Entry<T>>,
    /// The generation of the latest entry.
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: T,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: slab::Slab::new(), generation: 0 }
    }
}

impl<T> Slab<T> {
    /// The key that the next [`insert`](Self::insert) will give.
    ///
    /// # Panics
    ///
    /// When there are more than 2³² entries.
    #[must_use]
    pub fn next_key(&self) -> Key {
        let index = u32::try_from(self.entries.vacant_key()).expect("fewer than 2^32 connections");
        Key { index, generation: following(self.generation) }
    }

    /// Keeps `value` and returns its key.
    ///
    /// # Panics
    ///
    /// When there are more than 2³² entries.
    pub fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        self.generation = key.generation;
        self.entries.insert(Entry { generation: key.generation, value });
        key
    }

    /// Gives up the key that the next [`insert`](Self::insert) would give: whoever has it already will find nothing.
    pub fn skip_key(&mut self) {
        self.generation = following(self.generation);
    }

    /// The value of `key`, unless it was removed.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        (entry.generation == key.generation).then_some(&mut entry.value)
    }

    /// Takes out the value of `key`, unless it was removed before.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        self.entries.try_remove(key.index as usize).map(|entry| entry.value)
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The keys of all values.
    ///
    /// # Panics
    ///
    /// When there are more than 2³² entries.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let key = |(index, entry): (usize, &Entry<T>)| Key {
            index: u32::try_from(index).expect("fewer than 2^32 connections"),
            generation: entry.generation,
        };
        self.entries.iter().map(key).collect()
    }
}

/// The next generation; 0 belongs to the fixed parts.
fn following(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::{Slab, following};
    use mio::Token;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slab = Slab::default();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(first.index, second.index, "the place is used again");
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "second"));
    }

    #[test]
    fn a_key_that_was_skipped_finds_nothing() {
        let mut slab = Slab::default();
        let skipped = slab.next_key();
        slab.skip_key();
        let key = slab.insert("value");
        assert_eq!((key.index, slab.get_mut(skipped)), (skipped.index, None));
        assert_eq!(slab.get_mut(key), Some(&mut "value"));
    }

    #[test]
    fn a_key_survives_the_way_through_a_token() {
        let mut slab = Slab { generation: u32::MAX - 1, ..Slab::default() };
        let key = slab.insert(());
        assert_eq!(super::Key::from(Token::from(key)), key);
        assert_eq!(key.as_fixed(), None);
    }

    #[test]
    fn generation_zero_is_never_given() {
        assert_eq!(following(u32::MAX), 1);
    }
}
