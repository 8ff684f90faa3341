//! Several clients' runs as one: as if a single client had counted everything.
//!
//! It is meant for clients that put load on one server at the same time. Histograms are added, which is exact; so are all
//! counts. What cannot be added (the machine, the options) is kept where all agree, and listed where they do not.

use super::bounds::{self, MAX_ENTRIES, MAX_NUMBER, add, total};
use super::summary::in_words;
use super::{Interval, Latencies, Machine, RunResults, Settings, Timestamp};
use crate::units::format_count;
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

/// How many mismatches are kept; all are counted.
const KEPT_MISMATCHES: usize = 10;

/// Why several runs are not made into one. Runs are numbered from 0, in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// There is no run.
    Nothing,
    /// A run was given twice.
    Duplicate {
        /// The numbers of both.
        runs: [usize; 2],
    },
    /// Runs of two kinds, whose latencies and rates say different things.
    Differ {
        /// The numbers of both.
        runs: [usize; 2],
        /// What they are, such as `open load` and `closed load`.
        are: [&'static str; 2],
    },
    /// A sum is larger than a result may hold; with the field.
    TooLarge(String),
}

impl MergeError {
    /// The error in words, with names for the runs.
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

/// Merges runs. Seconds are aligned by the clock of the machines, and rates counted over the time that any client measured.
/// Where they have no time in common, a hint of the merged run says so.
///
/// # Errors
///
/// There is no run, one is there twice, they differ in the kind of load or the transport, or a sum is larger than a result
/// may hold.
pub fn merge(records: &[RunResults]) -> Result<RunResults, MergeError> {
    let (first, others) = records.split_first().ok_or(MergeError::Nothing)?;
    check_kinds(records)?;
    check_duplicates(records)?;
    let mut merged = first.clone();
    for record in others {
        merged.started = merged.started.min(record.started);
        add_histograms(&mut merged, record)?;
        add_counts(&mut merged, record);
        add_description(&mut merged, record);
    }
    merged.intervals = align(&merged, records);
    merged.duration_s = span(&merged, records);
    merged.measured_s = covered_s(&merged, records);
    judge_anew(&mut merged, records);
    bounds::check(&merged).map_err(MergeError::TooLarge)?;
    Ok(merged)
}

/// What is wrong with runs that were not measured at the same time; none when there is a moment at which all were.
#[must_use]
pub fn time_apart(records: &[RunResults]) -> Option<String> {
    let started = records.iter().map(|record| record.started).min()?;
    let windows = || records.iter().filter(|record| record.measured_s > 0.0).map(|record| window_s(started, record));
    let latest_begin = windows().map(|(begin, _)| begin).fold(0.0, f64::max);
    let earliest_end = windows().map(|(_, end)| end).fold(f64::INFINITY, f64::min);
    (latest_begin >= earliest_end).then(|| {
        let gap = in_words(latest_begin - earliest_end);
        format!("the runs have no time in common: one began {gap} after another had ended")
    })
}

fn check_kinds(records: &[RunResults]) -> Result<(), MergeError> {
    let kinds: [fn(&RunResults) -> &'static str; 3] =
        [|record| record.load.kind.name(), RunResults::transport, |record| record.reply_check.kind()];
    for kind in kinds {
        if let Some(other) = records.iter().position(|record| kind(record) != kind(&records[0])) {
            let are = [kind(&records[0]), kind(&records[other])];
            return Err(MergeError::Differ { runs: [0, other], are });
        }
    }
    Ok(())
}

/// Runs without ids are the same when all is the same: two runs never take exactly as long.
fn check_duplicates(records: &[RunResults]) -> Result<(), MergeError> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, record) in records.iter().enumerate() {
        for id in &record.run_ids {
            if let Some(earlier) = seen.insert(id, number) {
                return Err(MergeError::Duplicate { runs: [earlier, number] });
            }
        }
        let is_same = |earlier: &RunResults| record.run_ids.is_empty() && earlier == record;
        if let Some(earlier) = records[..number].iter().position(is_same) {
            return Err(MergeError::Duplicate { runs: [earlier, number] });
        }
    }
    Ok(())
}

