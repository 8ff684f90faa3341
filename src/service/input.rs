//! What a service reads.

use crate::buffer::Buffer;

/// The bytes that came in and were not consumed yet.
#[derive(Debug)]
pub struct Input<'a> {
    buffer: &'a mut Buffer,
    /// How many bytes, the newest ones, are not shown.
    hidden: usize,
    ended: bool,
}

impl<'a> Input<'a> {
    /// Input from `buffer`; `ended` says that no more will follow.
    #[inline]
    pub fn new(buffer: &'a mut Buffer, ended: bool) -> Self {
        Self { buffer, hidden: 0, ended }
    }

    /// The same input, as if only its oldest `count` bytes had come so far, and as if it had `ended`, or not: for a service
    /// that stands between another one and the connection.
    ///
    /// # Panics
    ///
    /// When fewer than `count` bytes are waiting.
    #[must_use]
    pub fn first(&mut self, count: usize, ended: bool) -> Input<'_> {
        assert!(count <= self.len(), "shown {count} of {} bytes", self.len());
        Input { hidden: self.buffer.len() - count, buffer: self.buffer, ended }
    }

    /// The bytes waiting, oldest first.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let bytes = self.buffer.bytes();
        &bytes[..bytes.len() - self.hidden]
    }

    /// The number of bytes waiting, in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() - self.hidden
    }

    /// Whether no byte is waiting.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.len() == self.hidden
    }

    /// Whether the peer has shut its sending half: what is here now is all there will ever be.
    #[inline]
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Drops the oldest `count` bytes: they were dealt with.
    ///
    /// # Panics
    ///
    /// When fewer than `count` bytes are waiting.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed {count} of {} bytes", self.len());
        self.buffer.consume(count);
    }

    /// Drops every byte.
    pub fn clear(&mut self) {
        self.consume(self.len());
    }

    /// Whether all that the buffer holds is shown.
    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        self.hidden == 0
    }

    /// Puts `other`, which must be empty, in the place of the whole buffer.
    #[inline]
    pub(super) fn swap(&mut self, other: &mut Buffer) {
        debug_assert!(self.is_whole() && other.is_empty(), "bytes would change their direction");
        std::mem::swap(self.buffer, other);
    }
}
