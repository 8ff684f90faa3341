//! Two runs beside each other, and whether the difference is larger than the noise.
//!
//! # The noise
//!
//! A run tells by itself how much its numbers depend on chance: by how its seconds differ. They are joined to at most 40
//! blocks of neighbours (neighbours are alike, and must not count as if they were independent). From the blocks of each run as
//! many are drawn with replacement, 1,000 times over, and each time all numbers are computed anew from the histograms drawn:
//! the block bootstrap. The noise is what 99 of 100 differences drawn in this way stay within, around their mean, widened
//! by √(n/(n − 1)) for n blocks. A difference counts when it is larger than that. Of errors, which are
//! rare, the noise is at least what chance does to counts so small.
//!
//! It is not judged when a run has fewer than eight intervals, when fewer than ten replies lie above a percentile, or when it
//! is of a maximum, which is one event. And what the seconds of a run do not show, no arithmetic finds: two runs of the
//! same program can differ by more than their seconds do. Whoever has to be sure repeats both.

mod bootstrap;
mod table;

use super::{ReplyCheck, RunResults, Settings, in_plain_text, total};
use crate::units::{format_count, format_counted};
use bootstrap::Blocks;

/// Fewer intervals say nothing about how they spread.
const FEWEST_INTERVALS: usize = 8;

/// Fewer replies above a percentile say nothing about it.
const FEWEST_ABOVE: f64 = 10.0;

/// Fewer replies have no p99 that can be judged.
const FEWEST_REPLIES: u64 = 1_000;

/// Two times closer than this share of each other lie in the same or the next place of a histogram.
const RESOLUTION: f64 = 0.002;

/// 99 of 100 values of a normal distribution are within so many standard deviations.
const DEVIATIONS: f64 = 2.58;

/// Options that do not change what is measured, or that name the server, which is what is compared.
const BESIDE_THE_POINT: [&str; 13] = [
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
];

/// Two runs beside each other; shown as a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What makes the runs hard to compare, in words.
    pub warnings: Vec<String>,
    /// Why the runs do not show whether something got worse, in words; empty when they do.
    pub inconclusive: Vec<String>,
    before: String,
    after: String,
    rows: Vec<Row>,
}

/// What is to be said of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It is larger than the noise, and for the better.
    Better,
    /// It is larger than the noise, and for the worse.
    Worse,
    /// It is no larger than the noise.
    WithinNoise,
    /// There are too few intervals to know the noise.
    TooFewIntervals,
    /// There are too few replies above that percentile.
    TooFewReplies,
    /// It is of one event, which says nothing about the next one.
    SingleEvent,
}

/// One number of both runs.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    metric: Metric,
    before: f64,
    after: f64,
    /// In the unit of the number.
    noise: Option<f64>,
    outcome: Change,
}

/// What is compared, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Metric {
    /// Replies per second.
    Rate,
    /// A percentile of the latency that counts, in nanoseconds.
    Latency(&'static str, f64),
    /// Per second.
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
    /// Whether anything got worse by more than the noise.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.rows.iter().any(|row| row.outcome == Change::Worse)
    }

    /// What is said of each number, by its name: `rate`, `p50`, `p99`, `p99.9`, `max`, `errors`.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, Change)> {
        self.rows.iter().map(|row| (row.metric.name(), row.outcome))
    }
}

