//! Bounded byte queue, the pool of storage behind it, and the account of memory held for peers.
//!
//! A [`Buffer`] owns no storage while it is empty and idle: an idle connection must cost no heap. The [`BufferPool`]
//! gives it a 64 KiB block for one turn. At the end of the turn it takes the block back, or leaves storage that just
//! fits the remaining bytes. The [`MemoryAccount`] of a process counts the storage that connections keep. Nothing here
//! blocks, reads a clock or knows a socket.

mod account;
mod pool;
#[cfg(test)]
mod tests;

pub use account::MemoryAccount;
pub use pool::{BLOCK_BYTES, BufferPool};

/// Byte queue: bytes are written at the end, and read and consumed at the start.
///
/// It takes one word while it owns no storage.
#[derive(Debug, Default)]
pub struct Buffer(Option<Box<Storage>>);

/// Storage of a buffer, with the place of its bytes.
///
/// Invariants: `start <= end <= space.len()`, and `start == end` only as `0 == 0`, so that an empty buffer always offers
/// its whole storage.
#[derive(Debug)]
struct Storage {
    space: Box<[u8]>,
    start: u32,
    end: u32,
}

impl Buffer {
    /// Creates an empty buffer without storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of buffered bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |storage| storage.len())
    }

    /// Whether no byte is buffered.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffered bytes, oldest first.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |storage| storage.bytes())
    }

    /// Size of the storage in bytes; 0 for an idle buffer.
    #[inline]
    #[must_use]
    pub fn storage_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |storage| storage.space.len())
    }

    /// Removes the oldest `count` bytes.
    ///
    /// # Panics
    ///
    /// Panics when fewer than `count` bytes are buffered.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed {count} of {} bytes", self.len());
        if let Some(storage) = &mut self.0 {
            storage.consume(count);
        }
    }

    /// Removes all bytes.
    pub fn clear(&mut self) {
        self.consume(self.len());
    }

    /// Returns the writable storage behind the bytes, cut so that the buffer never holds more than `limit` bytes. It is
    /// empty when there is no storage: see [`BufferPool::make_room`].
    #[inline]
    pub fn spare(&mut self, limit: usize) -> &mut [u8] {
        self.0.as_mut().map_or(&mut [], |storage| storage.spare(limit))
    }

    /// Appends the first `count` bytes of [`spare`](Self::spare) to the buffer.
    ///
    /// # Panics
    ///
    /// Panics when the storage has fewer than `count` bytes left.
    #[inline]
    pub fn commit(&mut self, count: usize) {
        match &mut self.0 {
            Some(storage) => storage.commit(count),
            None => assert_eq!(count, 0, "committed to a buffer without storage"),
        }
    }
}

impl Storage {
    fn new(size: usize) -> Self {
        Self { space: vec![0; size].into(), start: 0, end: 0 }
    }

    #[inline]
    fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.space[self.start as usize..self.end as usize]
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        // Bounded by the caller to a difference of two u32.
        #[allow(clippy::cast_possible_truncation)]
        let count = count as u32;
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        self.check();
    }

    #[inline]
    fn spare(&mut self, limit: usize) -> &mut [u8] {
        let bound = self.space.len().min((self.start as usize).saturating_add(limit));
        let end = self.end as usize;
        &mut self.space[end..bound.max(end)]
    }

    #[inline]
    fn commit(&mut self, count: usize) {
        assert!(count <= self.space.len() - self.end as usize, "committed more than the storage holds");
        // The assertion bounds `count` by the storage, whose size fits u32 (see `BufferPool::make_room`).
        #[allow(clippy::cast_possible_truncation)]
        let count = count as u32;
        self.end += count;
        self.check();
    }

    /// Moves the bytes to the start of the storage, so that all free space is behind them.
    fn compact(&mut self) {
        self.space.copy_within(self.start as usize..self.end as usize, 0);
        self.end -= self.start;
        self.start = 0;
        self.check();
    }

    #[inline]
    fn check(&self) {
        debug_assert!(self.start <= self.end, "the start passed the end");
        debug_assert!(self.end as usize <= self.space.len(), "the end passed the storage");
        debug_assert!(self.start < self.end || self.end == 0, "an empty buffer must start at 0");
    }
}
