//! Merging the results of several clients into one, as if a single client had measured everything.
//!
//! It is meant for clients that load one server at the same time. Histograms and counts are added, which is exact.
//! Values that cannot be added (the machine, the options) are kept if all runs agree; differing options are listed.

use super::bounds::{self, MAX_ENTRIES, MAX_NUMBER, add, total};
use super::intervals::{add_intervals, in_order};
use super::shard_check::differences;
use super::summary::format_seconds;
use super::{
    Configuration, Connections, Cpu, Interval, LoadStart, Machine, Messages, Mismatches, PortSearch, ReceiveTimestamps,
    RunResults, SearchReply, Shard, Timestamp, TimestampSource,
};
use crate::units::format_count;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Maximum number of mismatches kept; all are counted.
const MAX_MISMATCHES: usize = 10;

/// Why runs cannot be merged. Runs are numbered from 0, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// No run was given.
    Nothing,
    /// A run was given twice.
    Duplicate {
        /// The numbers of both runs.
        runs: [usize; 2],
    },
    /// Runs of different kinds, whose latencies and rates are not comparable.
    Differ {
        /// The numbers of both runs.
        runs: [usize; 2],
        /// Their kinds, such as `open load` and `closed load`.
        are: [&'static str; 2],
    },
    /// A sum exceeds the maximum of a result. The text names the field.
    TooLarge(String),
}

impl MergeError {
    /// The error message, with `name` naming the runs.
    #[must_use]
    pub fn with_names(&self, name: impl Fn(usize) -> String) -> String {
        match self {
            Self::Nothing => "there is nothing to merge".to_owned(),
            Self::Duplicate { runs } => {
                let [one, other] = runs.map(name);
                format!("{one} and {other} hold the same run; give each run once")
            }
            Self::Differ { runs, are: [first, second] } => {
                let [one, other] = runs.map(name);
                format!("{one} is of {first} and {other} of {second}; merge runs of one kind")
            }
            Self::TooLarge(what) => format!("their sum is no result: {what}"),
        }
    }
}

impl fmt::Display for MergeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.with_names(|number| format!("run {}", number + 1)))
    }
}

impl Error for MergeError {}

/// Merges runs: all of them with a [`Merger`].
///
/// # Errors
///
/// Those of [`Merger::add`] and [`Merger::finish`].
pub fn merge(runs: &[RunResults]) -> Result<RunResults, MergeError> {
    let mut merger = Merger::default();
    runs.iter().try_for_each(|results| merger.add(results))?;
    merger.finish()
}

/// Merges any number of runs, one after another. It holds the sum of all, and a few figures of each.
///
/// Intervals are aligned by the machines' clocks. Rates refer to the time during which any client measured.
#[derive(Debug, Default)]
pub struct Merger {
    merged: Option<RunResults>,
    pub(super) runs: Vec<MergedRun>,
    /// Ids of the runs, and of runs without one their fingerprint, with the number of the run.
    seen: BTreeMap<String, usize>,
    /// Intervals by their start, in seconds since the measured time of the first run given began.
    seconds: BTreeMap<i64, Interval>,
    /// Configuration of the first run.
    configuration: Configuration,
    reasons: Vec<(Option<Shard>, String)>,
    notes: Vec<String>,
}

