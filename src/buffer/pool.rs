//! Pool of storage blocks, shared by all connections of one worker.

use super::{Buffer, Storage};

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
    #[allow(clippy::vec_box, reason = "a block moves to a buffer and back without an allocation")]
    blocks: Vec<Box<Storage>>,
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
        match &mut buffer.0 {
            Some(storage) if storage.len() > 0 => self.make_room_behind(storage, limit),
            Some(storage) if storage.space.len() >= BLOCK_BYTES => {}
            // The buffer has no storage, or the exact fit of an earlier leftover, which is too small to read into.
            storage => *storage = Some(self.allocate()),
        }
    }

    /// Ends a turn. Takes the storage of an empty buffer back. Takes a block that is at most half full back as well;
    /// the buffer then keeps storage that just fits its bytes.
    #[inline]
    pub fn reclaim(&mut self, buffer: &mut Buffer) {
        if let Some(storage) = &mut buffer.0 {
            if storage.len() > 0 {
                self.shrink(storage);
            } else if let Some(storage) = buffer.0.take() {
                self.free(storage);
            }
        }
    }

    fn shrink(&mut self, storage: &mut Box<Storage>) {
        if storage.space.len() >= BLOCK_BYTES && storage.len() <= storage.space.len() / 2 {
            self.replace(storage, Box::new(Storage::new(storage.len())));
        }
    }

    fn make_room_behind(&mut self, storage: &mut Box<Storage>, limit: usize) {
        let size = storage.space.len();
        let (start, end) = (storage.start as usize, storage.end as usize);
        if size < BLOCK_BYTES {
            let block = self.allocate();
            self.replace(storage, block);
        } else if start >= storage.len() || (end == size && start > 0) {
            // The first case moves no more bytes than it frees; the second is the last resort before growing.
            storage.compact();
        } else if end == size && size < limit {
            let grown = (size * 2).min(limit);
            assert!(u32::try_from(grown).is_ok(), "a buffer limit of {limit} bytes is above 4 GiB");
            self.replace(storage, Box::new(Storage::new(grown)));
        }
    }

    /// Moves the bytes of `storage` to `other`, which takes its place.
    ///
    /// # Panics
    ///
    /// Panics when the bytes do not fit.
    fn replace(&mut self, storage: &mut Box<Storage>, mut other: Box<Storage>) {
        let len = storage.len();
        other.space[..len].copy_from_slice(storage.bytes());
        other.commit(len);
        storage.consume(len);
        self.free(std::mem::replace(storage, other));
    }

    #[inline]
    #[allow(clippy::unnecessary_box_returns, reason = "the pool holds boxes")]
    fn allocate(&mut self) -> Box<Storage> {
        self.blocks.pop().unwrap_or_else(|| Box::new(Storage::new(BLOCK_BYTES)))
    }

    #[inline]
    fn free(&mut self, block: Box<Storage>) {
        if block.space.len() == BLOCK_BYTES && self.blocks.len() < MAX_FREE_BLOCKS {
            self.blocks.push(block);
        }
    }
}
