//! Text of a search: which rate holds, which fails, and how the server recovered.

use super::{FindMax, MeasuredRate, Objective, RateVerdict, SearchEnd, SliceVerdict};
use crate::results::summary::format_seconds;
use crate::results::{Percentile, RunResults, format_latency};
use crate::units::{format_count, format_counted, format_rate, format_size};
use std::time::Duration;

/// The lines of the report on a search; the first one is the outcome.
pub(in crate::results) fn lines(found: &FindMax, results: &RunResults) -> Vec<String> {
    let mut lines = vec![format!("{}, {}", outcome(found), load(results))];
    let row = |name: &str, rate: Option<f64>, text: &str| {
        let rate = rate.map(format_rate).unwrap_or_default();
        format!("  {name:<12} {rate:<10} {text}").trim_end().to_owned()
    };
    if let Some(holds) = found.holds.filter(|_| found.confirmed) {
        let times = confirmed(found, results);
        let length = format_seconds(results.measured_s);
        lines.push(row("holds", Some(holds), &format!("{times}, in a fresh run of {length}")));
    }
    if let Some(fails) = found.fails {
        let last = found.rates.iter().rfind(|rate| is_same(rate.rate, fails));
        lines.push(row("fails", Some(fails), &last.map(|rate| failure(found, rate)).unwrap_or_default()));
    }
    if found.typical.is_some() {
        lines.push(row("typical", found.typical, "more than half of all slices hold"));
    }
    if let Some(recovery) = recovery(found) {
        lines.push(format!("  {:<12} {recovery}", "server"));
    }
    lines.push(format!(
        "  {:<12} {} at {} in {}",
        "search",
        format_counted(slices(found), "slice"),
        format_counted(found.rates.len() as u64, "rate"),
        format_seconds(found.search_s)
    ));
    lines
}

fn outcome(found: &FindMax) -> String {
    let names = found.expressions.join(" and ");
    let (holds_up, does, was) =
        if found.expressions.len() > 1 { ("hold up", "do", "were") } else { ("holds up", "does", "was") };
    let first = || found.rates.first().map(|rate| format_rate(rate.rate)).unwrap_or_default();
    let holds = found.holds.map(format_rate);
    match (found.end, holds) {
        (SearchEnd::Width, Some(rate)) => format!("{names} {holds_up} to {rate}"),
        (SearchEnd::UpperBound, Some(rate)) => {
            format!("{names} {holds_up} to at least {rate}, the highest rate allowed")
        }
        (SearchEnd::Client, Some(rate)) => format!("{names} {holds_up} to at least {rate}: the client is the limit"),
        (SearchEnd::Budget, Some(rate)) => {
            let budget = format_seconds(found.budget_s);
            format!("{names} {holds_up} to at least {rate}: the budget of {budget} allows no more")
        }
        (SearchEnd::Interrupted, Some(rate)) => format!("{names} {holds_up} to at least {rate} so far: interrupted"),
        (SearchEnd::Interrupted, None) => format!("{names} {was} not found to hold so far: interrupted"),
        (SearchEnd::NothingHolds, _) => format!("{names} {does} not hold at {}, the lowest rate", first()),
        (SearchEnd::Client, None) => format!("{names} cannot be judged: the client is the limit"),
        (SearchEnd::Failed, _) => format!("{names} cannot be judged: the run at {} failed", last(found)),
        (SearchEnd::NotConfirmed, _) => format!("{names} held at no rate in a fresh run"),
        (SearchEnd::Width | SearchEnd::UpperBound | SearchEnd::Budget, None) => {
            format!("{names} {was} not found to hold within the budget of {}", format_seconds(found.budget_s))
        }
    }
}

fn last(found: &FindMax) -> String {
    found.rates.last().map(|rate| format_rate(rate.rate)).unwrap_or_default()
}

/// The load besides its rate: `64 connections of 64 B`.
fn load(results: &RunResults) -> String {
    let noun = if results.datagrams.is_some() { "socket" } else { "connection" };
    let connections = format_counted(results.connections.requested, noun);
    match results.bytes.sent.checked_div(results.messages.sent) {
        Some(bytes) if bytes > 0 => format!("{connections} of {}", format_size(bytes)),
        _ => connections,
    }
}

/// The percentile of each expression in the run of the report: `p99 910 µs ± 40.0 µs`.
fn confirmed(found: &FindMax, results: &RunResults) -> String {
    let text = |objective: Objective| {
        let Percentile { value, plus_minus, .. } = results.percentile(objective.quantile())?;
        let chance = plus_minus.map(|time| format!(" ± {}", format_latency(time))).unwrap_or_default();
        Some(format!("{} {}{chance}", objective.percentile(), format_latency(value)))
    };
    objectives(found).filter_map(text).collect::<Vec<_>>().join(", ")
}

fn objectives(found: &FindMax) -> impl Iterator<Item = Objective> {
    found.expressions.iter().filter_map(|text| text.parse().ok())
}

fn percentiles(found: &FindMax, nanos: &[u64]) -> String {
    let named = objectives(found).zip(nanos).filter(|(_, nanos)| **nanos > 0);
    let texts = named.map(|(objective, nanos)| {
        format!("{} {}", objective.percentile(), format_latency(Duration::from_nanos(*nanos)))
    });
    let text = texts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "nothing was answered".to_owned() } else { text }
}

/// `p99 1.31 ms, in 13 of 21 seconds`.
fn failure(found: &FindMax, rate: &MeasuredRate) -> String {
    let bad = rate.slices.iter().filter(|slice| slice.verdict != SliceVerdict::Good).count() as u64;
    let is_in_seconds = rate.slices.iter().all(|slice| slice.counts.seconds == 1);
    let all = format_counted(rate.slices.len() as u64, if is_in_seconds { "second" } else { "slice" });
    let times = percentiles(found, &rate.percentiles_ns);
    let doubt = if rate.verdict == RateVerdict::Undecided { "; the share over all is undecided" } else { "" };
    format!("{times}, over the limit in {} of {all}{doubt}", format_count(bad))
}

fn recovery(found: &FindMax) -> Option<String> {
    let was_overloaded =
        found.rates.iter().any(|rate| matches!(rate.verdict, RateVerdict::Bad | RateVerdict::Undecided));
    match found.recovered_s {
        Some(seconds) => Some(format!("recovered within {} after overload", format_seconds(seconds))),
        None if was_overloaded && found.end != SearchEnd::NothingHolds => {
            Some("was not seen to recover after overload".to_owned())
        }
        None => None,
    }
}

fn slices(found: &FindMax) -> u64 {
    found.rates.iter().map(|rate| rate.slices.len() as u64).sum()
}

fn is_same(one: f64, other: f64) -> bool {
    (one - other).abs() <= other * 1e-9
}