fn add_histograms(merged: &mut RunResults, record: &RunResults) -> Result<(), MergeError> {
    for (name, ours, theirs) in merged.histograms.pairs(&record.histograms) {
        if total([ours.count(), theirs.count()]) > MAX_NUMBER {
            return Err(MergeError::TooLarge(format!(
                "histograms.{name} counts more than {}",
                format_count(MAX_NUMBER)
            )));
        }
        ours.add(theirs);
    }
    Ok(())
}

/// What was asked for, by whom and where.
fn add_description(merged: &mut RunResults, record: &RunResults) {
    if merged.program != record.program {
        merged.program = format!("{}, {}", merged.program, record.program);
    }
    merged.warm_up_s = merged.warm_up_s.min(record.warm_up_s);
    merged.interrupted |= record.interrupted;
    // Of all the least is known that is known of one.
    merged.reply_check = merged.reply_check.max(record.reply_check);
    if !merged.target.split(", ").any(|target| target == record.target) {
        merged.target = format!("{}, {}", merged.target, record.target);
    }
    merged.configuration = union(&merged.configuration, &record.configuration);
    merged.environment = common(&merged.environment, &record.environment);
    let (ours, theirs) = (&mut merged.load, &record.load);
    ours.rate = ours.rate.zip(theirs.rate).map(|(ours, theirs)| ours + theirs);
    ours.arrivals = ours.arrivals.take().filter(|arrivals| theirs.arrivals.as_ref() == Some(arrivals));
    ours.seed = ours.seed.filter(|seed| theirs.seed == Some(*seed));
    ours.duration_s = ours.duration_s.zip(theirs.duration_s).map(|(ours, theirs)| ours.max(theirs));
}

fn add_counts(merged: &mut RunResults, record: &RunResults) {
    add(&mut merged.runs, record.runs);
    merged.run_ids.extend_from_slice(&record.run_ids);
    let (ours, theirs) = (&mut merged.connections, &record.connections);
    add(&mut ours.wanted, theirs.wanted);
    add(&mut ours.opened, theirs.opened);
    add(&mut ours.most_open, theirs.most_open);
    ours.opening_s = ours.opening_s.into_iter().chain(theirs.opening_s).reduce(f64::max);
    add(&mut ours.verified, theirs.verified);
    add(&mut ours.failed, theirs.failed);
    let (ours, theirs) = (&mut merged.messages, &record.messages);
    ours.due = ours.due.zip(theirs.due).map(|counts| total(<[u64; 2]>::from(counts)));
    add(&mut ours.sent, theirs.sent);
    add(&mut ours.withheld, theirs.withheld);
    add(&mut ours.verified, theirs.verified);
    ours.reads = ours.reads.zip(theirs.reads).map(|counts| total(<[u64; 2]>::from(counts)));
    add(&mut ours.timed_out, theirs.timed_out);
    add(&mut ours.pending, theirs.pending);
    add(&mut ours.failed, theirs.failed);
    add(&mut ours.unconnected, theirs.unconnected);
    if let Some(theirs) = record.datagrams {
        let ours = merged.datagrams.get_or_insert_default();
        add(&mut ours.late, theirs.late);
        add(&mut ours.duplicated, theirs.duplicated);
        add(&mut ours.reordered, theirs.reordered);
    }
    add(&mut merged.bytes.sent, record.bytes.sent);
    add(&mut merged.bytes.verified, record.bytes.verified);
    for (cause, count) in &record.errors {
        add(merged.errors.entry(cause.clone()).or_default(), *count);
    }
    add(&mut merged.mismatches.count, record.mismatches.count);
    merged.mismatches.first.extend(record.mismatches.first.iter().cloned());
    merged.mismatches.first.truncate(KEPT_MISMATCHES);
    // The busiest client is the one that may have been the limit.
    merged.cpu = merged.cpu.zip(record.cpu).map(|(ours, theirs)| super::Cpu {
        seconds: ours.seconds + theirs.seconds,
        share: ours.share.max(theirs.share),
    });
}

