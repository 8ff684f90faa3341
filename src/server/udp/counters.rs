//! What is counted of datagrams: by a worker while it runs, and in all when it has ended.

use crate::counter::{Counter, Tally};
use crate::error::errno_name;
use crate::units::{format_count, format_counted};
use std::collections::BTreeMap;
use std::fmt;
use std::io;

/// Why a datagram was not answered although there was, or would have been, an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dropped {
    /// The address of the sender is in none of the ranges that are let in.
    NotAllowed,
    /// A reply would be answered in turn, or go to nobody: the source port is one of this server or of a service that
    /// answers anything, or the datagram has been through several servers already.
    WouldLoop,
    /// Its source has used up the replies that the rate limit allows it.
    RateLimited,
    /// The reply would be longer than it may be; see [`DatagramConfig::longest_reply`](super::DatagramConfig::longest_reply).
    ReplyTooLong,
    /// The server was too slow: the kernel's queue of the socket was full, so that the server never saw it.
    QueueFull,
    /// The network was too slow: the kernel's send buffer was full.
    SendBufferFull,
    /// The responder panicked.
    Panicked,
    /// The reply could not be sent, by the number of the error (errno(3)).
    Failed(i32),
}

impl Dropped {
    /// Those that every server counts.
    pub(super) const OWN: [Self; 7] = [
        Self::NotAllowed,
        Self::WouldLoop,
        Self::RateLimited,
        Self::ReplyTooLong,
        Self::QueueFull,
        Self::SendBufferFull,
        Self::Panicked,
    ];
}

impl fmt::Display for Dropped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => out.write_str("the address is not allowed"),
            Self::WouldLoop => out.write_str("the answer would be answered"),
            Self::RateLimited => out.write_str("the source is over the rate limit"),
            Self::ReplyTooLong => out.write_str("the reply would be longer than the request"),
            Self::QueueFull => out.write_str("the receive queue was full"),
            Self::SendBufferFull => out.write_str("the send buffer was full"),
            Self::Panicked => out.write_str("the service panicked"),
            Self::Failed(errno) => write!(out, "sending failed with {}", errno_name(*errno)),
        }
    }
}

/// What one worker counts.
#[derive(Debug)]
pub(in crate::server) struct DatagramCounters {
    /// Datagrams received.
    pub(in crate::server) received: Counter,
    /// Datagrams sent in reply.
    pub(in crate::server) sent: Counter,
    /// Those that were never received, because the kernel's queue was full.
    pub(super) overrun: Counter,
    dropped: Tally<Dropped>,
    /// Failed attempts to receive, by the number of the error (errno(3)); 0 where there was none.
    receive_errors: Tally<i32>,
}

impl Default for DatagramCounters {
    fn default() -> Self {
        let (received, sent, overrun) = (Counter::default(), Counter::default(), Counter::default());
        Self { received, sent, overrun, dropped: Tally::of(&Dropped::OWN), receive_errors: Tally::of(&[]) }
    }
}

impl DatagramCounters {
    pub(super) fn drop(&self, reason: Dropped) {
        self.dropped.add(reason);
    }

    /// How many were dropped for `reason`.
    pub(super) fn dropped_for(&self, reason: Dropped) -> u64 {
        self.dropped.get(reason)
    }

    /// Counts a failed attempt to receive.
    pub(super) fn receive_failed(&self, error: &io::Error) {
        self.receive_errors.add(error.raw_os_error().unwrap_or_default());
    }

    /// Failed attempts to receive, by the number of the error.
    pub(in crate::server) fn receive_errors(&self) -> impl Iterator<Item = (i32, u64)> {
        self.receive_errors.counts()
    }

    /// What was dropped, by reason, with those at zero.
    pub(in crate::server) fn dropped(&self) -> impl Iterator<Item = (Dropped, u64)> {
        let overrun = self.overrun.get();
        self.dropped.counts().map(move |(reason, count)| match reason {
            Dropped::QueueFull => (reason, overrun),
            _ => (reason, count),
        })
    }

    pub(in crate::server) fn summary(&self) -> DatagramSummary {
        DatagramSummary {
            received: self.received.get(),
            sent: self.sent.get(),
            dropped: self.dropped().filter(|(_, count)| *count > 0).collect(),
            receive_errors: self.receive_errors().collect(),
        }
    }
}

/// What a server has done with datagrams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatagramSummary {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent in reply.
    pub sent: u64,
    /// Datagrams that were not answered, by reason.
    pub dropped: BTreeMap<Dropped, u64>,
    /// Attempts to receive that failed, by the number of the error (errno(3)); 0 where there was none.
    pub receive_errors: BTreeMap<i32, u64>,
}

impl DatagramSummary {
    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(in crate::server) fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.sent += other.sent;
        for (reason, count) in &other.dropped {
            *self.dropped.entry(*reason).or_default() += count;
        }
        for (errno, count) in &other.receive_errors {
            *self.receive_errors.entry(*errno).or_default() += count;
        }
    }

    /// All in a few words, such as "5 datagrams, 3 answered (2 the send buffer was full)".
    pub(in crate::server) fn in_words(&self) -> String {
        let dropped = self.dropped.iter().map(|(why, count)| format!("{} {why}", format_count(*count)));
        let failed = self.failed_receives().map(|(words, count)| format!("{} {words}", format_count(count)));
        let parts: Vec<_> = dropped.chain(failed).collect();
        let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        format!("{}, {} answered{parts}", format_counted(self.received, "datagram"), format_count(self.sent))
    }

    /// Failed attempts to receive, in words.
    fn failed_receives(&self) -> impl Iterator<Item = (String, u64)> {
        self.receive_errors
            .iter()
            .map(|(errno, count)| (format!("receiving failed with {}", errno_name(*errno)), *count))
    }
}

impl fmt::Display for DatagramSummary {
    /// The lines that follow the first one of a summary.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sent > 0 {
            write!(out, "\n  {:>9} answered", format_count(self.sent))?;
        }
        for (reason, count) in &self.dropped {
            write!(out, "\n  {:>9} dropped: {reason}", format_count(*count))?;
        }
        for (words, count) in self.failed_receives() {
            write!(out, "\n  {:>9} {words}", format_count(count))?;
        }
        Ok(())
    }
}