/// What a merger keeps of each run.
#[derive(Debug)]
pub(super) struct MergedRun {
    kinds: [&'static str; 4],
    valid: bool,
    pub(super) started: Timestamp,
    duration_s: f64,
    /// Begin of the measured time, as a time since 1970.
    measured_from: Duration,
    pub(super) measured_s: f64,
    most_open: u64,
    rate: Option<f64>,
    ramp_to: Option<f64>,
    start: Option<LoadStart>,
    pub(super) shard: Option<Shard>,
    pub(super) host: Option<String>,
    /// Options that differ from those of the first run.
    pub(super) differences: Vec<String>,
}

impl Merger {
    /// Adds a run.
    ///
    /// # Errors
    ///
    /// The run was given before, it differs in kind of load or transport, or a sum exceeds the maximum of a result. The
    /// runs before it cannot be merged then.
    pub fn add(&mut self, results: &RunResults) -> Result<(), MergeError> {
        let number = self.runs.len();
        if number == MAX_ENTRIES {
            return Err(MergeError::TooLarge(format!("more than {} runs", format_count(MAX_ENTRIES as u64))));
        }
        let mut run = MergedRun::of(results);
        if let Some(first) = self.runs.first() {
            if let Some((ours, theirs)) = first.kinds.into_iter().zip(run.kinds).find(|(ours, theirs)| ours != theirs) {
                return Err(MergeError::Differ { runs: [0, number], are: [ours, theirs] });
            }
            run.differences = differences(&self.configuration, &results.configuration);
        }
        for id in ids(results) {
            if let Some(earlier) = self.seen.insert(id, number) {
                return Err(MergeError::Duplicate { runs: [earlier, number] });
            }
        }
        match &mut self.merged {
            None => {
                self.configuration = results.configuration.clone();
                // A search is of one client alone.
                self.merged = Some(RunResults { find_max: None, ..results.clone() });
            }
            Some(merged) => {
                merged.started = merged.started.min(results.started);
                check_histograms(merged, results)?;
                merged.add_counts(results);
                add_description(merged, results);
            }
        }
        let begin = self.runs.first().map_or(run.measured_from, |first| first.measured_from);
        add_intervals(&mut self.seconds, run.second_after(begin), &results.intervals);
        let room = MAX_ENTRIES.saturating_sub(self.reasons.len());
        self.reasons.extend(results.reasons.iter().take(room).map(|reason| (results.shard, reason.clone())));
        add_new(&mut self.notes, &results.notes);
        self.notes.truncate(MAX_ENTRIES);
        self.runs.push(run);
        Ok(())
    }

    /// The merged run. If the runs do not overlap in time, or shards of a load are missing, it has a note.
    ///
    /// # Errors
    ///
    /// No run was added, or a sum exceeds the maximum of a result.
    pub fn finish(mut self) -> Result<RunResults, MergeError> {
        let mut merged = self.merged.take().ok_or(MergeError::Nothing)?;
        let started = merged.started;
        merged.intervals = in_order(std::mem::take(&mut self.seconds));
        // Connections are open during the whole run; messages are sent in the measured window.
        let open = self.runs.iter().map(|run| {
            let begin = offset_s(started, run.started.since_1970());
            (begin, begin + run.duration_s, run.most_open)
        });
        merged.connections.most_open = most_at_once(open, |counts| total(counts));
        if self.runs.len() > 1 {
            let has_ramp = self.runs.iter().any(|run| run.ramp_to.is_some());
            let ramp_to = self.sum_of_rates(started, |run| run.ramp_to.or(run.rate)).filter(|_| has_ramp);
            (merged.load.rate, merged.load.ramp_to) = (self.sum_of_rates(started, |run| run.rate), ramp_to);
            merged.start = self.start();
        }
        merged.duration_s = span(started, &self.runs);
        merged.measured_s = covered_s(started, &self.runs);
        self.revalidate(&mut merged);
        bounds::check(&merged).map_err(MergeError::TooLarge)?;
        Ok(merged)
    }

    /// The most that the rates add up to at one moment; none if a run has no rate.
    fn sum_of_rates(&self, started: Timestamp, rate: fn(&MergedRun) -> Option<f64>) -> Option<f64> {
        let in_windows = self.runs.iter().map(|run| {
            let (begin, end) = run.window_s(started);
            Some((begin, end, rate(run)?))
        });
        let rates: Option<Vec<_>> = in_windows.collect();
        rates.map(|rates| without_rounding_error(most_at_once(rates.into_iter(), |rates| rates.sum::<f64>())))
    }

