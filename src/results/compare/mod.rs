//! Comparing two runs: differences, and whether they exceed the noise.
//!
//! # The noise
//!
//! The seconds of a run show how much its numbers vary by chance; see the [block bootstrap](super::bootstrap). The noise
//! is the distance from their mean within which 99 of 100 drawn differences lie, widened by √(n/(n − 1)) for n blocks. A difference is significant if it exceeds the noise. Errors are rare, so their noise is at least that of a
//! Poisson process with counts as small.
//!
//! No verdict is given for a run with fewer than eight intervals, for a percentile with fewer than ten replies above
//! it, or for a maximum, which is a single event. Variation that the seconds of a run do not show stays undetected: two
//! runs of the same program can differ by more than their seconds do. Repeat both runs to be sure.

mod table;

use super::bootstrap::{Blocks, Draw, MIN_INTERVALS, reaches, spread};
use super::{
    Configuration, Precision, ReceiveTimestamps, ReplyCheck, RunResults, TimestampSource, in_plain_text, total,
};
use crate::units::{format_count, format_counted};

/// Share of the drawn differences that the noise covers.
const CONFIDENCE: f64 = 0.99;

/// Minimum number of replies for a p99.
const MIN_REPLIES: u64 = 1_000;

/// Relative difference below which two times lie in the same or adjacent histogram buckets.
const RESOLUTION: f64 = 0.002;

/// Half-width of the interval that holds 99 % of a normal distribution, in standard deviations.
const DEVIATIONS: f64 = 2.58;

/// Options that do not affect the measurement, or that name the server, which is the subject of the comparison.
const IGNORED_OPTIONS: [&str; 14] = [
    "host",
    "port",
    "num-connections",
    "unix",
    "target",
    "json",
    "hgrm",
    "hdr-log",
    "html",
    "fail-if",
    "no-progress",
    "verbose",
    "quiet",
    "log-format",
];

/// A comparison of two runs. Its `Display` is a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Differences that make the runs hard to compare.
    pub warnings: Vec<String>,
    /// Why the runs do not show whether something got worse; empty if they do.
    pub inconclusive: Vec<String>,
    /// Start, target and measured time of each run.
    pub(super) before: String,
    pub(super) after: String,
    rows: Vec<Row>,
}

/// Verdict on a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Better by more than the noise.
    Better,
    /// Worse by more than the noise.
    Worse,
    /// Within the noise.
    WithinNoise,
    /// Too few intervals to estimate the noise.
    TooFewIntervals,
    /// Too few replies above the percentile.
    TooFewReplies,
    /// A single event, which says nothing about the next one.
    SingleEvent,
}

/// One metric of both runs.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    metric: Metric,
    /// None for a latency of a run without replies.
    before: Option<f64>,
    after: Option<f64>,
    /// In the unit of the metric.
    noise: Option<f64>,
    outcome: Change,
    /// Whether the lateness of a client could explain a significant difference.
    is_bounded: bool,
}

/// The compared metrics, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Metric {
    /// Replies per second.
    Rate,
    /// A percentile of the reported latency, in nanoseconds.
    Latency(&'static str, f64),
    /// Errors per second.
    Errors,
}

const METRICS: [Metric; 6] = [
    Metric::Rate,
    Metric::Latency("p50", 0.5),
    Metric::Latency("p99", 0.99),
    Metric::Latency("p99.9", 0.999),
    Metric::Latency("max", 1.0),
    Metric::Errors,
];

impl Comparison {
    /// Whether any metric got worse by more than the noise.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.rows.iter().any(|row| row.outcome == Change::Worse)
    }

    /// The verdict on each metric by its name: `rate`, `p50`, `p99`, `p99.9`, `max`, `errors`.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, Change)> {
        self.rows.iter().map(|row| (row.metric.name(), row.outcome))
    }
}

