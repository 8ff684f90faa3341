//! Merging the results of several clients into one, as if a single client had measured everything.
//!
//! It is meant for clients that load one server at the same time. Histograms and counts are added, which is exact.
//! Values that cannot be added (the machine, the options) are kept if all runs agree; differing options are listed.

use super::bounds::{self, MAX_ENTRIES, MAX_NUMBER, add, total};
use super::intervals::align;
use super::summary::format_seconds;
use super::{
    Configuration, Connections, Cpu, Load, Machine, Messages, Mismatches, ReceiveTimestamps, RunResults, SearchReply,
    Timestamp, TimestampSource,
};
use crate::units::format_count;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fmt;

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

/// Merges runs. Intervals are aligned by the machines' clocks. Rates refer to the time during which any client
/// measured. If the runs do not overlap in time, the merged run has a note.
///
/// # Errors
///
/// No run is given, one is given twice, runs differ in kind of load or transport, or a sum exceeds the maximum of a
/// result.
pub fn merge(runs: &[RunResults]) -> Result<RunResults, MergeError> {
    let (first, others) = runs.split_first().ok_or(MergeError::Nothing)?;
    check_kinds(runs)?;
    check_duplicates(runs)?;
    let mut merged = first.clone();
    for results in others {
        merged.started = merged.started.min(results.started);
        check_histograms(&mut merged, results)?;
        merged.add_counts(results);
        add_description(&mut merged, results);
    }
    merged.intervals = align(&merged, runs);
    // Connections are open during the whole run; messages are sent in the measured window.
    let open = runs.iter().map(|results| {
        let begin = offset_s(merged.started, results);
        (begin, begin + results.duration_s, results.connections.most_open)
    });
    merged.connections.most_open = most_at_once(open, |counts| total(counts));
    let sum_of_rates = |rate: fn(&Load) -> Option<f64>| {
        let in_windows = runs.iter().map(|results| {
            let (begin, end) = window_s(merged.started, results);
            Some((begin, end, rate(&results.load)?))
        });
        let rates: Option<Vec<_>> = in_windows.collect();
        rates.map(|rates| most_at_once(rates.into_iter(), |rates| rates.sum::<f64>()))
    };
    let has_ramp = runs.iter().any(|results| results.load.ramp_to.is_some());
    let ramp_to = sum_of_rates(|load| load.ramp_to.or(load.rate)).filter(|_| has_ramp);
    (merged.load.rate, merged.load.ramp_to) = (sum_of_rates(|load| load.rate), ramp_to);
    merged.duration_s = span(&merged, runs);
    merged.measured_s = covered_s(&merged, runs);
    revalidate(&mut merged, runs);
    bounds::check(&merged).map_err(MergeError::TooLarge)?;
    Ok(merged)
}

/// A warning about runs that do not overlap in time; none if all were measured at some common moment.
#[must_use]
pub fn overlap_warning(runs: &[RunResults]) -> Option<String> {
    let started = runs.iter().map(|results| results.started).min()?;
    let windows = || runs.iter().filter(|results| results.measured_s > 0.0).map(|results| window_s(started, results));
    let latest_begin = windows().map(|(begin, _)| begin).fold(0.0, f64::max);
    let earliest_end = windows().map(|(_, end)| end).fold(f64::INFINITY, f64::min);
    (latest_begin >= earliest_end).then(|| {
        let gap = format_seconds(latest_begin - earliest_end);
        format!("the runs do not overlap in time: one began {gap} after another had ended")
    })
}

fn check_kinds(runs: &[RunResults]) -> Result<(), MergeError> {
    let kinds: [fn(&RunResults) -> &'static str; 4] = [
        |results| results.load.kind.name(),
        RunResults::transport,
        |results| results.reply_check.kind(),
        |results| {
            if results.load.duration_s.is_some() { "a load with a duration" } else { "a fixed number of messages" }
        },
    ];
    for kind in kinds {
        if let Some(other) = runs.iter().position(|results| kind(results) != kind(&runs[0])) {
            let are = [kind(&runs[0]), kind(&runs[other])];
            return Err(MergeError::Differ { runs: [0, other], are });
        }
    }
    Ok(())
}

