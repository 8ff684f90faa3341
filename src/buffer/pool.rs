//! The lender of storage: a few blocks that all connections of one worker share.

use super::Buffer;

/// The size of a lent block, in bytes. 64 KiB moved 256 KiB messages 1.55 times as fast as one read per wake-up did, and
/// blocks of 256 KiB were slower again, because they no longer fit the cache.
pub const LENT_BYTES: usize = 64 * 1024;

/// How many blocks are kept for the next borrower. A turn borrows two at most; the rest smooths the moments in which
/// many connections give back what they could not send at once.
pub(super) const KEPT_BLOCKS: usize = 16;

/// Lends blocks of [`LENT_BYTES`] to the buffers of one worker's connections.
///
/// The block given back last is lent first, while it is still in the cache.
#[derive(Debug, Default)]
pub struct BufferPool {
    blocks: Vec<Box<[u8]>>,
}

impl BufferPool {
    /// A lender that allocates its blocks when they are first needed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many blocks wait for the next borrower.
    #[must_use]
    pub fn spare_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Sees to it that `buffer.spare(limit)` is not empty, unless the buffer already holds `limit` bytes.
    ///
    /// # Panics
    ///
    /// When `limit` is above `u32::MAX` and the buffer has to grow that far.
    #[inline]
    pub fn make_room(&mut self, buffer: &mut Buffer, limit: usize) {
        if !buffer.is_empty() {
            self.make_room_behind(buffer, limit);
        } else if buffer.storage.len() < LENT_BYTES {
            // There is none, or just what a leftover needed: too little to read into.
            buffer.storage = self.lend();
        }
    }

    /// Ends a turn: takes the storage back from an empty buffer, and from one that holds little in a lent block,
    /// which then keeps just what its bytes need.
    #[inline]
    pub fn reclaim(&mut self, buffer: &mut Buffer) {
        if buffer.is_empty() {
            if !buffer.storage.is_empty() {
                self.take_back(std::mem::take(&mut buffer.storage));
            }
        } else {
            self.shrink(buffer);
        }
    }

    fn shrink(&mut self, buffer: &mut Buffer) {
        if buffer.storage.len() >= LENT_BYTES && buffer.len() <= buffer.storage.len() / 2 {
            let block = buffer.replace_storage(vec![0; buffer.len()].into());
            self.take_back(block);
        }
    }

    fn make_room_behind(&mut self, buffer: &mut Buffer, limit: usize) {
        let size = buffer.storage.len();
        let (start, end) = (buffer.start as usize, buffer.end as usize);
        if size < LENT_BYTES {
            let block = self.lend();
            buffer.replace_storage(block);
        } else if start >= buffer.len() || (end == size && start > 0) {
            // The first case moves no more bytes than it frees; the second is the last resort before growing.
            buffer.compact();
        } else if end == size && size < limit {
            let grown = (size * 2).min(limit);
            assert!(u32::try_from(grown).is_ok(), "a buffer limit of {limit} bytes is above 4 GiB");
            let block = buffer.replace_storage(vec![0; grown].into());
            self.take_back(block);
        }
    }

    #[inline]
    fn lend(&mut self) -> Box<[u8]> {
        self.blocks.pop().unwrap_or_else(|| vec![0; LENT_BYTES].into())
    }

    #[inline]
    fn take_back(&mut self, block: Box<[u8]>) {
        if block.len() == LENT_BYTES && self.blocks.len() < KEPT_BLOCKS {
            self.blocks.push(block);
        }
    }
}
