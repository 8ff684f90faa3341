//! Summary of what a server, or one of its workers, has done, over TCP and UDP.

use super::admission::Refusal;
use crate::connection::CloseReason;
use crate::error::errno_name;
use crate::service::UpstreamCounts;
use crate::units::{format_count, format_counted, format_duration, format_size};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Totals of a run; displayed as the last lines of a server's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
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
    /// Totals of outgoing connections.
    pub outgoing: OutgoingSummary,
    /// Counts of each upstream of a proxy.
    pub upstreams: Vec<UpstreamCounts>,
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
        if !self.outgoing.is_empty() {
            totals.extend(self.outgoing.parts());
        }
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
        add_counts(&mut self.closed, &other.closed);
        for (refusal, count) in &other.refused {
            *self.refused.entry(*refusal).or_default() += count;
        }
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.outgoing.add(&other.outgoing);
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
        write!(out, "{}", self.outgoing)?;
        for upstream in &self.upstreams {
            let (opened, failed) = (format_count(upstream.opened), format_count(upstream.failed));
            write!(out, "\n  {opened:>9} to upstream {}, {failed} failed", upstream.endpoint)?;
        }
        write!(out, "{}", self.datagrams)
    }
}

/// Totals of a server's [outgoing](crate::service::Context::connect) connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutgoingSummary {
    /// Connections established, with their TLS handshake.
    pub opened: u64,
    /// Connections that could not be established or were abandoned before, by reason.
    pub failed: BTreeMap<CloseReason, u64>,
    /// Established connections that were closed, by reason.
    pub closed: BTreeMap<CloseReason, u64>,
}

impl OutgoingSummary {
    /// Whether all totals are zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        add_counts(&mut self.failed, &other.failed);
        add_counts(&mut self.closed, &other.closed);
    }

    /// The totals, each with its reasons.
    fn parts(&self) -> [String; 3] {
        let words = |counts: &BTreeMap<CloseReason, u64>| {
            counts.iter().map(|(reason, count)| (reason.to_string(), *count)).collect::<Vec<_>>().into_iter()
        };
        [
            format!("{} outgoing opened", format_count(self.opened)),
            with_breakdown("outgoing closed", words(&self.closed)),
            with_breakdown("outgoing failed", words(&self.failed)),
        ]
    }
}

impl fmt::Display for OutgoingSummary {
    /// The lines that follow the first one of a summary.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        write!(out, "\n  {:>9} outgoing connections", format_count(self.opened))?;
        for (reason, count) in &self.closed {
            write!(out, "\n  {:>9} outgoing: {reason}", format_count(*count))?;
        }
        for (reason, count) in &self.failed {
            write!(out, "\n  {:>9} outgoing failed: {reason}", format_count(*count))?;
        }
        Ok(())
    }
}

fn add_counts(counts: &mut BTreeMap<CloseReason, u64>, others: &BTreeMap<CloseReason, u64>) {
    for (reason, count) in others {
        *counts.entry(*reason).or_default() += count;
    }
}

/// Why a datagram got no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DropReason {
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

impl DropReason {
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

    /// Stable name for scripts and metrics, such as `rate_limited` or `send_eperm`.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NotAllowed => "not_allowed",
            Self::WouldLoop => "would_loop",
            Self::RateLimited => "rate_limited",
            Self::ReplyTooLong => "reply_too_long",
            Self::QueueFull => "receive_queue_full",
            Self::SendBufferFull => "send_buffer_full",
            Self::Panicked => "service_panicked",
            Self::Failed(errno) => return Cow::Owned(format!("send_{}", errno_name(errno).to_lowercase())),
        })
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => out.write_str("the address is not allowed"),
            Self::WouldLoop => out.write_str("the reply could start a loop"),
            Self::RateLimited => out.write_str("the source is over the rate limit"),
            Self::ReplyTooLong => out.write_str("the reply would be longer than the request"),
            Self::QueueFull => out.write_str("receive queue full"),
            Self::SendBufferFull => out.write_str("send buffer full"),
            Self::Panicked => out.write_str("the service panicked"),
            Self::Failed(errno) => write!(out, "sending failed with {}", errno_name(*errno)),
        }
    }
}

/// UDP totals of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramSummary {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent in reply.
    pub sent: u64,
    /// Datagrams that were not answered, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Failed receive calls, by error number (errno(3)); 0 if the error had none.
    pub receive_errors: BTreeMap<i32, u64>,
}

impl DatagramSummary {
    /// Whether all totals are zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.sent += other.sent;
        for (reason, count) in &other.dropped {
            *self.dropped.entry(*reason).or_default() += count;
        }
        for (errno, count) in &other.receive_errors {
            *self.receive_errors.entry(*errno).or_default() += count;
        }
    }

    /// The totals in one line, such as "5 datagrams, 3 answered (2 dropped: send buffer full)".
    pub(super) fn one_line(&self) -> String {
        let dropped = self.dropped.iter().map(|(why, count)| format!("{} dropped: {why}", format_count(*count)));
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