/// Whatever made one of them not valid stays true of all; together they may have missed the schedule, too.
fn judge_anew(merged: &mut RunResults, records: &[RunResults]) {
    merged.settle();
    let unseen = |list: &[String], text: &String| !list.contains(text);
    for record in records {
        merged.valid &= record.valid;
        let new: Vec<_> = record.reasons.iter().filter(|text| unseen(&merged.reasons, text)).cloned().collect();
        merged.reasons.extend(new);
        let new: Vec<_> = record.hints.iter().filter(|text| unseen(&merged.hints, text)).cloned().collect();
        merged.hints.extend(new);
    }
    let apart = time_apart(records).filter(|text| unseen(&merged.hints, text));
    merged.hints.extend(apart);
    merged.reasons.truncate(MAX_ENTRIES);
    merged.hints.truncate(MAX_ENTRIES);
}

/// The intervals of all by the second in which they began, counted from the start of the merged run.
#[allow(clippy::cast_possible_truncation, reason = "seconds of a run")]
fn align(merged: &RunResults, records: &[RunResults]) -> Vec<Interval> {
    let mut seconds: BTreeMap<i64, Vec<&Interval>> = BTreeMap::new();
    for record in records {
        // Each by itself: their sum could put two intervals of one run into the same second.
        let offset = offset_s(merged.started, record).round() as i64;
        for interval in &record.intervals {
            seconds.entry(offset.saturating_add(interval.start_s.round() as i64)).or_default().push(interval);
        }
    }
    seconds.into_iter().map(|(start, parts)| join(start, &parts)).collect()
}

/// One second of several clients. They are joined one second at a time, because a histogram in use is large.
#[allow(clippy::cast_precision_loss, reason = "seconds of a run")]
fn join(start: i64, parts: &[&Interval]) -> Interval {
    let mut latencies = Latencies::default();
    let mut sum = Interval { start_s: start as f64, ..Interval::default() };
    for part in parts {
        latencies.add(&part.latency.unpack());
        sum.seconds = sum.seconds.max(part.seconds);
        add(&mut sum.sent, part.sent);
        add(&mut sum.replies, part.replies);
        add(&mut sum.reads, part.reads);
        add(&mut sum.errors, part.errors);
        add(&mut sum.open, part.open);
        add(&mut sum.bytes_sent, part.bytes_sent);
        add(&mut sum.bytes_verified, part.bytes_verified);
    }
    sum.latency = latencies.pack();
    sum
}

impl Interval {
    /// Adds what another one measured in the same second.
    pub fn add(&mut self, other: &Self) {
        *self = Self { start_s: self.start_s, ..join(0, &[self, other]) };
    }
}

/// From the start of the first to the latest end, in seconds.
fn span(merged: &RunResults, records: &[RunResults]) -> f64 {
    records.iter().map(|record| offset_s(merged.started, record) + record.duration_s).fold(0.0, f64::max)
}

/// The time in which any of them was measured, in seconds.
fn covered_s(merged: &RunResults, records: &[RunResults]) -> f64 {
    let mut windows: Vec<_> = records.iter().map(|record| window_s(merged.started, record)).collect();
    windows.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let (mut covered, mut until) = (0.0, 0.0_f64);
    for (begin, end) in windows {
        covered += (end - begin.max(until)).max(0.0);
        until = until.max(end);
    }
    covered
}

/// When `record` was measured, in seconds from `started`.
fn window_s(started: Timestamp, record: &RunResults) -> (f64, f64) {
    let begin = offset_s(started, record) + record.warm_up_s;
    (begin, begin + record.measured_s)
}

/// How much later than `started` a run began, in seconds.
fn offset_s(started: Timestamp, record: &RunResults) -> f64 {
    record.started.since_1970().saturating_sub(started.since_1970()).as_secs_f64()
}

/// The options of both; where they differ, a list of the values.
fn union(ours: &Settings, theirs: &Settings) -> Settings {
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

/// What holds of both machines.
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