    /// A warning about runs that do not overlap in time; none if all were measured at some common moment.
    #[must_use]
    pub fn overlap_warning(&self) -> Option<String> {
        let started = self.runs.iter().map(|run| run.started).min()?;
        let windows = || self.runs.iter().filter(|run| run.measured_s > 0.0).map(|run| run.window_s(started));
        let latest_begin = windows().map(|(begin, _)| begin).fold(0.0, f64::max);
        let earliest_end = windows().map(|(_, end)| end).fold(f64::INFINITY, f64::min);
        (latest_begin >= earliest_end).then(|| {
            let gap = format_seconds(latest_begin - earliest_end);
            format!("the runs do not overlap in time: one began {gap} after another had ended")
        })
    }

    /// Start of all runs; none if the start of one is unknown.
    fn start(&self) -> Option<LoadStart> {
        let starts: Vec<LoadStart> = self.runs.iter().map(|run| run.start).collect::<Option<_>>()?;
        let first = starts.first()?;
        let late_s = starts.iter().filter_map(|start| start.late_s).reduce(f64::max);
        let began = starts.iter().map(|start| start.began).collect::<Option<Vec<_>>>();
        let exact_s = |start: &LoadStart, since: Timestamp| {
            start.began.map_or(0.0, |began| offset_s(since, began.since_1970())) + start.late_s.unwrap_or_default()
        };
        let skew_s = began.as_ref().and_then(|began| began.iter().min()).map(|first| {
            let times = || starts.iter().map(|start| exact_s(start, *first));
            let spread = times().fold(0.0, f64::max) - times().fold(f64::INFINITY, f64::min);
            starts.iter().filter_map(|start| start.skew_s).fold(spread, f64::max)
        });
        Some(LoadStart {
            requested: first.requested.filter(|_| starts.iter().all(|start| start.requested == first.requested)),
            began: starts.iter().filter_map(|start| start.began).min(),
            late_s,
            clock_error_s: starts.iter().map(|start| start.clock_error_s).reduce(|a, b| Some(a?.max(b?))).flatten(),
            skew_s,
        })
    }

    /// Validates the merged run, and keeps the reasons and notes of each run. Together the runs may also have missed the
    /// schedule.
    fn revalidate(&self, merged: &mut RunResults) {
        merged.finalize();
        merged.valid &= self.runs.iter().all(|run| run.valid);
        let is_one = self.runs.len() == 1;
        let named = |(shard, reason): &(Option<Shard>, String)| match shard.filter(|_| !is_one) {
            Some(shard) => format!("{shard}: {reason}"),
            None => reason.clone(),
        };
        add_new(&mut merged.reasons, &self.reasons.iter().map(named).collect::<Vec<_>>());
        add_new(&mut merged.notes, self.notes.iter().chain(&self.overlap_warning()).chain(&self.missing_shards()));
        merged.reasons.truncate(MAX_ENTRIES);
        merged.notes.truncate(MAX_ENTRIES);
    }
}

impl MergedRun {
    fn of(results: &RunResults) -> Self {
        let is_timed = results.load.duration_s.is_some();
        let start = results.start.and_then(|start| start.began).unwrap_or(results.started);
        Self {
            kinds: [
                results.load.kind.name(),
                results.transport(),
                results.reply_check.kind(),
                if is_timed { "a load with a duration" } else { "a fixed number of messages" },
            ],
            valid: results.valid,
            started: results.started,
            duration_s: results.duration_s,
            measured_from: start.since_1970().saturating_add(seconds(results.warm_up_s)),
            measured_s: results.measured_s,
            most_open: results.connections.most_open,
            rate: results.load.rate,
            ramp_to: results.load.ramp_to,
            start: results.start,
            shard: results.shard,
            host: results.machine.host.clone(),
            differences: Vec::new(),
        }
    }

    /// Whether its load began. Files of earlier versions do not say.
    pub(super) fn has_begun(&self) -> bool {
        self.start.is_none_or(|start| start.began.is_some())
    }

    /// The measured time, as seconds since `started`.
    pub(super) fn window_s(&self, started: Timestamp) -> (f64, f64) {
        let begin = offset_s(started, self.measured_from);
        (begin, begin + self.measured_s)
    }