/// Compares two runs. The result is deterministic.
#[must_use]
pub fn compare(before: &RunResults, after: &RunResults) -> Comparison {
    let noises = noises(before, after);
    let rows: Vec<_> = METRICS
        .iter()
        .zip(noises)
        .map(|(&metric, noise)| {
            let (was, is) = (value(metric, before), value(metric, after));
            let noise = noise.map(|noise| match metric {
                Metric::Rate => noise,
                Metric::Latency(..) => noise.max(was.unwrap_or_default() * RESOLUTION),
                Metric::Errors => noise.max(chance_of_errors(before, after)),
            });
            let noise = noise.filter(|_| was.is_some() && is.is_some());
            let replies = before.latency().count().min(after.latency().count());
            let has_counts = before.reply_check.has_counts() && after.reply_check.has_counts();
            let outcome = match (metric, noise.zip(was.zip(is))) {
                (Metric::Rate, _) if !has_counts => Change::TooFewReplies,
                (Metric::Latency(_, quantile), _) if quantile >= 1.0 && replies > 0 => Change::SingleEvent,
                (Metric::Latency(_, quantile), _) if !reaches(replies, quantile) => Change::TooFewReplies,
                (_, None) => Change::TooFewIntervals,
                (_, Some((noise, (was, is)))) if (is - was).abs() <= noise => Change::WithinNoise,
                (_, Some((_, (was, is)))) if (is > was) == metric.is_better_when_more() => Change::Better,
                _ => Change::Worse,
            };
            let is_bounded = matches!(outcome, Change::Better | Change::Worse)
                && metric.may_be_equal(before, after, noise.unwrap_or_default());
            Row { metric, before: was, after: is, noise, outcome, is_bounded }
        })
        .collect();
    Comparison {
        warnings: warnings(before, after),
        inconclusive: doubts(before, after),
        rows,
        before: table::describe(before),
        after: table::describe(after),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a number for people")]
fn value(metric: Metric, results: &RunResults) -> Option<f64> {
    match metric {
        Metric::Rate => Some(results.rate()),
        Metric::Latency(_, quantile) => results.latency().at(quantile).map(|time| time.as_nanos() as f64),
        Metric::Errors => Some(super::per_second(results.error_count(), results.measured_s)),
    }
}

/// Difference of the errors per second that occurs by chance in 99 of 100 cases, if both runs have the same rate of
/// independent errors (Poisson). A run with few errors may by chance have had none.
#[allow(clippy::cast_precision_loss, reason = "a number for people")]
fn chance_of_errors(before: &RunResults, after: &RunResults) -> f64 {
    let both = total([before.error_count(), after.error_count()]) as f64;
    let seconds = before.measured_s.min(after.measured_s);
    if seconds > 0.0 { DEVIATIONS * both.sqrt() / seconds } else { 0.0 }
}

/// The noise of the difference in each metric; none if a run has too few intervals.
fn noises(before: &RunResults, after: &RunResults) -> [Option<f64>; METRICS.len()] {
    let Some((old, new)) = Blocks::of(before).zip(Blocks::of(after)) else {
        return [None; METRICS.len()];
    };
    let differences: Vec<_> = old
        .draws(0)
        .zip(new.draws(1))
        .map(|(was, is)| METRICS.map(|metric| metric.of(&is) - metric.of(&was)))
        .collect();
    let correction = old.correction().max(new.correction());
    std::array::from_fn(|index| {
        let samples: Vec<f64> = differences.iter().map(|numbers| numbers[index]).collect();
        Some(spread(&samples, CONFIDENCE) * correction)
    })
}

/// Why the runs do not show whether something got worse.
fn doubts(before: &RunResults, after: &RunResults) -> Vec<String> {
    let runs = [("before", before), ("after", after)];
    let doubts = runs.into_iter().filter_map(|(name, results)| Some(format!("the run {name} {}", doubt(results)?)));
    doubts.chain(new_losses(before, after)).chain(new_statuses(before, after)).collect()
}

/// Losses of the run after, of a kind that the run before had none of. Rates and latencies cover only the connections
/// that are left. Lost datagrams are errors, and are compared as such.
fn new_losses(before: &RunResults, after: &RunResults) -> Option<String> {
    let is_stream = after.datagrams.is_none();
    let messages =
        |results: &RunResults| total([results.messages.timed_out, results.messages.lost, results.messages.wrong]);
    let [connections, messages] = [
        (before.connections.failed, after.connections.failed, after.connections.requested, "connection"),
        (messages(before), messages(after), after.message_count(), "message"),
    ]
    .map(|(was, is, all, noun)| {
        let share = if is <= all {
            format!("{} of {}", format_count(is), format_counted(all, noun))
        } else {
            format_counted(is, noun)
        };
        (is_stream && was == 0 && is > 0).then_some(share)
    });
    let is_reported = after.connections.completed == 0 && after.connections.failed > 0;
    let lost: Vec<_> = connections.into_iter().chain(messages).collect();
    (!is_reported && !lost.is_empty())
        .then(|| format!("the run after lost {}, and the run before none", lost.join(" and ")))
}

/// Classes of HTTP errors that the run before had none of. A response with an error may be faster than any other.
fn new_statuses(before: &RunResults, after: &RunResults) -> Option<String> {
    let (was, is) = (before.statuses?.named(), after.statuses?.named());
    let new = was.into_iter().zip(is).skip(3).filter(|((_, was), (_, is))| *was == 0 && *is > 0);
    let new: Vec<_> =
        new.map(|(_, (class, is))| format!("{} with status {class}", format_counted(is, "response"))).collect();
    (!new.is_empty()).then(|| format!("the run after has {}, and the run before none", new.join(" and ")))
}

/// The first reason why a run does not characterize the server. It need not have enough replies for the p99.9.
fn doubt(results: &RunResults) -> Option<String> {
    let (connections, replies, intervals) = (&results.connections, results.latency().count(), results.intervals.len());
    if results.reply_check == ReplyCheck::Unframed {
        return Some("has replies without a known end".to_owned());
    }
    if replies == 0 {
        return Some("measured no reply".to_owned());
    }
    if results.interrupted {
        return Some("was interrupted".to_owned());
    }
    if !results.valid {
        return Some(format!("is not valid: {}", results.reasons.join("; ")));
    }
    if connections.failed > 0 && connections.completed == 0 {
        return Some("lost every connection".to_owned());
    }
    if intervals < MIN_INTERVALS {
        let intervals = format_counted(intervals as u64, "interval");
        return Some(format!("is too short: it has {intervals} of the {MIN_INTERVALS} that are needed"));
    }
    (replies < MIN_REPLIES).then(|| {
        format!(
            "is too short: it has {} of the {} replies that a p99 needs",
            format_count(replies),
            format_count(MIN_REPLIES)
        )
    })
}

fn warnings(before: &RunResults, after: &RunResults) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, results) in [("before", before), ("after", after)] {
        if !results.valid {
            warnings.push(format!("the run {name} is NOT VALID: {}", results.reasons.join("; ")));
        }
        if results.interrupted {
            warnings.push(format!("the run {name} was interrupted"));
        }
    }
    warnings.extend(differences(&before.configuration, &after.configuration));
    let [was, is] = [before, after].map(|results| match results.receive_timestamps {
        Some(ReceiveTimestamps { source: TimestampSource::Kernel, .. }) => "kernel timestamps",
        _ => "read times",
    });
    if was != is {
        warnings.push(format!("the arrival times of replies differ: {was} before, {is} after"));
    }
    let (was, is) = (&before.machine, &after.machine);
    if was != is {
        let (was, is) = (super::summary::machine(before), super::summary::machine(after));
        for (name, value) in &was {
            match is.iter().find(|(other, _)| other == name) {
                Some((_, other)) if other == value => {}
                other => {
                    let other = other.map_or("not known", |(_, other)| other);
                    warnings.push(format!("the machines differ in {name}: {value} before, {other} after"));
                }
            }
        }
    }
    warnings
}

