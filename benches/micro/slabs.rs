//! Slab of connections, from one to a million of them.

use crate::harness::Harness;
use crate::internal::event_loop::Key;
use crate::internal::event_loop::slab::Slab;
use std::hint::black_box;

const COUNTS: [usize; 4] = [1, 100, 10_000, 1_000_000];

/// Distance between the connections of successive operations, so that the cache does not predict them.
const STRIDE: usize = 7919;

/// Stands for a connection.
type Value = [u64; 16];

pub(crate) fn bench(harness: &Harness) {
    // The look-up of an event's connection.
    harness.bench_each("slab/get", &COUNTS, |count| {
        let ((mut slab, keys), mut next) = (filled(count), 0);
        move || {
            next = (next + STRIDE) % count;
            let value = slab.get_mut(black_box(keys[next])).expect("it is in the slab");
            value[0] += 1;
            value[0]
        }
    });
    // A connection closes, and another one is opened.
    harness.bench_each("slab/replace", &COUNTS, |count| {
        let ((mut slab, mut keys), mut next) = (filled(count), 0);
        move || {
            next = (next + STRIDE) % count;
            let removed = slab.remove(keys[next]);
            keys[next] = slab.insert([1; 16]);
            removed.is_some()
        }
    });
}

fn filled(count: usize) -> (Slab<Value>, Vec<Key>) {
    let mut slab = Slab::default();
    let keys = (0..count).map(|_| slab.insert([0; 16])).collect();
    (slab, keys)
}
