//! Intervals end with the measured time; what came later is counted apart.

use super::{RunResults, sample};
use crate::results::Interval;
use crate::results::intervals::in_order;
use std::collections::BTreeMap;

/// A run with intervals of these starts and lengths, each with as many messages sent as its number, and open
/// connections.
fn run(measured_s: f64, intervals: &[(f64, f64)]) -> RunResults {
    let mut results = RunResults::of("x");
    results.measured_s = measured_s;
    results.intervals = (1..)
        .zip(intervals)
        .map(|(sent, &(start_s, seconds))| Interval { start_s, seconds, sent, open: 10 * sent, ..Interval::default() })
        .collect();
    results
}

/// Start, length, messages sent and open connections.
fn figures(intervals: &[Interval]) -> Vec<(f64, f64, u64, u64)> {
    intervals.iter().map(|interval| (interval.start_s, interval.seconds, interval.sent, interval.open)).collect()
}

#[test]
fn intervals_after_the_load_are_split_off() {
    let mut results = run(2.0, &[(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 0.5)]);
    results.split_after_load(2.0);
    assert_eq!(figures(&results.intervals), [(0.0, 1.0, 1, 10), (1.0, 1.0, 2, 20)]);
    assert_eq!(figures(results.after_load.as_slice()), [(0.0, 1.5, 7, 0)]);
    // The first interval stays, even if nothing was measured.
    results.split_after_load(0.0);
    assert_eq!(figures(&results.intervals), [(0.0, 1.0, 1, 10)]);
    assert_eq!(figures(results.after_load.as_slice()), [(0.0, 2.5, 9, 0)]);
}

#[test]
fn merged_intervals_keep_the_first_start() {
    let seconds = [(12, 2.0), (13, 3.0)].map(|(second, start_s)| (second, Interval { start_s, ..Interval::default() }));
    let starts: Vec<f64> = in_order(BTreeMap::from(seconds)).iter().map(|interval| interval.start_s).collect();
    assert_eq!(starts, [2.0, 3.0]);
}

#[test]
fn latencies_of_intervals_are_added() {
    let mut one = sample(1, 100, 1).intervals[0].clone();
    let other = sample(1, 200, 2).intervals[0].clone();
    let (mut expected, count) = (one.latency.unpack(), one.latency.count + other.latency.count);
    expected.add(&other.latency.unpack());
    one.add(&other);
    assert_eq!((one.latency.count, one.latency.unpack()), (count, expected));
}

#[test]
fn a_short_rest_is_added_to_the_last_interval() {
    for (measured_s, expected) in [
        (2.25, vec![(0.0, 1.0, 1, 10), (1.0, 1.25, 5, 20)]),
        (2.5, vec![(0.0, 1.0, 1, 10), (1.0, 1.0, 2, 20), (2.0, 0.5, 3, 30)]),
        (2.75, vec![(0.0, 1.0, 1, 10), (1.0, 1.0, 2, 20), (2.0, 0.75, 3, 30)]),
    ] {
        let mut results = run(measured_s, &[(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)]);
        results.end_intervals();
        assert_eq!((figures(&results.intervals), results.after_load), (expected, None), "{measured_s}");
    }
}

#[test]
fn the_time_after_the_load_begins_with_its_end() {
    let mut results = run(1.5, &[(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)]);
    results.end_intervals();
    assert_eq!(figures(&results.intervals), [(0.0, 1.0, 1, 10), (1.0, 0.5, 2, 20)]);
    assert_eq!(figures(results.after_load.as_slice()), [(1.5, 1.0, 3, 0)]);
    // Without counts it is not kept.
    let mut results = run(1.0, &[(0.0, 1.0), (1.0, 1.0)]);
    results.intervals[1].sent = 0;
    results.end_intervals();
    assert_eq!((figures(&results.intervals), results.after_load), (vec![(0.0, 1.0, 1, 10)], None));
    // An only interval has the measured time, however short.
    let mut results = run(0.25, &[(0.0, 1.0)]);
    results.end_intervals();
    assert_eq!(figures(&results.intervals), [(0.0, 0.25, 1, 10)]);
}