fn differences(before: &Configuration, after: &Configuration) -> Vec<String> {
    let mut names: Vec<&str> = before.iter().chain(after.iter()).map(|(name, _)| name).collect();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(*name) && !IGNORED_OPTIONS.contains(name));
    let shown =
        |settings: &Configuration, name| settings.get(name).map_or_else(|| "not given".to_owned(), in_plain_text);
    let differ = names.into_iter().filter(|name| before.get(name) != after.get(name));
    differ
        .map(|name| format!("the setting {name} differs: {} before, {} after", shown(before, name), shown(after, name)))
        .collect()
}

impl Metric {
    fn of(self, draw: &Draw<'_>) -> f64 {
        match self {
            Self::Rate => draw.rate(),
            Self::Latency(_, quantile) => draw.at(quantile),
            Self::Errors => draw.errors(),
        }
    }

    /// Whether the runs differ by at most the noise if the slower one was as fast as its lower bound, which it was if the
    /// lateness of its client explains the rest.
    fn may_be_equal(self, before: &RunResults, after: &RunResults, noise: f64) -> bool {
        let Self::Latency(_, quantile) = self else { return false };
        let percentiles = before.percentile(quantile).zip(after.percentile(quantile));
        percentiles.is_some_and(|(was, is)| {
            let (faster, slower) = if is.value < was.value { (is, was) } else { (was, is) };
            let excess = slower.floor.unwrap_or(slower.value).saturating_sub(faster.value);
            slower.precision == Precision::Bounded && excess.as_secs_f64() * 1e9 <= noise
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Latency(name, _) => name,
            Self::Errors => "errors",
        }
    }

    fn is_better_when_more(self) -> bool {
        self == Self::Rate
    }
}
