//! Recording of latencies, once per reply of the load client.

use crate::harness::Harness;
use multiconn::results::Latencies;
use std::hint::black_box;

pub(crate) fn bench(harness: &Harness) {
    // Latencies around 50 µs, which share a few cache lines of the counts.
    let (mut latencies, mut nanos) = (Latencies::default(), 50_000);
    harness.bench("histogram/record", || {
        nanos = 40_000 + (nanos * 7) % 20_000;
        latencies.record_nanos(black_box(nanos));
    });
    // Latencies from 1 µs to 0.5 s, which are spread over all counts.
    let mut random = 1_u64;
    harness.bench("histogram/record spread", || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        latencies.record_nanos(black_box(1_000 << ((random >> 32) % 20)));
    });
    // The merge of one worker's second into the whole run.
    let (mut sum, mut second) = (Latencies::default(), Latencies::default());
    (0..1000).for_each(|count| second.record_nanos(20_000 + 100 * count));
    harness.bench("histogram/add", || sum.add(black_box(&second)));
    harness.bench("histogram/p99", || black_box(&second).at(0.99));
}
