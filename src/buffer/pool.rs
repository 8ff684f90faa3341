//! Pool of storage blocks, shared by all connections of one worker.

use super::Buffer;

/// Size of a block in bytes. Blocks of 64 KiB moved 256 KiB messages 1.55 times as fast as one read per wake-up. Blocks
/// of 256 KiB were slower again, because they no longer fit the cache.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// Maximum number of free blocks that the pool keeps. A turn needs at most two. The others smooth the moments when many
/// connections return blocks with output they could not send at once.
pub(super) const MAX_FREE_BLOCKS: usize = 16;

/// Lends blocks of [`BLOCK_BYTES`] to the buffers of one worker's connections.
///
/// The block that was returned last is lent first, while it is still in the cache.
#[derive(Debug, Default)]
pub struct BufferPool {
    blocks: Vec<Box<[u8]>>,
}

impl BufferPool {
    /// Creates a pool that allocates its blocks when they are first needed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of free blocks.
    #[must_use]
    pub fn spare_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Makes `buffer.spare(limit)` non-empty, unless the buffer already holds `limit` bytes.
    ///
    /// # Panics
    ///
    /// Panics when `limit` is above `u32::MAX` and the buffer has to grow that far.
    #[inline]
    pub fn make_room(&mut self, buffer: &mut Buffer, limit: usize) {
        if !buffer.is_empty() {
            self.make_room_behind(buffer, limit);
        } else if buffer.storage.len() < BLOCK_BYTES {
            // The buffer has no storage, or the exact fit of an earlier leftover, which is too small to read into.
            buffer.storage = self.allocate();
        }
    }

    /// Ends a turn. Takes the storage of an empty buffer back. Takes a block that is at most half full back as well;
    /// the buffer then keeps storage that just fits its bytes.
    #[inline]
    pub fn reclaim(&mut self, buffer: &mut Buffer) {
        if buffer.is_empty() {
            if !buffer.storage.is_empty() {
                self.free(std::mem::take(&mut buffer.storage));
            }
        } else {
            self.shrink(buffer);
        }
    }

    fn shrink(&mut self, buffer: &mut Buffer) {
        if buffer.storage.len() >= BLOCK_BYTES && buffer.len() <= buffer.storage.len() / 2 {
            let block = buffer.replace_storage(vec![0; buffer.len()].into());
            self.free(block);
        }
    }

    fn make_room_behind(&mut self, buffer: &mut Buffer, limit: usize) {
        let size = buffer.storage.len();
        let (start, end) = (buffer.start as usize, buffer.end as usize);
        if size < BLOCK_BYTES {
            let block = self.allocate();
            buffer.replace_storage(block);
        } else if start >= buffer.len() || (end == size && start > 0) {
            // The first case moves no more bytes than it frees; the second is the last resort before growing.
            buffer.compact();
        } else if end == size && size < limit {
            let grown = (size * 2).min(limit);
            assert!(u32::try_from(grown).is_ok(), "a buffer limit of {limit} bytes is above 4 GiB");
            let block = buffer.replace_storage(vec![0; grown].into());
            self.free(block);
        }
    }

    #[inline]
    fn allocate(&mut self) -> Box<[u8]> {
        self.blocks.pop().unwrap_or_else(|| vec![0; BLOCK_BYTES].into())
    }

    #[inline]
    fn free(&mut self, block: Box<[u8]>) {
        if block.len() == BLOCK_BYTES && self.blocks.len() < MAX_FREE_BLOCKS {
            self.blocks.push(block);
        }
    }
}
