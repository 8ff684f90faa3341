//! The charts of the HTML report.

use super::super::summary::format_seconds;
use super::super::{FindMax, Interval, Latencies, MeasuredRate, RunResults, format_latency, per_second};
use super::chart::{Axis, Chart, Line};
use super::scale::Scale;
use super::{FLOOR, headline, latencies, reply_label};
use crate::units::{format_count, format_rate};
use std::borrow::Cow;
use std::time::Duration;

/// Points of a percentile curve per nine.
const POINTS_PER_NINE: u32 = 20;

/// Maximum number of tooltips; more would be narrower than a pixel.
const MAX_TOOLTIPS: usize = 600;

/// Maximum number of expressions shown: as many as there are colours.
const MAX_EXPRESSIONS: usize = 3;

/// Minimum length of an interval in a rate chart, in seconds.
const MIN_INTERVAL_S: f64 = 0.5;

/// All charts, in the order of the page. `is_bounded` says whether the lower bound of the latency is shown.
pub(super) fn charts(results: &RunResults, is_bounded: bool) -> Vec<Chart> {
    let found = results.find_max.as_deref().map(search);
    let always = [percentiles(results, is_bounded), latency(results), rates(results), connections(results)];
    found.into_iter().chain(always).collect()
}

/// The percentile of each expression over the rates of a search.
#[allow(clippy::cast_precision_loss, reason = "a place on a chart")]
fn search(found: &FindMax) -> Chart {
    let mut rates: Vec<&MeasuredRate> = found.rates.iter().collect();
    rates.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    let line = |(index, name): (usize, &String)| {
        let point = |rate: &&MeasuredRate| Some((rate.rate, *rate.percentiles_ns.get(index)? as f64));
        Line { name: Cow::Owned(name.clone()), points: rates.iter().filter_map(point).collect() }
    };
    let lines: Vec<_> = found.expressions.iter().take(MAX_EXPRESSIONS).enumerate().map(line).collect();
    let times = || lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let (lowest, highest) = (times().fold(f64::MAX, f64::min), times().fold(1.0, f64::max));
    let most = rates.last().map_or(1.0, |rate| rate.rate);
    Chart {
        id: "search",
        title: "Percentile by rate",
        summary: format!("{} as measured at each rate of the search.", found.expressions.join(" and ")),
        x: Axis { name: "Rate", scale: Scale::from_zero(most, 0.0, "messages/s") },
        y: Axis { name: "Response time", scale: Scale::of_times(lowest.min(highest), highest) },
        tooltips: Vec::new(),
        lines,
    }
}

/// The percentile curves of one run.
fn percentiles(results: &RunResults, is_bounded: bool) -> Chart {
    percentile_chart(&latencies(results, is_bounded), &in_sentence(headline(results).1))
}

/// The percentile curve of the reported latency, with its lower bound if that is of interest.
pub(in crate::results) fn percentile_curve(results: &RunResults, is_bounded: bool) -> Chart {
    let mut shown = latencies(results, is_bounded);
    let first = shown.first().map(|(name, _)| *name);
    shown.retain(|(name, _)| Some(*name) == first || *name == FLOOR);
    let mut chart = percentile_chart(&shown, "");
    // The lower bound begins near 0, which would flatten the curve.
    let times = |quantile| shown.first().and_then(|(_, times)| times.at(quantile)).map_or(1.0, nanos);
    chart.y.scale = Scale::of_times(times(0.0), times(1.0));
    chart
}

/// Charts of two runs, with a line or two of each.
pub(super) fn compared(before: &RunResults, after: &RunResults) -> Vec<Chart> {
    let runs = [("before", before), ("after", after)];
    let latencies = runs.map(|(name, results)| (name, results.latency())).into_iter();
    let latencies: Vec<_> = latencies.filter(|(_, times)| !times.is_empty()).collect();
    let sentences = runs.map(|(name, results)| format!("The run {name}: {}", in_sentence(results.latency())));
    let lines = |value: fn(&Interval) -> Option<f64>| -> Vec<Line> {
        let line = |(name, results): (&'static str, &RunResults)| {
            let points = drawn_intervals(results).filter_map(|interval| Some((middle(interval), value(interval)?)));
            Line { name: Cow::Borrowed(name), points: points.collect() }
        };
        runs.map(line).into()
    };
    #[allow(clippy::cast_precision_loss, reason = "a place on a chart")]
    let p99 = lines(|interval| (interval.latency.count > 0).then_some(interval.latency.p99_ns as f64));
    let rate = lines(|interval| Some(per_second(interval.answered.max(interval.reads), interval.seconds)));
    let times = || p99.iter().flat_map(|line| &line.points).map(|point| point.1);
    let (lowest, highest) = (times().fold(f64::MAX, f64::min), times().fold(1.0, f64::max));
    let most = rate.iter().flat_map(|line| &line.points).map(|point| point.1).fold(1.0, f64::max);
    let chart = |id, title, summary: &str, y, lines| Chart {
        id,
        title,
        summary: summary.to_owned(),
        x: seconds(&runs.map(|(_, results)| results)),
        y,
        lines,
        tooltips: Vec::new(),
    };
    let latency = Axis { name: "p99", scale: Scale::of_times(lowest.min(highest), highest) };
    let replies = Axis { name: "Rate", scale: Scale::from_zero(most, 0.0, "messages/s") };
    vec![
        percentile_chart(&latencies, &sentences.join(" ")),
        chart("latency", "p99 over time", "The p99 of each second of both runs.", latency, p99),
        chart("rate", "Replies per second", "The replies in each second of both runs.", replies, rate),
    ]
}

