//! Keys of event sources: an index with a generation, so that a stale token is detected.

use mio::Token;

/// Identifies one source of a loop: a connection in the [`Slab`](super::Slab), or a fixed part of the program.
///
/// A token can outlive its connection within one batch of events, and a new connection may already use the same index.
/// The index selects the slab entry, the generation detects a stale key. Generation 0 is reserved for the fixed parts
/// (listeners, mailbox, signals), which are never removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

// Index and generation share one `usize`, which therefore needs 64 bits.
const _: () = assert!(usize::BITS >= 64, "multiconn needs a 64-bit system");

impl Key {
    /// Creates the key of a fixed part of the program.
    #[must_use]
    pub const fn fixed(index: u32) -> Self {
        Self { index, generation: 0 }
    }

    /// Returns the index of a fixed part; `None` for a connection.
    #[inline]
    #[must_use]
    pub fn as_fixed(self) -> Option<u32> {
        (self.generation == 0).then_some(self.index)
    }
}

impl From<Key> for u64 {
    #[inline]
    fn from(key: Key) -> Self {
        Self::from(key.generation) << 32 | Self::from(key.index)
    }
}

impl From<u64> for Key {
    #[inline]
    fn from(bits: u64) -> Self {
        // Splits the value that the conversion above composed.
        #[allow(clippy::cast_possible_truncation)]
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl From<Key> for Token {
    #[inline]
    fn from(key: Key) -> Self {
        // A `usize` has 64 bits: see above.
        #[allow(clippy::cast_possible_truncation)]
        Self(u64::from(key) as usize)
    }
}

impl From<Token> for Key {
    #[inline]
    fn from(token: Token) -> Self {
        Self::from(token.0 as u64)
    }
}
