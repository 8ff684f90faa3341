//! Tests of the buffer, compared with a plain byte queue, and of the pool.

use super::pool::MAX_FREE_BLOCKS;
use super::{BLOCK_BYTES, Buffer, BufferPool};
use proptest::prelude::*;
use std::collections::VecDeque;

fn fill(buffer: &mut Buffer, pool: &mut BufferPool, limit: usize, bytes: &[u8]) -> usize {
    pool.make_room(buffer, limit);
    let spare = buffer.spare(limit);
    let count = spare.len().min(bytes.len());
    spare[..count].copy_from_slice(&bytes[..count]);
    buffer.commit(count);
    count
}

#[test]
fn an_idle_buffer_owns_no_storage() {
    let (mut buffer, mut pool) = (Buffer::new(), BufferPool::new());
    fill(&mut buffer, &mut pool, BLOCK_BYTES, b"hello");
    assert_eq!(buffer.storage_bytes(), BLOCK_BYTES);
    buffer.consume(5);
    pool.reclaim(&mut buffer);
    assert_eq!(buffer.storage_bytes(), 0);
}

#[test]
fn a_few_bytes_do_not_keep_a_block() {
    let (mut buffer, mut pool) = (Buffer::new(), BufferPool::new());
    fill(&mut buffer, &mut pool, BLOCK_BYTES, b"hello");
    buffer.consume(2);
    pool.reclaim(&mut buffer);
    assert_eq!((buffer.bytes(), buffer.storage_bytes()), (&b"llo"[..], 3));
    assert_eq!(pool.spare_blocks(), 1);
    assert_eq!(fill(&mut buffer, &mut pool, BLOCK_BYTES, b" again"), 6);
    assert_eq!(buffer.bytes(), b"llo again");
}

#[test]
fn exact_fit_storage_is_replaced_before_a_read() {
    let (mut buffer, mut pool) = (Buffer::new(), BufferPool::new());
    fill(&mut buffer, &mut pool, BLOCK_BYTES, b"hello");
    pool.reclaim(&mut buffer);
    assert_eq!(buffer.storage_bytes(), 5);
    buffer.consume(5);
    pool.make_room(&mut buffer, BLOCK_BYTES);
    assert_eq!(buffer.spare(BLOCK_BYTES).len(), BLOCK_BYTES, "a read gets a full block, not 5 bytes");
}

#[test]
fn a_block_more_than_half_full_stays() {
    let (mut buffer, mut pool) = (Buffer::new(), BufferPool::new());
    fill(&mut buffer, &mut pool, BLOCK_BYTES, &vec![7; BLOCK_BYTES / 2 + 1]);
    pool.reclaim(&mut buffer);
    assert_eq!((buffer.storage_bytes(), pool.spare_blocks()), (BLOCK_BYTES, 0));
    buffer.consume(1);
    pool.reclaim(&mut buffer);
    assert_eq!((buffer.storage_bytes(), pool.spare_blocks()), (BLOCK_BYTES / 2, 1));
}

#[test]
fn an_emptied_buffer_uses_its_block_again() {
    let (mut buffer, mut other, mut pool) = (Buffer::new(), Buffer::new(), BufferPool::new());
    for buffer in [&mut buffer, &mut other] {
        fill(buffer, &mut pool, BLOCK_BYTES, b"hello");
        buffer.consume(5);
    }
    pool.reclaim(&mut other);
    pool.make_room(&mut buffer, BLOCK_BYTES);
    assert_eq!((buffer.spare(BLOCK_BYTES).len(), pool.spare_blocks()), (BLOCK_BYTES, 1));
}

#[test]
fn a_pool_keeps_a_bounded_number_of_blocks() {
    let mut pool = BufferPool::new();
    assert_eq!(pool.spare_blocks(), 0);
    let mut buffers: Vec<_> = (0..MAX_FREE_BLOCKS + 2).map(|_| Buffer::new()).collect();
    for buffer in &mut buffers {
        pool.make_room(buffer, BLOCK_BYTES);
    }
    for buffer in &mut buffers {
        pool.reclaim(buffer);
    }
    assert_eq!(pool.spare_blocks(), MAX_FREE_BLOCKS);
}

/// With small steps, the bytes of a large message would be copied again and again.
#[test]
fn a_full_buffer_doubles_its_storage() {
    let (mut buffer, mut pool) = (Buffer::new(), BufferPool::new());
    let limit = 8 * BLOCK_BYTES;
    assert_eq!(fill(&mut buffer, &mut pool, limit, &vec![7; BLOCK_BYTES - 1]), BLOCK_BYTES - 1);
    pool.make_room(&mut buffer, limit);
    assert_eq!(buffer.storage_bytes(), BLOCK_BYTES, "there is room for a byte");
    buffer.commit(1);
    pool.make_room(&mut buffer, limit);
    assert_eq!(buffer.storage_bytes(), 2 * BLOCK_BYTES);
}

#[test]
fn grows_to_its_limit_and_no_further() {
    let (mut buffer, mut pool) = (Buffer::new(), BufferPool::new());
    let limit = 3 * BLOCK_BYTES + 1;
    let bytes = vec![7; BLOCK_BYTES];
    while fill(&mut buffer, &mut pool, limit, &bytes) > 0 {}
    assert_eq!(buffer.len(), limit);
    assert_eq!(buffer.storage_bytes(), limit);
}

#[test]
fn a_limit_below_a_block_holds() {
    let (mut buffer, mut pool) = (Buffer::new(), BufferPool::new());
    assert_eq!(fill(&mut buffer, &mut pool, 4, b"hello"), 4);
    assert_eq!(fill(&mut buffer, &mut pool, 4, b"o"), 0);
    buffer.consume(1);
    assert_eq!(fill(&mut buffer, &mut pool, 4, b"o?"), 1);
    assert_eq!(buffer.bytes(), b"ello");
}

#[test]
#[should_panic(expected = "consumed 6 of 5 bytes")]
fn consuming_more_than_is_buffered_panics() {
    let (mut buffer, mut pool) = (Buffer::new(), BufferPool::new());
    fill(&mut buffer, &mut pool, BLOCK_BYTES, b"hello");
    buffer.consume(6);
}

proptest! {
    /// In any order of writing, consuming and reclaiming, bytes come out as they went in.
    #[test]
    fn is_a_queue(limit in 1usize..200_000, steps in proptest::collection::vec((0u8..3, 0usize..100_000), 1..60)) {
        // Created once and compared as a whole: creating and comparing single bytes took most of the test's time.
        let pattern: Vec<u8> = (0..=u8::MAX).cycle().take(100_256).collect();
        let (mut buffer, mut pool) = (Buffer::new(), BufferPool::new());
        let mut model: VecDeque<u8> = VecDeque::new();
        let mut next = 0;
        for (action, amount) in steps {
            match action {
                0 => {
                    let count = fill(&mut buffer, &mut pool, limit, &pattern[next..next + amount]);
                    prop_assert!(count > 0 || amount == 0 || model.len() == limit, "make_room left no room");
                    model.extend(&pattern[next..next + count]);
                    next = (next + count) % 256;
                }
                1 => {
                    let count = amount.min(model.len());
                    buffer.consume(count);
                    model.drain(..count);
                }
                _ => pool.reclaim(&mut buffer),
            }
            prop_assert!(buffer.len() <= limit);
            prop_assert!(buffer.bytes() == &*model.make_contiguous());
        }
        prop_assert!(pool.spare_blocks() <= MAX_FREE_BLOCKS);
    }
}
