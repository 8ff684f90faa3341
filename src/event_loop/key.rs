//! Tokens that outlive what they name, told apart by a generation.

use mio::Token;

/// Names one entry of a loop: a connection in the [`Slab`](super::Slab), or a fixed part of the program.
///
/// A token can outlive its connection within one batch of events, and its place may already be taken by the next
/// connection. The index says where, the generation says who; generation 0 is kept for the fixed parts (listeners,
/// the mailbox, signals), which never leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

// Index and generation share one `usize`; with fewer bits there is no room for both.
const _: () = assert!(usize::BITS >= 64, "multiconn needs a 64-bit system");

impl Key {
    /// The key of a fixed part of the program.
    #[must_use]
    pub const fn fixed(index: u32) -> Self {
        Self { index, generation: 0 }
    }

    /// The index of a fixed part; `None` for a connection.
    #[inline]
    #[must_use]
    pub fn as_fixed(self) -> Option<u32> {
        (self.generation == 0).then_some(self.index)
    }
}

impl From<Key> for Token {
    #[inline]
    fn from(key: Key) -> Self {
        Self((key.generation as usize) << 32 | key.index as usize)
    }
}

impl From<Token> for Key {
    #[inline]
    fn from(token: Token) -> Self {
        // The two halves that `From<Key>` put together.
        #[allow(clippy::cast_possible_truncation)]
        Self { index: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }
}