    /// Begin of the measured time in whole seconds after `begin`. It is rounded by itself: rounding its sum with the start of an
    /// interval could put two intervals of one run into the same second.
    #[allow(clippy::cast_possible_truncation, reason = "seconds of a run")]
    fn second_after(&self, begin: Duration) -> i64 {
        (self.measured_from.as_secs_f64() - begin.as_secs_f64()).round() as i64
    }
}

/// Ids of a run. Runs of earlier versions have none, and are told apart by their content: two runs never take exactly the
/// same time.
fn ids(results: &RunResults) -> Vec<String> {
    if results.run_ids.is_empty() {
        let mut hasher = DefaultHasher::new();
        results.to_json_line().hash(&mut hasher);
        return vec![format!("content {:x}", hasher.finish())];
    }
    results.run_ids.clone()
}

/// Checks that the histograms of both runs can be added: each holds a limited number of times.
fn check_histograms(merged: &mut RunResults, results: &RunResults) -> Result<(), MergeError> {
    let pairs = merged.histograms.pairs(&results.histograms);
    let large = pairs.iter().find(|(_, ours, theirs)| total([ours.count(), theirs.count()]) > MAX_NUMBER);
    large.map_or(Ok(()), |(name, ..)| {
        Err(MergeError::TooLarge(format!("histograms.{name} counts more than {}", format_count(MAX_NUMBER))))
    })
}

impl RunResults {
    /// Adds what another worker of the same run counted. Both have the same clock.
    pub(crate) fn add_worker(&mut self, worker: &Self) {
        self.add_counts(worker);
        self.duration_s = self.duration_s.max(worker.duration_s);
        self.measured_s = self.measured_s.max(worker.measured_s);
        for (index, second) in worker.intervals.iter().enumerate() {
            match self.intervals.get_mut(index) {
                Some(ours) => ours.add(second),
                None => self.intervals.push(second.clone()),
            }
        }
        for reply in &worker.search_replies {
            let is_same = |known: &&mut SearchReply| (known.request, &known.text) == (reply.request, &reply.text);
            match self.search_replies.iter_mut().find(is_same) {
                Some(known) => known.count += reply.count,
                None => self.search_replies.push(reply.clone()),
            }
        }
        self.search_replies.sort_by_key(|reply| reply.request);
    }

