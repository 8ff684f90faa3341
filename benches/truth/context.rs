//! Context of a case: its setup, and functions that print its figures.

use std::time::Duration;

use multiconn::units::format_duration;

use crate::common::child::{Server, multiconn_server};
use crate::common::figures::Spread;
use crate::common::run_setup::RunSetup;
use crate::common::verdicts::Verdicts;
use crate::common::{Outcome, figures};

pub(crate) struct Bench {
    pub(crate) setup: RunSetup,
    pub(crate) verdicts: Verdicts,
}

impl Bench {
    /// Starts `multiconn-server` with these options.
    pub(crate) fn server(&self, arguments: &[&str]) -> Outcome<Server> {
        Server::start("multiconn-server", multiconn_server(arguments), &self.setup.cpus)
    }

    /// Length of a run.
    pub(crate) fn window(&self) -> Duration {
        self.setup.options.window
    }

    /// Length of one of many runs.
    pub(crate) fn short_window(&self) -> Duration {
        if self.setup.options.quick { self.window() } else { self.window() / 5 }
    }

    /// Prints a figure with its target.
    pub(crate) fn judge(&mut self, label: &str, figure: &str, target: &str, is_met: bool) {
        row(label, figure, &format!("target {target}: {}", self.verdicts.judge(is_met)));
    }

    /// Prints the median over rounds in microseconds, with its target.
    pub(crate) fn judge_micros(&mut self, label: &str, rounds: &[f64], target: &str, is_met: fn(f64) -> bool) {
        let spread = Spread::of(rounds.iter().copied());
        let verdict = self.verdicts.judge(is_met(spread.median));
        row(label, &micros(spread.median), &format!("target {target}: {verdict}{}", range(&spread, rounds.len())));
    }
}

/// Prints a figure without a target.
pub(crate) fn row(label: &str, figure: &str, remark: &str) {
    let line = format!("  {label:<38}{figure:>20}  {remark}");
    println!("{}", line.trim_end());
}

/// Prints the median over rounds in microseconds, without a target.
pub(crate) fn row_micros(label: &str, rounds: &[f64]) {
    let spread = Spread::of(rounds.iter().copied());
    row(label, &micros(spread.median), range(&spread, rounds.len()).trim_start_matches(", "));
}

fn range(spread: &Spread, rounds: usize) -> String {
    if rounds > 1 { format!(", {}..{}", micros(spread.min), micros(spread.max)) } else { String::new() }
}

/// Formats microseconds.
pub(crate) fn micros(value: f64) -> String {
    if value < 1e5 { format!("{value:.1} µs") } else { format_duration(Duration::from_secs_f64(value / 1e6)) }
}

pub(crate) fn count(value: u64) -> String {
    figures::grouped(value as f64)
}

/// Formats a duration as an option value of the client.
pub(crate) fn option(duration: Duration) -> String {
    format!("{}us", duration.as_micros())
}
