//! HTML report: one self-contained page without network, script or font. The charts are SVG. The page follows the
//! reader's dark mode, and tables repeat what the charts show.

mod chart;
mod charts;
mod escape;
mod scale;

pub(super) use chart::Chart;
pub(super) use charts::percentile_curve;

use super::summary::{QUANTILES, format_seconds, load, losses, machine, opening, subject, verdict};
use super::{
    Latencies, LoadKind, Percentile, Precision, ReplyCheck, RunResults, Statuses, compare, format_latency,
    in_plain_text, percentiles,
};
use crate::error::reported_cause;
use crate::units::{format_count, format_rate};
use escape::{escape, grid, pairs};
use std::fmt::Write;
use std::time::Duration;

/// Nothing is fetched, whatever text a result file contains.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = include_str!("style.css");

/// The end of a page.
const END: &str = "</main>\n<footer>Times come from histograms with three significant digits. \
                   The response time begins when a message is due, the service time when it is sent. \
                   Both end with the whole reply, and exclude the delays of the client.</footer>\n</body>\n</html>\n";

/// Name of the lower bound of the reported latency.
const FLOOR: &str = "At least";

/// Percentiles of the tiles.
const OF_TILES: [&str; 4] = ["p50", "p99", "p99.9", "max"];

/// Renders the report of a run.
#[must_use]
pub fn html_report(results: &RunResults) -> String {
    let (started, length) = (results.started, format_seconds(results.duration_s));
    let run = format!("{} \u{b7} {started} \u{b7} {length}", results.program);
    let mut out = head(&subject(results), &[load(results), run]);
    let latency = percentiles(results, &QUANTILES.map(|(_, quantile)| quantile));
    let is_bounded = latency.iter().any(|percentile| percentile.precision == Precision::Bounded);
    out.push_str(&banner(results, is_bounded));
    out.push_str(&figures(results, &latency));
    for chart in charts::charts(results, is_bounded) {
        out.push_str(&chart.figure());
    }
    out.push_str(&tables(results, &latency));
    out + END
}

/// Renders a comparison of two runs, with both in each chart.
#[must_use]
pub fn html_comparison(before: &RunResults, after: &RunResults) -> String {
    let comparison = compare(before, after);
    let runs = [format!("Before: {}", comparison.before), format!("After: {}", comparison.after)];
    let mut out = head("Comparison of two runs", &runs);
    let class = if comparison.is_worse() { "verdict bad" } else { "verdict" };
    let word = if comparison.is_worse() { "Worse." } else { "Nothing is worse by more than the noise." };
    let _ = write!(out, "<div class=\"{class}\" role=\"status\"><strong>{word}</strong>");
    let items = comparison.warnings.iter().cloned();
    let items = items.chain(comparison.inconclusive.iter().map(|reason| format!("Inconclusive: {reason}")));
    let items = items.map(|item| format!("<li>{}</li>", escape(&item))).collect::<Vec<_>>().concat();
    let _ = writeln!(out, "<ul>{items}</ul></div>");
    for chart in charts::compared(before, after) {
        out.push_str(&chart.figure());
    }
    out.push_str("<section><h2>Differences</h2>\n");
    out.push_str(&grid(&["", "before", "after", "difference", "noise", "verdict"], comparison.cells()));
    out + "</section>\n" + END
}

/// The beginning of a page, with paragraphs below the heading.
fn head(heading: &str, paragraphs: &[String]) -> String {
    let heading = escape(heading);
    let paragraphs = paragraphs.iter().map(|text| format!("<p>{}</p>\n", escape(text))).collect::<Vec<_>>().concat();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{heading}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>{heading}</h1>\n{paragraphs}</header>\n<main>\n"
    )
}