#[allow(clippy::cast_precision_loss, reason = "a place on a chart")]
fn percentile_chart(shown: &[(&'static str, &Latencies)], sentence: &str) -> Chart {
    let count = shown.iter().map(|(_, times)| times.count()).max().unwrap_or_default();
    let ends = shown.iter().filter_map(|(_, times)| Some((nanos(times.at(0.0)?), nanos(times.max()?))));
    let (low, high) = ends.fold((f64::MAX, 1.0_f64), |(low, high), (first, last)| (low.min(first), high.max(last)));
    let lines: Vec<_> =
        shown.iter().map(|(name, times)| Line { name: Cow::Borrowed(name), points: curve(times) }).collect();
    let tooltip = |share: f64, name: &str| {
        let texts = shown
            .iter()
            .filter_map(|(line, times)| Some(format!("{} {}", line.to_lowercase(), format_latency(times.at(share)?))));
        let nines = -(1.0 - share).log10();
        (nines - 0.12, nines + 0.12, format!("{name}: {}", texts.collect::<Vec<_>>().join(", ")))
    };
    let tooltips =
        [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99"), (0.99999, "p99.999")];
    let reached = |share: f64| (count as f64) * (1.0 - share) >= 0.999;
    Chart {
        id: "percentiles",
        title: "Latency by percentile",
        summary: format!("The share of replies that took at most the time on the vertical axis. {sentence}"),
        x: Axis { name: "Share of replies", scale: Scale::of_quantiles(count) },
        y: Axis {
            name: if shown.len() == 1 { shown[0].0 } else { "Latency" },
            scale: Scale::of_times(low.min(high), high),
        },
        tooltips: tooltips
            .iter()
            .filter(|(share, _)| reached(*share))
            .map(|(share, name)| tooltip(*share, name))
            .collect(),
        lines,
    }
}

/// The percentile curve up to the last nine that the number of replies supports.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places on a chart"
)]
fn curve(times: &Latencies) -> Vec<(f64, f64)> {
    let last = (times.count().max(1) as f64).log10();
    let steps = (last * f64::from(POINTS_PER_NINE)).floor() as u32;
    let nines = (0..=steps).map(|step| f64::from(step) / f64::from(POINTS_PER_NINE));
    let mut points: Vec<_> =
        nines.filter_map(|nines| Some((nines, nanos(times.at(1.0 - 10_f64.powf(-nines))?)))).collect();
    points.extend(times.max().map(|max| (last, nanos(max))));
    points
}

#[allow(clippy::cast_precision_loss, reason = "a place on a chart")]
fn latency(results: &RunResults) -> Chart {
    // A second without replies has no latency.
    let intervals: Vec<&Interval> = drawn_intervals(results).filter(|interval| interval.latency.count > 0).collect();
    let line = |name, value: fn(&Interval) -> u64| {
        let points = intervals.iter().map(|interval| (middle(interval), value(interval) as f64)).collect();
        Line { name: Cow::Borrowed(name), points }
    };
    let highest = intervals.iter().map(|interval| interval.latency.max_ns).max().unwrap_or(1);
    let lowest = intervals.iter().map(|interval| interval.latency.p50_ns).min().unwrap_or(1);
    Chart {
        id: "latency",
        title: "Latency over time",
        summary: format!("The p50, the p99 and the maximum of each second. {}", in_sentence(headline(results).1)),
        x: seconds(&[results]),
        y: Axis { name: headline(results).0, scale: Scale::of_times(lowest as f64, highest as f64) },
        lines: vec![
            line("p50", |interval| interval.latency.p50_ns),
            line("p99", |interval| interval.latency.p99_ns),
            line("max", |interval| interval.latency.max_ns),
        ],
        tooltips: tooltips(results, |interval| {
            let times = [interval.latency.p50_ns, interval.latency.p99_ns, interval.latency.max_ns];
            let [p50, p99, max] = times.map(|nanos| format_latency(Duration::from_nanos(nanos)));
            format!("p50 {p50}, p99 {p99}, max {max}")
        }),
    }
}

fn rates(results: &RunResults) -> Chart {
    let line = |name, count: fn(&Interval) -> u64| {
        let points =
            drawn_intervals(results).map(|interval| (middle(interval), per_second(count(interval), interval.seconds)));
        Line { name: Cow::Borrowed(name), points: points.collect() }
    };
    let reply_label = reply_label(results);
    let lines = vec![
        line("sent", |interval| interval.sent),
        line(reply_label, |interval| interval.answered.max(interval.reads)),
    ];
    let highest = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(1.0, f64::max);
    Chart {
        id: "rate",
        title: "Messages per second",
        summary: format!("Messages sent and answered in each second; {} in all.", format_rate(results.rate())),
        x: seconds(&[results]),
        y: Axis { name: "Rate", scale: Scale::from_zero(highest, 0.0, "messages/s") },
        lines,
        tooltips: tooltips(results, |interval| {
            let [sent, replies] =
                [interval.sent, interval.answered].map(|count| format_rate(per_second(count, interval.seconds)));
            format!("{sent} sent, {replies} answered, {} errors", format_count(interval.errors))
        }),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a place on a chart")]
fn connections(results: &RunResults) -> Chart {
    let points: Vec<_> = results.intervals.iter().map(|interval| (middle(interval), interval.open as f64)).collect();
    let highest = points.iter().map(|point| point.1).fold(1.0, f64::max);
    let (title, unit) =
        if results.datagrams.is_some() { ("Open sockets", "sockets") } else { ("Open connections", "connections") };
    Chart {
        id: "connections",
        title,
        summary: format!("{title} at the end of each second; {} at most.", format_count(results.connections.most_open)),
        x: seconds(&[results]),
        y: Axis { name: "Open at the end of the second", scale: Scale::from_zero(highest, 1.0, unit) },
        lines: vec![Line { name: Cow::Borrowed("open"), points }],
        tooltips: tooltips(results, |interval| format!("{} open", format_count(interval.open))),
    }
}

fn in_sentence(times: &Latencies) -> String {
    match (times.at(0.5), times.at(0.99), times.max()) {
        (Some(p50), Some(p99), Some(max)) => {
            let [p50, p99, max] = [p50, p99, max].map(format_latency);
            format!("Half took at most {p50}, 99 % at most {p99}, the longest {max}.")
        }
        _ => "There were no replies.".to_owned(),
    }
}

fn seconds(runs: &[&RunResults]) -> Axis {
    let intervals = || runs.iter().flat_map(|results| &results.intervals);
    let (starts, ends) =
        (intervals().map(|interval| interval.start_s), intervals().map(|interval| interval.start_s + interval.seconds));
    let scale = Scale::over_time(starts.fold(f64::MAX, f64::min).min(1e9), ends.fold(0.0, f64::max));
    Axis { name: "Time since the start of the measurement", scale }
}

fn tooltips(results: &RunResults, describe: impl Fn(&Interval) -> String) -> Vec<(f64, f64, String)> {
    if results.intervals.len() > MAX_TOOLTIPS {
        return Vec::new();
    }
    let tooltip = |interval: &Interval| {
        let (from, to) = (interval.start_s, interval.start_s + interval.seconds);
        (from, to, format!("from {}: {}", format_seconds(from), describe(interval)))
    };
    results.intervals.iter().map(tooltip).collect()
}

/// The intervals to draw. The rest of a second at the end holds only the last replies, and would look like a drop.
fn drawn_intervals(results: &RunResults) -> impl Iterator<Item = &Interval> {
    let is_long = |interval: &&Interval| interval.seconds >= MIN_INTERVAL_S;
    let has_long = results.intervals.iter().any(|interval| is_long(&interval));
    results.intervals.iter().filter(move |interval| !has_long || is_long(interval))
}

fn middle(interval: &Interval) -> f64 {
    interval.start_s + interval.seconds / 2.0
}

#[allow(clippy::cast_precision_loss, reason = "a place on a chart")]
fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}
