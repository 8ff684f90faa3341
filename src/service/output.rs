//! Where a service writes.

use super::Input;
use crate::buffer::{Buffer, BufferPool};

/// The bytes that go out, as far as there is room for them.
#[derive(Debug)]
pub struct Output<'a> {
    buffer: &'a mut Buffer,
    pool: &'a mut BufferPool,
    limit: usize,
    ended: bool,
}

impl<'a> Output<'a> {
    /// Output into `buffer`, which may hold up to `limit` bytes and borrows its storage from `pool`.
    pub fn new(buffer: &'a mut Buffer, pool: &'a mut BufferPool, limit: usize) -> Self {
        Self { buffer, pool, limit, ended: false }
    }

    /// Says that nothing more will be written: once all is sent the sending half is shut, so that the peer reads the end.
    /// Input goes on being served, and there is no room from now on.
    pub fn end(&mut self) {
        self.ended = true;
        self.limit = 0;
    }

    /// Whether [`end`](Self::end) was said.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The most bytes that can wait here, in bytes; 0 after [`end`](Self::end).
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes can be written now, in bytes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.buffer.len())
    }

    /// Writes as many of `bytes` as there is room for, and returns how many that were.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() && self.room() > 0 {
            self.pool.make_room(self.buffer, self.limit);
            let spare = self.buffer.spare(self.limit);
            let count = spare.len().min(bytes.len() - written);
            spare[..count].copy_from_slice(&bytes[written..written + count]);
            self.buffer.commit(count);
            written += count;
        }
        written
    }

    /// Writes all of `bytes` if there is room for all of them, else nothing; returns whether it did.
    #[must_use = "when there was no room, nothing was written"]
    pub fn write_whole(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.room();
        if fits {
            self.write(bytes);
        }
        fits
    }

    /// Moves as much of the input as there is room for to the output. Into an empty output it moves without copying:
    /// the two buffers change places.
    #[inline]
    pub fn take(&mut self, input: &mut Input<'_>) {
        if self.buffer.is_empty() && input.is_whole() && input.len() <= self.limit {
            input.swap(self.buffer);
        } else {
            let count = self.write(input.bytes());
            input.consume(count);
        }
    }
}
