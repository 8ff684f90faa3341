//! Slab of connections, indexed by keys that detect stale use.

use super::Key;

/// Slab in which every value has its own [`Key`]. The key of a removed value finds nothing, even when a new value
/// reuses its index.
#[derive(Debug)]
pub struct Slab<T> {
    entries: slab::Slab<Entry<T>>,
    /// Generation of the newest entry.
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: T,
}

/// Bytes that a growing table reserves at first. malloc takes so large a block from the kernel, page by page as it is used,
/// and moves the pages when it grows. Smaller blocks are copied, and leave holes in the heap (mallopt(3),
/// `M_MMAP_THRESHOLD`): with 15,000 connections those were 9 bytes of each.
pub(super) const FIRST_CAPACITY_BYTES: usize = 256 * 1024;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: slab::Slab::with_capacity(FIRST_CAPACITY_BYTES / size_of::<Entry<T>>()), generation: 0 }
    }
}

impl<T> Slab<T> {
    /// Returns the key that the next [`insert`](Self::insert) will use.
    ///
    /// # Panics
    ///
    /// Panics when there are more than 2³² entries.
    #[must_use]
    pub fn next_key(&self) -> Key {
        let index = u32::try_from(self.entries.vacant_key()).expect("fewer than 2^32 connections");
        Key { index, generation: next_generation(self.generation) }
    }

    /// Inserts `value` and returns its key.
    ///
    /// # Panics
    ///
    /// Panics when there are more than 2³² entries.
    pub fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        self.generation = key.generation;
        self.entries.insert(Entry { generation: key.generation, value });
        key
    }

    /// Returns the value of `key`, unless it was removed.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.index as usize)?;
        (entry.generation == key.generation).then_some(&entry.value)
    }

    /// As [`get`](Self::get), mutably.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        (entry.generation == key.generation).then_some(&mut entry.value)
    }

    /// Removes and returns the value of `key`, unless it was removed before.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        self.entries.try_remove(key.index as usize).map(|entry| entry.value)
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the slab is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the keys of all values.
    ///
    /// # Panics
    ///
    /// Panics when there are more than 2³² entries.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let key = |(index, entry): (usize, &Entry<T>)| Key {
            index: u32::try_from(index).expect("fewer than 2^32 connections"),
            generation: entry.generation,
        };
        self.entries.iter().map(key).collect()
    }
}

/// The generation after `generation`; 0 is reserved for the fixed parts.
fn next_generation(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::{Slab, next_generation};
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
    fn values_are_found_and_counted() {
        let mut slab = Slab::default();
        assert!(slab.is_empty() && slab.keys().is_empty());
        let keys = [slab.insert("first"), slab.insert("second"), slab.insert("third")];
        assert_eq!(slab.remove(keys[1]), Some("second"));
        assert_eq!(keys.map(|key| slab.get(key).copied()), [Some("first"), None, Some("third")]);
        assert_eq!((slab.len(), slab.is_empty(), slab.keys()), (2, false, vec![keys[0], keys[2]]));
    }

    #[test]
    fn a_key_converts_to_a_token_and_back() {
        let mut slab = Slab { generation: u32::MAX - 1, ..Slab::default() };
        let key = slab.insert(());
        assert_eq!(super::Key::from(Token::from(key)), key);
        assert_eq!(key.as_fixed(), None);
    }

    #[test]
    fn generation_zero_is_never_used() {
        assert_eq!(next_generation(u32::MAX), 1);
    }
}
