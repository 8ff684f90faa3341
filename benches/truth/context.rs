//! What every case is given, and how it tells what it found.

use std::time::Duration;

use multiconn::units::format_duration;

use crate::common::child::{Server, multiconn_server};
use crate::common::figures::Spread;
use crate::common::run_setup::Setting;
use crate::common::verdicts::Tally;
use crate::common::{Outcome, figures};

pub(crate) struct Bench {
    pub(crate) setting: Setting,
    pub(crate) tally: Tally,
}

impl Bench {
    /// `multiconn-server` with these options.
    pub(crate) fn server(&self, arguments: &[&str]) -> Outcome<Server> {
        Server::start("multiconn-server", multiconn_server(arguments), &self.setting.cpus)
    }

    /// The length of a run.
    pub(crate) fn window(&self) -> Duration {
        self.setting.options.window
    }

    /// That of one of many runs.
    pub(crate) fn short_window(&self) -> Duration {
        if self.setting.options.quick { self.window() } else { self.window() / 5 }
    }

    /// A figure with its target.
    pub(crate) fn judge(&mut self, label: &str, figure: &str, target: &str, is_met: bool) {
        row(label, figure, &format!("target {target}: {}", self.tally.judge(is_met)));
    }

    /// The median over rounds, in microseconds, with its target.
    pub(crate) fn judge_micros(&mut self, label: &str, rounds: &[f64], target: &str, is_met: fn(f64) -> bool) {
        let spread = Spread::of(rounds.iter().copied());
        let verdict = self.tally.judge(is_met(spread.median));
        row(label, &micros(spread.median), &format!("target {target}: {verdict}{}", range(&spread, rounds.len())));
    }
}

/// A figure without a target.
pub(crate) fn row(label: &str, figure: &str, remark: &str) {
    let line = format!("  {label:<38}{figure:>20}  {remark}");
    println!("{}", line.trim_end());
}

/// The median over rounds, in microseconds, without a target.
pub(crate) fn row_micros(label: &str, rounds: &[f64]) {
    let spread = Spread::of(rounds.iter().copied());
    row(label, &micros(spread.median), range(&spread, rounds.len()).trim_start_matches(", "));
}

fn range(spread: &Spread, rounds: usize) -> String {
    if rounds > 1 { format!(", {}..{}", micros(spread.min), micros(spread.max)) } else { String::new() }
}

/// Of a number of microseconds.
pub(crate) fn micros(value: f64) -> String {
    if value < 1e5 { format!("{value:.1} µs") } else { format_duration(Duration::from_secs_f64(value / 1e6)) }
}

pub(crate) fn count(value: u64) -> String {
    figures::grouped(value as f64)
}

/// As the client's options take it.
pub(crate) fn option(duration: Duration) -> String {
    format!("{}us", duration.as_micros())
}
