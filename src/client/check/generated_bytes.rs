//! Message bytes that differ for every connection and stream position.
//!
//! Verification against this pattern detects bytes that were changed, lost, repeated, swapped or sent on another
//! connection, and where.

use super::echo::first_difference;
use crate::random::{GOLDEN, mix};
use std::num::NonZeroU64;

/// Size of a word in bytes.
const WORD_BYTES: usize = 8;

/// Number of bytes that are generated at a time to be compared.
const PORTION_BYTES: usize = 256;

/// Bytes that one connection sends: the words of a Weyl sequence from a random start. No word repeats within 2^64, and
/// a word costs one addition.
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
        let mut index = offset / WORD_BYTES as u64;
        // The remainder is below eight.
        #[allow(clippy::cast_possible_truncation)]
        let start = (offset % WORD_BYTES as u64) as usize;
        let mut rest = bytes;
        if start > 0 {
            let head = &self.word(index)[start..];
            let (first, behind) = rest.split_at_mut(head.len().min(rest.len()));
            first.copy_from_slice(&head[..first.len()]);
            (rest, index) = (behind, index + 1);
        }
        let (words, last) = rest.as_chunks_mut();
        words.iter_mut().zip(index..).for_each(|(word, index)| *word = self.word(index));
        if !last.is_empty() {
            last.copy_from_slice(&self.word(index + words.len() as u64)[..last.len()]);
        }
    }

    /// Index of the first byte of `bytes` that differs from the pattern at `offset`; `None` if all are equal.
    #[must_use]
    pub(in crate::client) fn difference(self, offset: u64, bytes: &[u8]) -> Option<usize> {
        let mut portion = [0; PORTION_BYTES];
        bytes.chunks(PORTION_BYTES).enumerate().find_map(|(number, received)| {
            let (start, sent) = (number * PORTION_BYTES, &mut portion[..received.len()]);
            self.fill(offset + start as u64, sent);
            first_difference(sent, received).map(|within| start + within)
        })
    }

    fn word(self, index: u64) -> [u8; WORD_BYTES] {
        self.base.get().wrapping_add(index.wrapping_mul(GOLDEN)).to_le_bytes()
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
        fn any_part_of_the_stream_can_be_generated_alone(offset in 0_usize..100, count in 0_usize..700) {
            let pattern = Pattern::new(7, 3);
            let part = stream(pattern, offset as u64, count);
            prop_assert_eq!(&part, &stream(pattern, 0, 800)[offset..offset + count]);
            prop_assert_eq!(pattern.difference(offset as u64, &part), None);
        }

        #[test]
        fn a_changed_byte_is_located(offset in 0_u64..100, count in 1_usize..700, place in 0_usize..700, by in 1_u8..) {
            let pattern = Pattern::new(7, 3);
            let mut part = stream(pattern, offset, count);
            let place = place % count;
            part[place] ^= by;
            prop_assert_eq!(pattern.difference(offset, &part), Some(place));
        }
    }
}
