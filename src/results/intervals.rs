//! Intervals of a run: one per second of the measured time, and one for the time after it.

use super::bounds::{add, total};
use super::merge::offset_s;
use super::{Interval, Latencies, RunResults};
use std::collections::BTreeMap;

/// Minimum length of the last interval, in seconds. A shorter one says little about a rate.
const MIN_INTERVAL_S: f64 = 0.5;

impl RunResults {
    /// Sum of `count` over all intervals, also the one after the measured time.
    pub(crate) fn sum_of_intervals(&self, count: impl Fn(&Interval) -> u64) -> u64 {
        total(self.intervals.iter().chain(&self.after_load).map(count))
    }

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

/// Groups the intervals of all runs by their starting second since the start of the merged run.
#[allow(clippy::cast_possible_truncation, reason = "seconds of a run")]
pub(super) fn align(merged: &RunResults, runs: &[RunResults]) -> Vec<Interval> {
    let mut seconds: BTreeMap<i64, Vec<&Interval>> = BTreeMap::new();
    for results in runs {
        // Round each by itself: rounding their sum could put two intervals of one run into the same second.
        let offset = offset_s(merged.started, results).round() as i64;
        for interval in &results.intervals {
            seconds.entry(offset.saturating_add(interval.start_s.round() as i64)).or_default().push(interval);
        }
    }
    seconds.into_iter().map(|(start, parts)| join(start, &parts)).collect()
}

/// Joins the intervals of several clients in one second. This happens one second at a time, because a histogram in use
/// is large.
#[allow(clippy::cast_precision_loss, reason = "seconds of a run")]
fn join(start: i64, parts: &[&Interval]) -> Interval {
    let mut latencies = Latencies::default();
    let mut sum = Interval { start_s: start as f64, ..Interval::default() };
    for part in parts {
        latencies.add(&part.latency.unpack());
        sum.seconds = sum.seconds.max(part.seconds);
        add(&mut sum.sent, part.sent);
        add(&mut sum.answered, part.answered);
        add(&mut sum.reads, part.reads);
        add(&mut sum.errors, part.errors);
        add(&mut sum.open, part.open);
        add(&mut sum.bytes_sent, part.bytes_sent);
        add(&mut sum.bytes_received, part.bytes_received);
    }
    sum.latency = latencies.pack();
    sum
}

impl Interval {
    /// Whether any count is above 0.
    fn has_counts(&self) -> bool {
        [self.sent, self.answered, self.reads, self.errors, self.bytes_sent, self.bytes_received] != [0; 6]
    }

    /// Adds another client's interval of the same second.
    pub fn add(&mut self, other: &Self) {
        *self = Self { start_s: self.start_s, ..join(0, &[self, other]) };
    }
}
