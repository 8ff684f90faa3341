//! What is counted of datagrams: by a worker while it runs, and in all when it has ended.

use crate::counter::{Counter, Tally};
use crate::server::errno::errno_name;
use crate::units::{format_count, format_counted};
use std::collections::BTreeMap;
use std::fmt;

/// Why a datagram was not answered although there was, or would have been, an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dropped {
    /// The address of the sender is in none of the ranges that are let in.
    NotAllowed,
    /// It claims to come from a service that would answer the answer, or from nobody.
    WouldLoop,
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
    pub(super) const OWN: [Self; 5] =
        [Self::NotAllowed, Self::WouldLoop, Self::QueueFull, Self::SendBufferFull, Self::Panicked];
}

impl fmt::Display for Dropped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => out.write_str("the address is not allowed"),
            Self::WouldLoop => out.write_str("the answer would be answered"),
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
}

impl Default for DatagramCounters {
    fn default() -> Self {
        let (received, sent, overrun) = (Counter::default(), Counter::default(), Counter::default());
        Self { received, sent, overrun, dropped: Tally::of(&Dropped::OWN) }
    }
}

impl DatagramCounters {
    pub(super) fn drop(&self, reason: Dropped) {
        self.dropped.add(reason);
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
    }

    /// All in a few words, such as "5 datagrams, 3 answered (2 the send buffer was full)".
    pub(in crate::server) fn in_words(&self) -> String {
        let dropped: Vec<_> =
            self.dropped.iter().map(|(why, count)| format!("{} {why}", format_count(*count))).collect();
        let dropped = if dropped.is_empty() { String::new() } else { format!(" ({})", dropped.join(", ")) };
        format!("{}, {} answered{dropped}", format_counted(self.received, "datagram"), format_count(self.sent))
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
        Ok(())
    }
}
