//! What a server, or one of its workers, has done.

use super::Refusal;
use crate::connection::CloseReason;
use crate::units::{format_count, format_counted, format_duration, format_size};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What was done in all; shown as the lines that end a server's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Connections accepted.
    pub accepted: u64,
    /// Peers that were not let in, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Attempts to accept that failed.
    pub accept_errors: u64,
    /// Connections ended, by reason.
    pub closed: BTreeMap<CloseReason, u64>,
    /// Bytes received from all peers, in bytes.
    pub received_bytes: u64,
    /// Bytes sent to all peers, in bytes.
    pub sent_bytes: u64,
    /// How long the server ran.
    pub elapsed: Duration,
}

impl Summary {
    /// Whether connections were ended at once, whatever was unsent.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.closed.contains_key(&CloseReason::Stopped)
    }

    /// Adds what another worker did.
    pub(super) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.accept_errors += other.accept_errors;
        for (reason, count) in &other.closed {
            *self.closed.entry(*reason).or_default() += count;
        }
        for (refusal, count) in &other.refused {
            *self.refused.entry(*refusal).or_default() += count;
        }
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accepted = format_counted(self.accepted, "connection");
        write!(out, "Served {accepted} in {}", format_duration(self.elapsed))?;
        let (received, sent) = (format_size(self.received_bytes), format_size(self.sent_bytes));
        write!(out, ": {received} received, {sent} sent")?;
        for (reason, count) in &self.closed {
            write!(out, "\n  {:>9} {reason}", format_count(*count))?;
        }
        for (refusal, count) in &self.refused {
            write!(out, "\n  {:>9} {refusal}", format_count(*count))?;
        }
        if self.accept_errors > 0 {
            write!(out, "\n  {:>9} failed to be accepted", format_count(self.accept_errors))?;
        }
        Ok(())
    }
}
