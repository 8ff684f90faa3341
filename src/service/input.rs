//! Input of a service.

use crate::buffer::Buffer;

/// Received bytes that were not consumed yet.
#[derive(Debug)]
pub struct Input<'a> {
    buffer: &'a mut Buffer,
    /// Number of the newest bytes that are hidden.
    hidden: usize,
    ended: bool,
}

impl<'a> Input<'a> {
    /// Creates an input from `buffer`; `ended` tells that no more bytes follow.
    #[inline]
    pub(crate) fn new(buffer: &'a mut Buffer, ended: bool) -> Self {
        Self { buffer, hidden: 0, ended }
    }

    /// Returns the same input limited to its oldest `count` bytes, with the given `ended`: for a service that wraps
    /// another.
    ///
    /// # Panics
    ///
    /// Panics when fewer than `count` bytes are buffered.
    #[must_use]
    pub fn first(&mut self, count: usize, ended: bool) -> Input<'_> {
        assert!(count <= self.len(), "shown {count} of {} bytes", self.len());
        Input { hidden: self.buffer.len() - count, buffer: self.buffer, ended }
    }

    /// The buffered bytes, oldest first.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let bytes = self.buffer.bytes();
        &bytes[..bytes.len() - self.hidden]
    }

    /// Number of buffered bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() - self.hidden
    }

    /// Whether no byte is buffered.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.len() == self.hidden
    }

    /// Whether the peer has shut down its sending half: no more bytes will arrive.
    #[inline]
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Removes the oldest `count` bytes after they were handled.
    ///
    /// # Panics
    ///
    /// Panics when fewer than `count` bytes are buffered.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed {count} of {} bytes", self.len());
        self.buffer.consume(count);
    }

    /// Removes all bytes.
    pub fn clear(&mut self) {
        self.consume(self.len());
    }

    /// Whether all bytes of the buffer are shown.
    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        self.hidden == 0
    }

    /// Swaps the whole buffer with `other`, which must be empty.
    #[inline]
    pub(super) fn swap(&mut self, other: &mut Buffer) {
        debug_assert!(self.is_whole() && other.is_empty(), "bytes would change direction");
        std::mem::swap(self.buffer, other);
    }
}