    /// Adds the counts and histograms of another worker or run.
    pub(crate) fn add_counts(&mut self, other: &Self) {
        for (_, ours, theirs) in self.histograms.pairs(&other.histograms) {
            ours.add(theirs);
        }
        self.connections.add(&other.connections);
        self.messages.add(&other.messages);
        if let Some(theirs) = &other.datagrams {
            let ours = self.datagrams.get_or_insert_default();
            add(&mut ours.late, theirs.late);
            add(&mut ours.duplicated, theirs.duplicated);
            add(&mut ours.reordered, theirs.reordered);
            for (peer, replies) in &theirs.peers {
                if let Some(known) = ours.peers.get_mut(peer) {
                    known.add(replies);
                } else if ours.peers.len() < MAX_ENTRIES {
                    ours.peers.insert(peer.clone(), *replies);
                }
            }
            let both = ours.receivers.zip(theirs.receivers).map(|(ours, theirs)| ours.with(theirs));
            ours.receivers = both.or(ours.receivers).or(theirs.receivers);
        }
        if let (Some(ours), Some(theirs)) = (&mut self.receive_timestamps, other.receive_timestamps) {
            add(&mut ours.missing, theirs.missing);
        }
        if let Some(theirs) = &other.statuses {
            self.statuses.get_or_insert_default().add(theirs);
        }
        add(&mut self.bytes.sent, other.bytes.sent);
        add(&mut self.bytes.received, other.bytes.received);
        for (cause, count) in &other.errors {
            add(self.errors.entry(cause.clone()).or_default(), *count);
        }
        for (target, count) in &other.failed_by_target {
            add(self.failed_by_target.entry(target.clone()).or_default(), *count);
        }
        add(&mut self.mismatches.count, other.mismatches.count);
        other.mismatches.first.iter().for_each(|text| self.mismatches.keep(text));
        match (&mut self.after_load, &other.after_load) {
            (Some(ours), Some(theirs)) => ours.add(theirs),
            (ours, theirs) => *ours = ours.take().or_else(|| theirs.clone()),
        }
        self.cpu = self.cpu.zip(other.cpu).map(|(ours, theirs)| ours.and(theirs));
    }
}

impl Cpu {
    /// The CPU time of this client or worker and another one. The busiest may have limited the load.
    fn and(self, other: Self) -> Self {
        let of_either = |ours: Option<f64>, theirs: Option<f64>, both: fn(f64, f64) -> f64| {
            ours.into_iter().chain(theirs).reduce(both)
        };
        Self {
            seconds: self.seconds + other.seconds,
            share: self.share.max(other.share),
            waiting_s: of_either(self.waiting_s, other.waiting_s, std::ops::Add::add),
            // Clients on one machine share these times.
            throttled_s: of_either(self.throttled_s, other.throttled_s, f64::max),
            steal_s: of_either(self.steal_s, other.steal_s, f64::max),
        }
    }
}

impl Connections {
    fn add(&mut self, other: &Self) {
        add(&mut self.requested, other.requested);
        add(&mut self.opened, other.opened);
        self.opening_s = self.opening_s.into_iter().chain(other.opening_s).reduce(f64::max);
        add(&mut self.completed, other.completed);
        add(&mut self.failed, other.failed);
        add(&mut self.retries, other.retries);
        self.port_search = self.port_search.into_iter().chain(other.port_search).reduce(PortSearch::longer);
    }
}

impl Messages {
    fn add(&mut self, other: &Self) {
        let both = |ours: Option<u64>, theirs: Option<u64>| Some(total([ours?, theirs?]));
        self.due = both(self.due, other.due);
        self.reads = both(self.reads, other.reads);
        add(&mut self.sent, other.sent);
        add(&mut self.unsent, other.unsent);
        add(&mut self.answered, other.answered);
        add(&mut self.timed_out, other.timed_out);
        add(&mut self.pending, other.pending);
        add(&mut self.lost, other.lost);
        add(&mut self.wrong, other.wrong);
        add(&mut self.no_connection, other.no_connection);
    }
}

impl Mismatches {
    /// Keeps the description of one of the first mismatches.
    pub(crate) fn keep(&mut self, description: impl fmt::Display) {
        if self.first.len() < MAX_MISMATCHES {
            self.first.push(description.to_string());
        }
    }
}

/// Merges what was asked for, and where it ran.
fn add_description(merged: &mut RunResults, results: &RunResults) {
    add(&mut merged.runs, results.runs);
    merged.run_ids.extend_from_slice(&results.run_ids);
    if merged.program != results.program {
        merged.program = format!("{}, {}", merged.program, results.program);
    }
    merged.warm_up_s = merged.warm_up_s.min(results.warm_up_s);
    merged.interrupted |= results.interrupted;
    merged.stop = merged.stop.take().or_else(|| results.stop.clone());
    // The merged check is the weakest of all runs.
    merged.reply_check = merged.reply_check.max(results.reply_check);
    // The merged source is the less precise one.
    merged.receive_timestamps = merged.receive_timestamps.zip(results.receive_timestamps).map(|(ours, theirs)| {
        let is_same = ours.source == theirs.source;
        ReceiveTimestamps { source: if is_same { ours.source } else { TimestampSource::User }, ..ours }
    });
    add_new(&mut merged.targets, &results.targets);
    merged.configuration = union(&merged.configuration, &results.configuration);
    merged.machine = common(&merged.machine, &results.machine);
    merged.shard = merged.shard.filter(|shard| results.shard == Some(*shard));
    let (ours, theirs) = (&mut merged.load, &results.load);
    ours.arrivals = ours.arrivals.take().filter(|arrivals| theirs.arrivals.as_ref() == Some(arrivals));
    ours.seed = ours.seed.filter(|seed| theirs.seed == Some(*seed));
    ours.duration_s = ours.duration_s.zip(theirs.duration_s).map(|(ours, theirs)| ours.max(theirs));
}

/// Appends each text that the list does not hold.
fn add_new<'a>(list: &mut Vec<String>, texts: impl IntoIterator<Item = &'a String>) {
    let mut known: HashSet<&str> = list.iter().map(String::as_str).collect();
    let new: Vec<_> = texts.into_iter().filter(|text| known.insert(text)).cloned().collect();
    list.extend(new);
}

