//! UDP counters of a worker, and their totals.

use crate::counter::{Counter, Tally};
use crate::error::errno_name;
use crate::units::{format_count, format_counted};
use std::collections::BTreeMap;
use std::fmt;
use std::io;

/// Why a datagram was not answered although the service has, or would have had, a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dropped {
    /// The source address is in none of the allowed ranges.
    NotAllowed,
    /// The reply could start a loop, or has no possible receiver. The source port is one of this server or of a service
    /// that answers any datagram, or the datagram has already passed through several servers.
    WouldLoop,
    /// The source has exceeded the rate limit.
    RateLimited,
    /// The reply would be longer than allowed; see
    /// [`DatagramConfig::longest_reply`](super::DatagramConfig::longest_reply).
    ReplyTooLong,
    /// The server was too slow: the socket's receive queue was full, and the kernel dropped the datagram.
    QueueFull,
    /// The network was too slow: the socket's send buffer was full.
    SendBufferFull,
    /// The responder panicked.
    Panicked,
    /// The reply could not be sent; the value is the error number (errno(3)).
    Failed(i32),
}

impl Dropped {
    /// The reasons that every server counts.
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
            Self::WouldLoop => out.write_str("the reply could start a loop"),
            Self::RateLimited => out.write_str("the source is over the rate limit"),
            Self::ReplyTooLong => out.write_str("the reply would be longer than the request"),
            Self::QueueFull => out.write_str("the receive queue was full"),
            Self::SendBufferFull => out.write_str("the send buffer was full"),
            Self::Panicked => out.write_str("the service panicked"),
            Self::Failed(errno) => write!(out, "sending failed with {}", errno_name(*errno)),
        }
    }
}

/// The UDP counters of one worker.
#[derive(Debug)]
pub(in crate::server) struct DatagramCounters {
    /// Datagrams received.
    pub(in crate::server) received: Counter,
    /// Datagrams sent in reply.
    pub(in crate::server) sent: Counter,
    /// Datagrams that the kernel dropped because the receive queue was full.
    pub(super) overrun: Counter,
    dropped: Tally<Dropped>,
    /// Failed receive calls, by error number (errno(3)); 0 if the error had none.
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

    /// The number of datagrams dropped for `reason`.
    pub(super) fn dropped_for(&self, reason: Dropped) -> u64 {
        self.dropped.get(reason)
    }

    /// Counts a failed receive call.
    pub(super) fn receive_failed(&self, error: &io::Error) {
        self.receive_errors.add(error.raw_os_error().unwrap_or_default());
    }

    /// Failed receive calls, by error number.
    pub(in crate::server) fn receive_errors(&self) -> impl Iterator<Item = (i32, u64)> {
        self.receive_errors.counts()
    }

    /// Dropped datagrams by reason, including reasons with a count of zero.
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

/// UDP totals of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatagramSummary {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent in reply.
    pub sent: u64,
    /// Datagrams that were not answered, by reason.
    pub dropped: BTreeMap<Dropped, u64>,
    /// Failed receive calls, by error number (errno(3)); 0 if the error had none.
    pub receive_errors: BTreeMap<i32, u64>,
}

impl DatagramSummary {
    /// Whether all totals are zero.
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

    /// The totals in one line, such as "5 datagrams, 3 answered (2 the send buffer was full)".
    pub(in crate::server) fn one_line(&self) -> String {
        let dropped = self.dropped.iter().map(|(why, count)| format!("{} {why}", format_count(*count)));
        let failed = self.failed_receives().map(|(words, count)| format!("{} {words}", format_count(count)));
        let parts: Vec<_> = dropped.chain(failed).collect();
        let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        format!("{}, {} answered{parts}", format_counted(self.received, "datagram"), format_count(self.sent))
    }

    /// Failed receive calls, described for display.
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