/// The validity of the run, before all numbers.
fn banner(results: &RunResults, is_bounded: bool) -> String {
    let (class, word, text) = match (results.valid, results.load.kind) {
        (false, _) => ("verdict bad", "NOT VALID.", "The numbers do not describe the server under the requested load:"),
        (true, LoadKind::Open) => ("verdict", "Valid.", "The client sent what its schedule had due."),
        (true, LoadKind::Closed | LoadKind::ReadOnly | LoadKind::Interactive) => {
            ("verdict", "Valid.", "No sign that the client limited the load.")
        }
    };
    let failed = losses(results).map(|losses| format!("<div><strong>FAILED.</strong> {}.</div>", escape(&losses)));
    let failed = failed.unwrap_or_default();
    let mut out = format!("<div class=\"{class}\" role=\"status\">{failed}<strong>{word}</strong> {text}");
    let bounded = is_bounded.then(|| format!("Percentiles with a ! {}", results.bounded_in_words()));
    let items = results.reasons.iter().chain(&results.notes).chain(&bounded);
    let items: Vec<_> = items.map(|item| format!("<li>{}</li>", escape(item))).collect();
    if !items.is_empty() {
        let _ = write!(out, "<ul>{}</ul>", items.concat());
    }
    let _ = writeln!(out, "<div>Outcome: {}.</div></div>", escape(verdict(results)));
    out
}

/// The latencies of the charts that are not empty, with their names; the floor only if a percentile is bounded.
fn latencies(results: &RunResults, is_bounded: bool) -> Vec<(&'static str, &Latencies)> {
    let times = &results.histograms;
    let floor = results.floor().filter(|_| is_bounded);
    let is_due = !times.response_time.is_empty();
    let service_time = Some(&times.service_time).filter(|service| !is_due || **service != times.response_time);
    let named = [
        ("Response time", Some(&times.response_time)),
        (FLOOR, floor),
        ("Service time", service_time),
        ("First byte", Some(&times.first_byte)),
    ];
    let shown = named.into_iter().filter_map(|(name, times)| Some((name, times.filter(|times| !times.is_empty())?)));
    shown.collect()
}

/// The latency that the tiles show: the response time, or without a schedule the service time.
fn headline(results: &RunResults) -> (&'static str, &Latencies) {
    latencies(results, false).first().copied().unwrap_or(("Latency", results.latency()))
}

/// The most important numbers. Each tile names its latency.
fn figures(results: &RunResults, latency: &[Percentile]) -> String {
    let (name, times) = headline(results);
    let shown = QUANTILES.iter().enumerate().filter(|(_, (quantile, _))| OF_TILES.contains(quantile));
    let quantiles = shown.map(|(index, (quantile, share))| {
        let other = || times.at(*share).map_or_else(|| "none".to_owned(), format_latency);
        (format!("{name} {quantile}"), latency.get(index).map_or_else(other, marked))
    });
    let rate = if results.reply_check.has_counts() { "Answered" } else { "Sent" };
    let mut out = "<dl class=\"figures\">\n".to_owned();
    let ends = [(rate, format_rate(results.rate())), ("Errors", format_count(results.error_count()))];
    let [rate, errors] = ends.map(|(name, value)| (name.to_owned(), value));
    for (name, value) in [rate].into_iter().chain(quantiles).chain([errors]) {
        let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(&name), escape(&value));
    }
    out.push_str("</dl>\n");
    out
}

/// A percentile of the reported latency, with a mark if it is bounded.
fn marked(percentile: &Percentile) -> String {
    let mark = if percentile.precision == Precision::Bounded { " !" } else { "" };
    format!("{}{mark}", format_latency(percentile.value))
}

/// Half the intervals of 95 % of the percentiles, as a row; none if no interval is known.
fn half_widths(latency: &[Percentile]) -> Option<Vec<String>> {
    let widths = latency.iter().map(|percentile| percentile.plus_minus.map(format_latency));
    let widths: Vec<_> = widths.collect();
    widths.iter().any(Option::is_some).then(|| {
        let names = ["± (95 %)", "", ""].map(str::to_owned);
        names.into_iter().chain(widths.into_iter().map(Option::unwrap_or_default)).collect()
    })
}