/// Compares two runs; the same two always with the same result.
#[must_use]
pub fn compare(before: &RunResults, after: &RunResults) -> Comparison {
    let (old, new) = (Blocks::of(before), Blocks::of(after));
    let noises = bootstrap::noises(&old, &new);
    let rows: Vec<_> = METRICS
        .iter()
        .zip(noises)
        .map(|(&metric, noise)| {
            let (was, is) = (value(metric, before), value(metric, after));
            let noise = noise.map(|noise| match metric {
                Metric::Rate => noise,
                Metric::Latency(..) => noise.max(was * RESOLUTION),
                Metric::Errors => noise.max(chance_of_errors(before, after)),
            });
            let replies = before.latency().count().min(after.latency().count());
            let has_counts = before.reply_check.has_counts() && after.reply_check.has_counts();
            let outcome = match (metric, noise) {
                (Metric::Rate, _) if !has_counts => Change::TooFewReplies,
                (Metric::Latency(_, quantile), _) if quantile >= 1.0 => Change::SingleEvent,
                (Metric::Latency(_, quantile), _) if !reaches(replies, quantile) => Change::TooFewReplies,
                (_, None) => Change::TooFewIntervals,
                (_, Some(noise)) if (is - was).abs() <= noise => Change::WithinNoise,
                _ if (is > was) == metric.is_better_when_more() => Change::Better,
                _ => Change::Worse,
            };
            Row { metric, before: was, after: is, noise, outcome }
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
fn value(metric: Metric, record: &RunResults) -> f64 {
    match metric {
        Metric::Rate => record.rate(),
        Metric::Latency(_, quantile) => record.latency().at(quantile).map_or(0.0, |time| time.as_nanos() as f64),
        Metric::Errors => super::per_second(record.error_count(), record.measured_s),
    }
}

/// How far apart, per second, the errors of two runs are in 99 of 100 cases if each comes by itself at the same rate
/// (Poisson): a run of few errors may by chance have had none.
#[allow(clippy::cast_precision_loss, reason = "a number for people")]
fn chance_of_errors(before: &RunResults, after: &RunResults) -> f64 {
    let both = total([before.error_count(), after.error_count()]) as f64;
    let seconds = before.measured_s.min(after.measured_s);
    if seconds > 0.0 { DEVIATIONS * both.sqrt() / seconds } else { 0.0 }
}

/// Whether enough of `replies` lie above `quantile`. One of four digits is given its due, whatever a float makes of it.
#[allow(clippy::cast_precision_loss, reason = "compared with 10")]
fn reaches(replies: u64, quantile: f64) -> bool {
    replies as f64 * (1.0 - quantile) >= FEWEST_ABOVE - 1e-6
}

/// Why the runs do not show whether something got worse.
fn doubts(before: &RunResults, after: &RunResults) -> Vec<String> {
    let runs = [("before", before), ("after", after)];
    runs.into_iter().filter_map(|(name, record)| Some(format!("the run {name} {}", doubt(record)?))).collect()
}

/// The first reason for which a run does not show how good the server is. It need not reach the p99.9.
fn doubt(record: &RunResults) -> Option<String> {
    let (connections, replies, intervals) = (&record.connections, record.latency().count(), record.intervals.len());
    if record.reply_check == ReplyCheck::Unframed {
        return Some("does not know where a reply ends".to_owned());
    }
    if replies == 0 {
        return Some("measured no reply".to_owned());
    }
    if record.interrupted {
        return Some("was interrupted".to_owned());
    }
    if !record.valid {
        return Some(format!("is not valid: {}", record.reasons.join("; ")));
    }
    if connections.failed > 0 && connections.verified == 0 {
        return Some("lost every connection".to_owned());
    }
    if intervals < FEWEST_INTERVALS {
        let intervals = format_counted(intervals as u64, "interval");
        return Some(format!("is too short: it has {intervals} of the {FEWEST_INTERVALS} that are needed"));
    }
    (replies < FEWEST_REPLIES).then(|| {
        format!(
            "is too short: it has {} of the {} replies that a p99 needs",
            format_count(replies),
            format_count(FEWEST_REPLIES)
        )
    })
}

fn warnings(before: &RunResults, after: &RunResults) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, record) in [("before", before), ("after", after)] {
        if !record.valid {
            warnings.push(format!("the run {name} is NOT VALID: {}", record.reasons.join("; ")));
        }
        if record.interrupted {
            warnings.push(format!("the run {name} was interrupted"));
        }
    }
    warnings.extend(differences(&before.configuration, &after.configuration));
    let (was, is) = (&before.environment, &after.environment);
    if was != is {
        let (was, is) = (super::summary::environment(before), super::summary::environment(after));
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

fn differences(before: &Settings, after: &Settings) -> Vec<String> {
    let mut names: Vec<&str> = before.iter().chain(after.iter()).map(|(name, _)| name).collect();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(*name) && !BESIDE_THE_POINT.contains(name));
    let shown = |settings: &Settings, name| settings.get(name).map_or_else(|| "not given".to_owned(), in_plain_text);
    let differ = names.into_iter().filter(|name| before.get(name) != after.get(name));
    differ
        .map(|name| format!("--{name} differs: {} before, {} after", shown(before, name), shown(after, name)))
        .collect()
}

impl Metric {
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
