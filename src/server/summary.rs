//! Summary of what a server, or one of its workers, has done.

use super::{DatagramSummary, Refusal};
use crate::connection::CloseReason;
use crate::error::errno_name;
use crate::units::{format_count, format_counted, format_duration, format_size};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Totals of a run; displayed as the last lines of a server's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Failed accept calls, by error number (errno(3)); 0 if the error had none.
    pub accept_errors: BTreeMap<i32, u64>,
    /// Connections closed, by reason.
    pub closed: BTreeMap<CloseReason, u64>,
    /// Bytes received from all peers, in bytes.
    pub received_bytes: u64,
    /// Bytes sent to all peers, in bytes.
    pub sent_bytes: u64,
    /// UDP totals.
    pub datagrams: DatagramSummary,
    /// How long the server ran.
    pub elapsed: Duration,
}

impl Summary {
    /// Whether connections were closed at once and their unsent output discarded.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.closed.contains_key(&CloseReason::Stopped)
    }

    /// All totals in one line, with the number of `open` connections.
    pub(super) fn one_line(&self, open: u64) -> String {
        let mut totals = vec![
            format!("{} open", format_count(open)),
            format!("{} accepted", format_count(self.accepted)),
            with_breakdown("closed", self.closed.iter().map(|(reason, count)| (reason.to_string(), *count))),
            with_breakdown("refused", self.refused.iter().map(|(refusal, count)| (refusal.why().to_owned(), *count))),
            with_breakdown(
                "failed to be accepted",
                self.accept_errors.iter().map(|(errno, count)| (errno_name(*errno), *count)),
            ),
            format!("{} in", format_size(self.received_bytes)),
            format!("{} out", format_size(self.sent_bytes)),
        ];
        if !self.datagrams.is_empty() {
            totals.push(self.datagrams.one_line());
        }
        totals.join(", ")
    }

    /// Adds the totals of another worker.
    pub(super) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        for (errno, count) in &other.accept_errors {
            *self.accept_errors.entry(*errno).or_default() += count;
        }
        for (reason, count) in &other.closed {
            *self.closed.entry(*reason).or_default() += count;
        }
        for (refusal, count) in &other.refused {
            *self.refused.entry(*refusal).or_default() += count;
        }
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.datagrams.add(&other.datagrams);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let served = match (self.accepted, self.datagrams.received) {
            (0, 1..) => format_counted(self.datagrams.received, "datagram"),
            (_, 0) => format_counted(self.accepted, "connection"),
            (accepted, received) => {
                format!("{} and {}", format_counted(accepted, "connection"), format_counted(received, "datagram"))
            }
        };
        write!(out, "Served {served} in {}", format_duration(self.elapsed))?;
        let (received, sent) = (format_size(self.received_bytes), format_size(self.sent_bytes));
        write!(out, ": {received} received, {sent} sent")?;
        for (reason, count) in &self.closed {
            write!(out, "\n  {:>9} {reason}", format_count(*count))?;
        }
        for (refusal, count) in &self.refused {
            write!(out, "\n  {:>9} {refusal}", format_count(*count))?;
        }
        if !self.accept_errors.is_empty() {
            let errors = self.accept_errors.iter().map(|(errno, count)| (errno_name(*errno), *count));
            let (total, breakdown) = (self.accept_errors.values().sum(), breakdown(errors));
            write!(out, "\n  {:>9} failed to be accepted{breakdown}", format_count(total))?;
        }
        write!(out, "{}", self.datagrams)
    }
}

/// A total and its parts, such as "3 closed (2 idle timeout, 1 drained)".
fn with_breakdown(what: &str, counts: impl Iterator<Item = (String, u64)> + Clone) -> String {
    let total = counts.clone().map(|(_, count)| count).sum();
    format!("{} {what}{}", format_count(total), breakdown(counts))
}

/// The parts of a total, if there are any: " (2 idle timeout, 1 drained)".
fn breakdown(counts: impl Iterator<Item = (String, u64)>) -> String {
    let words: Vec<_> = counts.map(|(part, count)| format!("{} {part}", format_count(count))).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}
