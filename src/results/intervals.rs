//! Intervals of a run: one per second of the measured time, and one for the time after it.

use super::bounds::add;
use super::{Interval, RunResults};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Minimum length of the last interval, in seconds. A shorter one says little about a rate.
const MIN_INTERVAL_S: f64 = 0.5;

impl RunResults {
    /// Moves the intervals that began at `end_s` or later to `after_load`.
    pub(crate) fn split_after_load(&mut self, end_s: f64) {
        while let Some(later) = self.intervals.pop_if(|second| second.start_s > 0.0 && second.start_s >= end_s) {
            let after = self.after_load.get_or_insert_default();
            let seconds = after.seconds + later.seconds;
            after.add(&Interval { open: 0, ..later });
            after.seconds = seconds;
        }
    }

    /// Ends the intervals with the measured time, once all workers are added. A rest too short for an interval is added
    /// to the last one.
    pub(crate) fn end_intervals(&mut self) {
        let end_s = self.measured_s;
        self.split_after_load(end_s);
        let is_rest = |second: &mut Interval| second.start_s > 0.0 && end_s - second.start_s < MIN_INTERVAL_S;
        while let Some(later) = self.intervals.pop_if(is_rest) {
            let Some(last) = self.intervals.last_mut() else { break };
            let open = last.open;
            last.add(&later);
            last.open = open;
        }
        if let Some(last) = self.intervals.last_mut() {
            last.seconds = end_s - last.start_s;
        }
        if let Some(after) = &mut self.after_load {
            after.start_s = end_s;
        }
        self.after_load.take_if(|after| !after.has_counts());
    }
}

/// Adds the intervals of a run whose measured time began in second `begin` to those of other runs, by their start.
#[allow(clippy::cast_possible_truncation, reason = "seconds of a run")]
pub(super) fn add_intervals(seconds: &mut BTreeMap<i64, Interval>, begin: i64, intervals: &[Interval]) {
    for interval in intervals {
        match seconds.entry(begin.saturating_add(interval.start_s.round() as i64)) {
            Entry::Occupied(mut sum) => sum.get_mut().add(interval),
            Entry::Vacant(free) => _ = free.insert(interval.clone()),
        }
    }
}

/// The intervals in order. The first one keeps its start.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "seconds of a run")]
pub(super) fn in_order(seconds: BTreeMap<i64, Interval>) -> Vec<Interval> {
    let first = seconds.first_key_value().map_or(0, |(start, interval)| start - interval.start_s.round() as i64);
    let moved = |(start, interval)| Interval { start_s: (start - first) as f64, ..interval };
    seconds.into_iter().map(moved).collect()
}

impl Interval {
    /// Whether any count is above 0.
    fn has_counts(&self) -> bool {
        [self.sent, self.answered, self.reads, self.errors, self.bytes_sent, self.bytes_received] != [0; 6]
    }

    /// Adds another client's interval of the same second.
    pub fn add(&mut self, other: &Self) {
        if other.latency.count > 0 {
            let mut latencies = self.latency.unpack();
            latencies.add(&other.latency.unpack());
            self.latency = latencies.pack();
        }
        self.seconds = self.seconds.max(other.seconds);
        add(&mut self.sent, other.sent);
        add(&mut self.answered, other.answered);
        add(&mut self.reads, other.reads);
        add(&mut self.errors, other.errors);
        add(&mut self.open, other.open);
        add(&mut self.bytes_sent, other.bytes_sent);
        add(&mut self.bytes_received, other.bytes_received);
    }
}