fn tables(results: &RunResults, latency: &[Percentile]) -> String {
    let mut out = "<section><h2>Times</h2>\n".to_owned();
    let named = results.histograms.named().into_iter().filter(|(_, times)| !times.is_empty());
    let rows = named.flat_map(|(name, times)| {
        let marks = if std::ptr::eq(times, results.latency()) { latency } else { &[] };
        std::iter::once(row(name, times, marks)).chain(half_widths(marks))
    });
    out.push_str(&grid(&["", "count", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"], rows));
    out.push_str("</section>\n<div class=\"columns\">\n");
    out.push_str(&pairs("Counts", counts(results)));
    let is_datagram = results.datagrams.is_some();
    let errors = results.errors.iter().map(|(cause, count)| (reported_cause(cause, is_datagram), format_count(*count)));
    out.push_str(&pairs("Errors", errors));
    let settings = results.configuration.iter().map(|(name, value)| (name.to_owned(), in_plain_text(value)));
    out.push_str(&pairs("Configuration", settings));
    out.push_str(&pairs("Machine", machine(results).into_iter().map(|(name, value)| (name.to_owned(), value))));
    out.push_str("</div>\n");
    let mismatches = results.mismatches.first.iter().zip(1_u64..).map(|(text, number)| (format_count(number), text));
    out.push_str(&pairs("Mismatches", mismatches));
    if !results.intervals.is_empty() {
        let (has_counts, label) = (results.reply_check.has_counts(), reply_label(results));
        let headings = ["second", "sent", label, "errors", "open", "p50", "p99", "max"];
        let rows = results.intervals.iter().map(|interval| {
            let time = |nanos| format_latency(Duration::from_nanos(nanos));
            let replies = if has_counts { interval.answered } else { interval.reads };
            let counts = [interval.sent, replies, interval.errors, interval.open].map(format_count);
            let times = [interval.latency.p50_ns, interval.latency.p99_ns, interval.latency.max_ns].map(time);
            [vec![format_seconds(interval.start_s)], counts.to_vec(), times.to_vec()].concat()
        });
        let _ =
            write!(out, "<details><summary>Every second as a table</summary>\n{}</details>\n", grid(&headings, rows));
    }
    out
}

/// The label of the replies of an interval.
fn reply_label(results: &RunResults) -> &'static str {
    if results.reply_check == ReplyCheck::Unframed { "reads" } else { "answered" }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "nanoseconds above 0")]
fn row(name: &str, times: &Latencies, marks: &[Percentile]) -> Vec<String> {
    let mean = times.mean_ns().map(|nanos| format_latency(Duration::from_nanos(nanos as u64)));
    let values = QUANTILES.iter().enumerate().map(|(index, (_, quantile))| match marks.get(index) {
        Some(percentile) => marked(percentile),
        None => times.at(*quantile).map(format_latency).unwrap_or_default(),
    });
    [name.to_owned(), format_count(times.count()), mean.unwrap_or_default()].into_iter().chain(values).collect()
}

fn counts(results: &RunResults) -> Vec<(String, String)> {
    let (connections, messages, bytes) = (&results.connections, &results.messages, &results.bytes);
    let (datagrams, check) = (results.datagrams.as_ref(), results.reply_check);
    let rows = [
        ("connections opened", Some(connections.opened)),
        ("at the same time", Some(connections.most_open)),
        ("connections failed", Some(connections.failed)),
        ("messages due", messages.due),
        ("messages sent", Some(messages.sent)),
        ("unsent, blocked by the server", Some(messages.unsent)),
        ("unsent, no connection", Some(messages.no_connection)),
        (check.words().messages, Some(messages.answered).filter(|_| check.has_counts())),
        ("reads", messages.reads),
        ("timed out", Some(messages.timed_out)),
        ("pending at the end", Some(messages.pending)),
        ("lost", Some(messages.lost)),
        ("wrong replies", Some(messages.wrong)),
        ("late replies", datagrams.map(|datagrams| datagrams.late)),
        ("duplicated replies", datagrams.map(|datagrams| datagrams.duplicated)),
        ("reordered replies", datagrams.map(|datagrams| datagrams.reordered)),
        ("bytes sent", Some(bytes.sent)),
        (if check.is_compared() { "bytes verified" } else { "bytes received" }, Some(bytes.received)),
    ];
    let mut rows: Vec<_> =
        rows.into_iter().filter_map(|(name, count)| Some((name.to_owned(), format_count(count?)))).collect();
    let statuses = results.statuses.iter().flat_map(Statuses::named);
    let statuses = statuses.filter(|(_, count)| *count > 0);
    rows.extend(statuses.map(|(class, count)| (format!("responses with status {class}"), format_count(count))));
    rows.extend(opening(results).map(|opening| ("opening time and rate".to_owned(), opening)));
    rows.extend(connections.port_search.map(|search| ("port search".to_owned(), search.to_string())));
    rows.extend(results.cpu.map(|cpu| {
        ("CPU time".to_owned(), format!("{} ({:.0} % of the client's)", format_seconds(cpu.seconds), cpu.share * 100.0))
    }));
    rows
}

#[cfg(test)]
mod tests;
