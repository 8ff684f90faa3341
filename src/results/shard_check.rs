//! Checks that merged runs are the shards of one load.

use super::configuration::in_plain_text;
use super::merge::{MergedRun, Merger};
use super::summary::format_seconds;
use super::{Configuration, Shard};
use crate::units::format_counted;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Options in which the shards of a load may differ: those of the shard itself, of its machine, and of its output.
const OWN_OPTIONS: [&str; 18] = [
    "shard",
    "start-at",
    "workers",
    "spin",
    "busy-poll",
    "source",
    "json",
    "hgrm",
    "hdr-log",
    "html",
    "interval-json",
    "metrics",
    "fail-if",
    "stop-if",
    "no-progress",
    "verbose",
    "quiet",
    "log-format",
];

/// Minimum share of the time from the first start to the last end in which all shards were measured.
const MIN_OVERLAP: f64 = 0.95;

/// A shard that is late by as much as others end before it is named as late, whatever the error of the sums.
const ROUNDING_S: f64 = 1e-6;

/// Maximum number of characters shown of an option's value.
const SHOWN_CHARACTERS: usize = 40;

/// Maximum number of missing shards, and of differing options, that are named.
const NAMED: usize = 10;

/// Why merged runs are not the shards of one load.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardProblem {
    /// Number of the run, counted from 0 in the order given; none for a shard that no run has.
    pub run: Option<usize>,
    /// What is wrong; it names the shard and its machine.
    pub text: String,
}

/// The text, after the number of the run counted from 1.
impl fmt::Display for ShardProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.run.iter().try_for_each(|run| write!(out, "run {}: ", run + 1))?;
        out.write_str(&self.text)
    }
}

impl Merger {
    /// Checks that the runs so far are all of the `count` shards of one load, that each was run once and with the same
    /// configuration, and that they were measured together for 95 % of the time. Returns what is wrong.
    #[must_use]
    pub fn check_shards(&self, count: usize) -> Vec<ShardProblem> {
        let mut problems = Vec::new();
        let mut first_run: BTreeMap<usize, usize> = BTreeMap::new();
        for (number, run) in self.runs.iter().enumerate() {
            let mut add = |text| problems.push(ShardProblem { run: Some(number), text });
            match run.shard {
                None => add(format!("the run{} is no shard: it sent a whole load", on(run))),
                Some(shard) if shard.count != count => {
                    add(format!("{} is not one of {count}", named(run, shard)));
                }
                Some(shard) => {
                    if first_run.insert(shard.index, number).is_some() {
                        add(format!("{} was given before: two runs have this number", named(run, shard)));
                    }
                    if !run.differences.is_empty() {
                        let differences = run.differences.join(", ");
                        add(format!(
                            "{} is configured differently from the first run: {differences}",
                            named(run, shard)
                        ));
                    }
                }
            }
        }
        let given = first_run.into_keys().collect();
        problems.extend(missing(&given, count).map(|text| ShardProblem { run: None, text }));
        // Runs of several loads need not overlap.
        if problems.is_empty() {
            problems.extend(self.check_overlap());
        }
        problems
    }

    /// A note about shards that were not merged, if all runs are shards of as many.
    pub(super) fn missing_shards(&self) -> Option<String> {
        let shards: Vec<_> = self.runs.iter().map(|run| run.shard).collect::<Option<_>>()?;
        let count = shards.first()?.count;
        let is_one_load = shards.iter().all(|shard| shard.count == count);
        let given = shards.iter().map(|shard| shard.index).collect();
        missing(&given, count).filter(|_| is_one_load && shards.len() > 1)
    }

    fn check_overlap(&self) -> Option<ShardProblem> {
        let started = self.runs.iter().map(|run| run.started).min()?;
        let problem = |number: usize, what: String| {
            let run = &self.runs[number];
            let shard = run.shard.unwrap_or(Shard::WHOLE);
            ShardProblem { run: Some(number), text: format!("{} {what}", named(run, shard)) }
        };
        if let Some(number) = self.runs.iter().position(|run| run.measured_s <= 0.0 || !run.has_begun()) {
            return Some(problem(number, "measured nothing: its load did not begin".to_owned()));
        }
        let windows: Vec<_> = self.runs.iter().map(|run| run.window_s(started)).collect();
        let by_begin = |one: &usize, other: &usize| windows[*one].0.total_cmp(&windows[*other].0);
        let by_end = |one: &usize, other: &usize| windows[*one].1.total_cmp(&windows[*other].1);
        let (first, late) = ((0..windows.len()).min_by(by_begin)?, (0..windows.len()).max_by(by_begin)?);
        let (early, last) = ((0..windows.len()).min_by(by_end)?, (0..windows.len()).max_by(by_end)?);
        let (late_s, early_s) = (windows[late].0 - windows[first].0, windows[last].1 - windows[early].1);
        let (common_s, all_s) = (windows[early].1 - windows[late].0, windows[last].1 - windows[first].0);
        if common_s >= all_s * MIN_OVERLAP {
            return None;
        }
        let (number, other, what, by_s) = if late_s + ROUNDING_S >= early_s {
            (late, first, "began", late_s)
        } else {
            (early, last, "ended", early_s)
        };
        let than = if what == "began" { "after" } else { "before" };
        let index = self.runs[other].shard.map_or(0, |shard| shard.index);
        let percent = (common_s / all_s).max(0.0) * 100.0;
        Some(problem(
            number,
            format!(
                "{what} {} {than} shard {index}: all shards were measured together in {percent:.0} % of the time, and 95 % \
                 are needed",
                format_seconds(by_s)
            ),
        ))
    }
}

/// Text about the shards of `count` that are not `given`; none if all are.
fn missing(given: &BTreeSet<usize>, count: usize) -> Option<String> {
    let number = count.saturating_sub(given.range(..count).count());
    let mut names: Vec<_> =
        (0..count).filter(|index| !given.contains(index)).take(NAMED).map(|i| i.to_string()).collect();
    match number.checked_sub(names.len())? {
        0 if names.len() <= 1 => return names.pop().map(|name| format!("shard {name} of {count} is missing")),
        0 => {}
        more => names.push(format_counted(more as u64, "other")),
    }
    let last = names.pop()?;
    Some(format!("shards {} and {last} of {count} are missing", names.join(", ")))
}

/// `shard 3 of 8 on node-7`.
fn named(run: &MergedRun, shard: Shard) -> String {
    format!("{shard}{}", on(run))
}

fn on(run: &MergedRun) -> String {
    run.host.as_ref().map_or_else(String::new, |host| format!(" on {host}"))
}

/// Options of a run that differ from those of the first run, with both values.
pub(super) fn differences(first: &Configuration, other: &Configuration) -> Vec<String> {
    let names: BTreeSet<_> = first.iter().chain(other.iter()).map(|(name, _)| name).collect();
    let shown = |configuration: &Configuration, name| {
        let text = configuration.get(name).map_or_else(|| "none".to_owned(), in_plain_text);
        let more = if text.chars().count() > SHOWN_CHARACTERS { "…" } else { "" };
        text.chars().take(SHOWN_CHARACTERS).collect::<String>() + more
    };
    let differing = |name: &&str| !OWN_OPTIONS.contains(name) && first.get(name) != other.get(name);
    let differing = names.into_iter().filter(differing);
    differing.take(NAMED).map(|name| format!("{name} is {}, not {}", shown(other, name), shown(first, name))).collect()
}
