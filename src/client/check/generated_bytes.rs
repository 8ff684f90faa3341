//! Message bytes that differ for every connection and stream position.
//!
//! Verification against this pattern detects bytes that were changed, lost, repeated, swapped or sent on another
//! connection, and where.

use super::echo::first_difference;
use crate::random::{mix, random};
use std::num::NonZeroU64;

/// Size of a word in bytes.
const WORD_BYTES: usize = 8;

/// Bytes that one connection sends.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Pattern {
    /// Not zero, so that `Option<Pattern>` takes no more memory than `Pattern`.
    base: NonZeroU64,
}

impl Pattern {
    /// Pattern of connection number `connection` in a run with this seed.
    #[must_use]
    pub(in crate::client) fn new(seed: u64, connection: u64) -> Self {
        Self { base: NonZeroU64::new(mix(mix(seed) ^ connection)).unwrap_or(NonZeroU64::MIN) }
    }

    /// Writes the bytes of the stream from `offset` on.
    pub(in crate::client) fn fill(self, offset: u64, bytes: &mut [u8]) {
        let (index, head) = self.head(offset, bytes.len());
        let (first, rest) = bytes.split_at_mut(head.len());
        first.copy_from_slice(head.bytes());
        let (words, last) = rest.as_chunks_mut();
        let end = index + words.len() as u64;
        words.iter_mut().zip(index..).for_each(|(word, index)| *word = self.word(index));
        last.copy_from_slice(&self.word(end)[..last.len()]);
    }

    /// Index of the first byte of `bytes` that differs from the pattern at `offset`; `None` if all are equal.
    #[must_use]
    pub(in crate::client) fn difference(self, offset: u64, bytes: &[u8]) -> Option<usize> {
        let (index, head) = self.head(offset, bytes.len());
        let (first, rest) = bytes.split_at(head.len());
        if first != head.bytes() {
            return first_difference(first, head.bytes());
        }
        let (words, last) = rest.as_chunks();
        let equal = words.iter().zip(index..).take_while(|(word, index)| **word == self.word(*index)).count();
        let (word, sent) = (words.get(equal).map_or(last, |word| word), self.word(index + equal as u64));
        let within = first_difference(word, &sent[..word.len()])?;
        Some(head.len() + equal * WORD_BYTES + within)
    }

    fn word(self, index: u64) -> [u8; WORD_BYTES] {
        random(self.base.get(), index).to_le_bytes()
    }

    /// The part of a word that began before `offset`, at most `max_bytes` of its bytes, and the number of the following word.
    fn head(self, offset: u64, max_bytes: usize) -> (u64, Head) {
        let index = offset / WORD_BYTES as u64;
        // The remainder is below eight.
        #[allow(clippy::cast_possible_truncation)]
        let start = (offset % WORD_BYTES as u64) as usize;
        if start == 0 {
            return (index, Head { word: [0; WORD_BYTES], start: 0, end: 0 });
        }
        (index + 1, Head { word: self.word(index), start, end: WORD_BYTES.min(start + max_bytes) })
    }
}

/// Tail of a word that `offset` cuts.
struct Head {
    word: [u8; WORD_BYTES],
    start: usize,
    end: usize,
}

impl Head {
    fn bytes(&self) -> &[u8] {
        &self.word[self.start..self.end]
    }

    fn len(&self) -> usize {
        self.end - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn stream(pattern: Pattern, offset: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        pattern.fill(offset, &mut bytes);
        bytes
    }

    #[test]
    fn no_block_repeats_within_or_across_connections() {
        let (one, other) = (stream(Pattern::new(1, 1), 0, 1 << 19), stream(Pattern::new(1, 2), 0, 1 << 19));
        let blocks: HashSet<&[u8]> = one.windows(8).chain(other.windows(8)).collect();
        assert_eq!(blocks.len(), 2 * (one.len() - 7));
    }

    proptest! {
        #[test]
        fn any_part_of_the_stream_can_be_generated_alone(offset in 0_usize..100, count in 0_usize..100) {
            let pattern = Pattern::new(7, 3);
            let part = stream(pattern, offset as u64, count);
            prop_assert_eq!(&part, &stream(pattern, 0, 200)[offset..offset + count]);
            prop_assert_eq!(pattern.difference(offset as u64, &part), None);
        }

        #[test]
        fn a_changed_byte_is_located(offset in 0_u64..100, count in 1_usize..100, place in 0_usize..100, by in 1_u8..) {
            let pattern = Pattern::new(7, 3);
            let mut part = stream(pattern, offset, count);
            let place = place % count;
            part[place] ^= by;
            prop_assert_eq!(pattern.difference(offset, &part), Some(place));
        }
    }
}
