//! Comparison as a table of at most 80 columns.

use super::super::format_latency;
use super::super::summary::{format_seconds, subject, wrap};
use super::{Change, Comparison, Metric, Row, RunResults};
use crate::units::format_rate;
use std::fmt;
use std::time::Duration;

/// Start, target and measured time of a run on one line.
pub(super) fn describe(results: &RunResults) -> String {
    format!("{}, {}, {}", results.started, subject(results), format_seconds(results.measured_s))
}

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            wrap(out, "WARNING: ", warning)?;
        }
        wrap(out, "before  ", &self.before)?;
        wrap(out, "after   ", &self.after)?;
        writeln!(out, "{:<10}{:>11}{:>11}{:>12}{:>12}  verdict", "", "before", "after", "difference", "noise")?;
        self.rows.iter().try_for_each(|row| writeln!(out, "{row}"))?;
        if self.rows.iter().any(|row| row.is_bounded) {
            writeln!(out, "(bounded): a client's own lateness could explain the difference.")?;
        }
        write!(
            out,
            "The noise is between the seconds of a run (99 of 100 draws of a bootstrap).\n\
                     Runs differ by more than their seconds do: repeat both to be sure."
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [name, was, is, difference, noise, verdict] = self.cells();
        write!(out, "  {name:<8}{was:>11}{is:>11}{difference:>12}{noise:>12}  {verdict}")
    }
}

impl Comparison {
    /// The rows of the table: name, before, after, difference, noise and verdict.
    pub(in crate::results) fn cells(&self) -> impl Iterator<Item = Vec<String>> {
        self.rows.iter().map(|row| row.cells().to_vec())
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let show = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| self.metric.show(value));
        let difference = self.after.zip(self.before).map(|(is, was)| is - was);
        let difference = difference.map_or_else(String::new, |difference| {
            let sign = if difference < 0.0 { "-" } else { "+" };
            format!("{sign}{}", self.relative(difference.abs()))
        });
        let noise = self.noise.map_or_else(|| "unknown".to_owned(), |noise| format!("±{}", self.relative(noise)));
        let bounded = if self.is_bounded { " (bounded)" } else { "" };
        let verdict = format!("{}{bounded}", self.outcome);
        [self.metric.name().to_owned(), show(self.before), show(self.after), difference, noise, verdict]
    }

    /// Formats an amount relative to the value before, or as it is if that was 0.
    fn relative(&self, amount: f64) -> String {
        match self.before {
            Some(before) if before > 0.0 => format!("{:.1} %", amount / before * 100.0),
            _ => self.metric.show(amount),
        }
    }
}

impl Metric {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "nanoseconds above 0")]
    fn show(self, value: f64) -> String {
        match self {
            Self::Latency(..) => format_latency(Duration::from_nanos(value as u64)),
            Self::Rate | Self::Errors => format_rate(value),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::WithinNoise => "within the noise",
            Self::TooFewIntervals => "too few intervals",
            Self::TooFewReplies => "too few replies",
            Self::SingleEvent => "a single event",
        })
    }
}
