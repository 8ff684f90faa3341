//! Byte queue and pool of blocks.

use crate::harness::Harness;
use crate::internal::buffer::{Buffer, BufferPool};
use std::hint::black_box;

const LIMIT: usize = 64 * 1024;
const SIZES: [usize; 2] = [64, 16 * 1024];

pub(crate) fn bench(harness: &Harness) {
    // A turn of a connection that echoes a message: a block is lent, filled, emptied and taken back.
    harness.bench_each("buffer/turn", &SIZES, |bytes| {
        let (mut pool, mut buffer) = (BufferPool::new(), Buffer::new());
        move || {
            pool.make_room(&mut buffer, LIMIT);
            black_box(buffer.spare(LIMIT));
            buffer.commit(bytes);
            black_box(buffer.bytes());
            buffer.consume(bytes);
            pool.reclaim(&mut buffer);
        }
    });
    // A turn that leaves bytes behind: they move to storage of their size, and back to a block in the next turn.
    harness.bench_each("buffer/turn with rest", &SIZES, |bytes| {
        let (mut pool, mut buffer) = (BufferPool::new(), Buffer::new());
        pool.make_room(&mut buffer, LIMIT);
        buffer.commit(bytes);
        move || {
            pool.reclaim(&mut buffer);
            pool.make_room(&mut buffer, LIMIT);
            buffer.commit(bytes);
            buffer.consume(bytes);
        }
    });
}
