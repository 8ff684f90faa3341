//! Output of a service.

use super::Input;
use crate::buffer::{Buffer, BufferPool};

/// Output buffer of a connection, with limited space.
#[derive(Debug)]
pub struct Output<'a> {
    buffer: &'a mut Buffer,
    pool: &'a mut BufferPool,
    limit: usize,
    ended: bool,
}

impl<'a> Output<'a> {
    /// Creates an output that writes to `buffer`, holds up to `limit` bytes and takes its storage from `pool`.
    pub(crate) fn new(buffer: &'a mut Buffer, pool: &'a mut BufferPool, limit: usize) -> Self {
        Self { buffer, pool, limit, ended: false }
    }

    /// Returns the same output with a shorter lifetime, for a value that holds it. Its [`end`](Self::end) has no effect.
    pub(super) fn reborrow(&mut self) -> Output<'_> {
        Output { buffer: self.buffer, pool: self.pool, limit: self.limit, ended: self.ended }
    }

    /// Returns an output with the same pool that writes to `buffer`, which holds up to `limit` bytes.
    #[inline]
    pub(super) fn redirected<'b>(&'b mut self, buffer: &'b mut Buffer, limit: usize) -> Output<'b> {
        Output { buffer, pool: self.pool, limit, ended: false }
    }

    /// Returns surplus storage of `buffer` to the pool.
    #[inline]
    pub(super) fn reclaim(&mut self, buffer: &mut Buffer) {
        self.pool.reclaim(buffer);
    }

    /// Ends the output: once all of it is sent, the sending half is shut down and the peer reads the end. Input is
    /// still served. From now on there is no room.
    pub fn end(&mut self) {
        self.ended = true;
        self.limit = 0;
    }

    /// Whether [`end`](Self::end) was called.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Maximum number of bytes that can be buffered; 0 after [`end`](Self::end).
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Number of bytes that can be written now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.buffer.len())
    }

    /// Writes as many of `bytes` as there is room for, and returns their number.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        self.generate(bytes.len(), |start, place| place.copy_from_slice(&bytes[start..start + place.len()]))
    }

    /// Writes as many of `size` bytes as there is room for, and returns their number. `fill` gets a place in the buffer, and
    /// which of the bytes is the first one there.
    #[inline]
    pub(crate) fn generate(&mut self, size: usize, mut fill: impl FnMut(usize, &mut [u8])) -> usize {
        let mut written = 0;
        while written < size && self.room() > 0 {
            self.pool.make_room(self.buffer, self.limit);
            let spare = self.buffer.spare(self.limit);
            let count = spare.len().min(size - written);
            fill(written, &mut spare[..count]);
            self.buffer.commit(count);
            written += count;
        }
        written
    }

    /// Writes all of `bytes`, or nothing if they do not fit; returns whether they were written.
    #[must_use = "nothing was written if there was no room"]
    pub fn write_whole(&mut self, bytes: &[u8]) -> bool {
        let has_room = bytes.len() <= self.room();
        if has_room {
            self.write(bytes);
        }
        has_room
    }

    /// Writes all of `parts` at once, or nothing if they do not fit; returns whether they were written.
    #[inline]
    pub(super) fn write_parts(&mut self, parts: [&[u8]; 3]) -> bool {
        let size = parts.iter().map(|part| part.len()).sum();
        if size > self.room() {
            return false;
        }
        self.pool.make_room(self.buffer, self.limit);
        let mut spare = self.buffer.spare(self.limit);
        if size <= spare.len() {
            for part in parts {
                let (place, behind) = spare.split_at_mut(part.len());
                place.copy_from_slice(part);
                spare = behind;
            }
            self.buffer.commit(size);
        } else {
            // The storage is compacted or grows in between.
            for part in parts {
                self.write(part);
            }
        }
        true
    }

    /// Moves as much of the input to the output as there is room for. If the output is empty, the two buffers are
    /// swapped instead of copying.
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