/// Maximum, over all moments, of the sum of the values of the overlapping spans. A span is begin, end and value.
fn most_at_once<T: Copy + Default + PartialOrd>(
    spans: impl Iterator<Item = (f64, f64, T)>,
    sum: impl Fn(&mut dyn Iterator<Item = T>) -> T,
) -> T {
    let spans: Vec<_> = spans.collect();
    // A sum grows only where a span begins.
    let at = |moment: f64| {
        let overlapping = spans
            .iter()
            .filter(|(begin, end, _)| *begin <= moment && moment < *end || begin.total_cmp(&moment).is_eq());
        sum(&mut overlapping.map(|(.., value)| *value))
    };
    spans.iter().map(|(begin, ..)| at(*begin)).fold(T::default(), |most, sum| if sum > most { sum } else { most })
}

/// Time from the first start to the last end, in seconds.
fn span(started: Timestamp, runs: &[MergedRun]) -> f64 {
    runs.iter().map(|run| offset_s(started, run.started.since_1970()) + run.duration_s).fold(0.0, f64::max)
}

/// Time during which any run was measured, in seconds.
fn covered_s(started: Timestamp, runs: &[MergedRun]) -> f64 {
    let mut windows: Vec<_> = runs.iter().map(|run| run.window_s(started)).collect();
    windows.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let (mut covered, mut until) = (0.0, 0.0_f64);
    for (begin, end) in windows {
        covered += (end - begin.max(until)).max(0.0);
        until = until.max(end);
    }
    covered
}

/// Seconds from `started` to `instant`, a time since 1970.
fn offset_s(started: Timestamp, instant: Duration) -> f64 {
    instant.saturating_sub(started.since_1970()).as_secs_f64()
}

/// A time of a result; `bounds` limits it.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// A sum of rates without the error of adding them, which is below the 13th digit.
fn without_rounding_error(rate: f64) -> f64 {
    format!("{rate:.12e}").parse().unwrap_or(rate)
}

/// Options of both runs. Differing values become a list.
fn union(ours: &Configuration, theirs: &Configuration) -> Configuration {
    let mut all = ours.clone();
    for (name, value) in theirs.iter() {
        match ours.get(name) {
            Some(same) if same == value => {}
            Some(Value::Array(values)) if values.contains(value) => {}
            Some(Value::Array(values)) => all.set(name, [&values[..], std::slice::from_ref(value)].concat()),
            Some(other) => all.set(name, vec![other.clone(), value.clone()]),
            None => all.set(name, value.clone()),
        }
    }
    all
}

/// Facts that both machines share.
fn common(ours: &Machine, theirs: &Machine) -> Machine {
    fn same<T: Clone + PartialEq>(ours: Option<&T>, theirs: Option<&T>) -> Option<T> {
        ours.filter(|_| ours == theirs).cloned()
    }
    Machine {
        host: same(ours.host.as_ref(), theirs.host.as_ref()),
        kernel: same(ours.kernel.as_ref(), theirs.kernel.as_ref()),
        cpu_model: same(ours.cpu_model.as_ref(), theirs.cpu_model.as_ref()),
        cpus: same(ours.cpus.as_ref(), theirs.cpus.as_ref()),
        memory_bytes: same(ours.memory_bytes.as_ref(), theirs.memory_bytes.as_ref()),
        descriptor_limit: same(ours.descriptor_limit.as_ref(), theirs.descriptor_limit.as_ref()),
        somaxconn: same(ours.somaxconn.as_ref(), theirs.somaxconn.as_ref()),
        ip_local_port_range: same(ours.ip_local_port_range.as_ref(), theirs.ip_local_port_range.as_ref()),
    }
}