/// Runs without ids are duplicates if everything is equal: two runs never take exactly the same time.
fn check_duplicates(runs: &[RunResults]) -> Result<(), MergeError> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, results) in runs.iter().enumerate() {
        for id in &results.run_ids {
            if let Some(earlier) = seen.insert(id, number) {
                return Err(MergeError::Duplicate { runs: [earlier, number] });
            }
        }
        let is_same = |earlier: &RunResults| results.run_ids.is_empty() && earlier == results;
        if let Some(earlier) = runs[..number].iter().position(is_same) {
            return Err(MergeError::Duplicate { runs: [earlier, number] });
        }
    }
    Ok(())
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
    fn add_counts(&mut self, other: &Self) {
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
            add(&mut ours.rejected, theirs.rejected);
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
    let (ours, theirs) = (&mut merged.load, &results.load);
    ours.arrivals = ours.arrivals.take().filter(|arrivals| theirs.arrivals.as_ref() == Some(arrivals));
    ours.seed = ours.seed.filter(|seed| theirs.seed == Some(*seed));
    ours.duration_s = ours.duration_s.zip(theirs.duration_s).map(|(ours, theirs)| ours.max(theirs));
}

/// Validates the merged run, and keeps the reasons and notes of each run. Together the runs may also have missed the
/// schedule.
fn revalidate(merged: &mut RunResults, runs: &[RunResults]) {
    merged.finalize();
    merged.valid &= runs.iter().all(|results| results.valid);
    add_new(&mut merged.reasons, runs.iter().flat_map(|results| &results.reasons));
    add_new(&mut merged.notes, runs.iter().flat_map(|results| &results.notes).chain(&overlap_warning(runs)));
    merged.reasons.truncate(MAX_ENTRIES);
    merged.notes.truncate(MAX_ENTRIES);
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
fn span(merged: &RunResults, runs: &[RunResults]) -> f64 {
    runs.iter().map(|results| offset_s(merged.started, results) + results.duration_s).fold(0.0, f64::max)
}

/// Time during which any run was measured, in seconds.
fn covered_s(merged: &RunResults, runs: &[RunResults]) -> f64 {
    let mut windows: Vec<_> = runs.iter().map(|results| window_s(merged.started, results)).collect();
    windows.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let (mut covered, mut until) = (0.0, 0.0_f64);
    for (begin, end) in windows {
        covered += (end - begin.max(until)).max(0.0);
        until = until.max(end);
    }
    covered
}

/// The measured time of a run, as seconds since `started`.
fn window_s(started: Timestamp, results: &RunResults) -> (f64, f64) {
    let begin = offset_s(started, results) + results.warm_up_s;
    (begin, begin + results.measured_s)
}

/// Start of a run, in seconds since `started`.
pub(super) fn offset_s(started: Timestamp, results: &RunResults) -> f64 {
    results.started.since_1970().saturating_sub(started.since_1970()).as_secs_f64()
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
        kernel: same(ours.kernel.as_ref(), theirs.kernel.as_ref()),
        cpu_model: same(ours.cpu_model.as_ref(), theirs.cpu_model.as_ref()),
        cpus: same(ours.cpus.as_ref(), theirs.cpus.as_ref()),
        memory_bytes: same(ours.memory_bytes.as_ref(), theirs.memory_bytes.as_ref()),
        descriptor_limit: same(ours.descriptor_limit.as_ref(), theirs.descriptor_limit.as_ref()),
        somaxconn: same(ours.somaxconn.as_ref(), theirs.somaxconn.as_ref()),
        ip_local_port_range: same(ours.ip_local_port_range.as_ref(), theirs.ip_local_port_range.as_ref()),
    }
}
