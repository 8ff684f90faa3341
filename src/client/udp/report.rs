//! Report of a UDP client run: a value for library users, and its text.

use crate::client::machine::run_id;
use crate::client::report::{failed_targets, per_second, target_list, write_percentiles};
use crate::client::{ClientConfig, Expect, Failure, LoadConfig, Measurements};
use crate::error::in_words_with_errno;
use crate::python_repr::BytesRepr;
use crate::results::write_failed_target;
use crate::units::{format_count, format_counted, format_duration, format_rate};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Maximum number of corrupt replies that are kept; all are counted.
pub(in crate::client) const MAX_CORRUPT_KEPT: usize = 10;

/// Maximum number of bytes shown of a corrupt reply.
const SHOWN_BYTES: usize = 32;

/// A reply that matches no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptReply {
    /// Number of the socket, counted from 1.
    pub socket: u64,
    /// Length of the reply, in bytes.
    pub len: usize,
    /// Its first bytes.
    pub received: Vec<u8>,
}

impl CorruptReply {
    pub(in crate::client) fn new(socket: u64, received: &[u8]) -> Self {
        Self { socket, len: received.len(), received: received[..received.len().min(SHOWN_BYTES)].to_vec() }
    }
}

impl fmt::Display for CorruptReply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.len > self.received.len() { "…" } else { "" };
        let length = format_counted(self.len as u64, "byte");
        write!(out, "socket {}: received {}{more} ({length})", self.socket, BytesRepr(&self.received))
    }
}

/// Results of a UDP client run. Each message sent is verified, lost, refused, undelivered, or answered by a corrupt
/// reply.
#[derive(Debug, Clone)]
pub struct DatagramReport {
    /// Random identifier of the run.
    pub run_id: String,
    /// Targets of the datagrams, as given by the user.
    pub targets: Vec<String>,
    /// Number of sockets requested.
    pub wanted: usize,
    /// Number of workers.
    pub workers: usize,
    /// Number of messages to send; `None` where a duration ended the run.
    pub wanted_messages: Option<u64>,
    /// Expected replies.
    pub expect: Expect,
    /// Reply timeout.
    pub reply_timeout: Duration,
    /// Number of sockets opened.
    pub opened: u64,
    /// Number of sockets that could not be opened or used, by cause.
    pub failed: BTreeMap<Failure, u64>,
    /// Number of those sockets per target.
    pub failed_by_target: Vec<u64>,
    /// Messages sent.
    pub sent: u64,
    /// Messages that could not be sent, by cause.
    pub not_sent: BTreeMap<Failure, u64>,
    /// Messages answered correctly and in time.
    pub verified: u64,
    /// Messages without a reply within the reply timeout.
    pub lost: u64,
    /// Lost messages whose reply arrived later.
    pub late: u64,
    /// Messages refused because nothing listened there, as reported by the system (ICMP, RFC 1122, section 4.1.3.3).
    pub refused: u64,
    /// Messages not delivered for another reason reported by the system, by cause.
    pub undelivered: BTreeMap<Failure, u64>,
    /// Failed receive calls, by error number (errno(3)); 0 for an error without one.
    pub receive_errors: BTreeMap<i32, u64>,
    /// Replies to messages that were already answered.
    pub duplicated: u64,
    /// Replies that arrived after the reply to a later message (RFC 4737).
    pub reordered: u64,
    /// Replies that match no message.
    pub corrupt: u64,
    /// The first of those.
    pub corrupt_replies: Vec<CorruptReply>,
    /// Peers that answered a broadcast or multicast.
    pub peers: BTreeSet<SocketAddr>,
    /// Payload bytes sent, without headers.
    pub sent_bytes: u64,
    /// Payload bytes of correct replies.
    pub verified_bytes: u64,
    /// Time from the start until the last message was sent, answered or lost.
    pub elapsed: Duration,
    /// Latencies, counts and intervals of the messages.
    pub measured: Measurements,
    /// Load configuration of the run.
    pub load: LoadConfig,
    /// Whether the run was stopped before it was complete.
    pub interrupted: bool,
}

impl DatagramReport {
    pub(in crate::client) fn empty(config: &ClientConfig, messages: usize, interrupted: bool) -> Self {
        let wanted_messages = config.total_messages(messages).saturating_mul(config.connections as u64);
        Self {
            run_id: run_id(),
            targets: config.targets.iter().map(ToString::to_string).collect(),
            wanted: config.connections,
            workers: config.workers,
            wanted_messages: config.load.duration.is_none().then_some(wanted_messages),
            expect: config.expect,
            reply_timeout: config.reply_timeout,
            opened: 0,
            failed: BTreeMap::new(),
            failed_by_target: vec![0; config.targets.len()],
            sent: 0,
            not_sent: BTreeMap::new(),
            verified: 0,
            lost: 0,
            late: 0,
            refused: 0,
            undelivered: BTreeMap::new(),
            receive_errors: BTreeMap::new(),
            duplicated: 0,
            reordered: 0,
            corrupt: 0,
            corrupt_replies: Vec::new(),
            peers: BTreeSet::new(),
            sent_bytes: 0,
            verified_bytes: 0,
            elapsed: Duration::ZERO,
            measured: Measurements::default(),
            load: config.load.clone(),
            interrupted,
        }
    }

    /// Whether the run was complete, every message was answered, and no reply was corrupt. Duplicates and reordering
    /// are normal for UDP and do not count as failures.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let is_whole = self.done() == self.wanted_messages.unwrap_or(self.sent);
        let has_failed = self.corrupt > 0 || !self.failed.is_empty() || !self.not_sent.is_empty();
        !self.interrupted && is_whole && !has_failed
    }

    /// Messages answered per second, or sent per second where no reply was expected.
    #[must_use]
    pub fn messages_per_second(&self) -> f64 {
        let after = &self.measured.after_load;
        let later = if self.expect == Expect::Nothing { after.sent } else { after.replies };
        per_second(self.done() - later, self.load.warm_up + self.measured.span)
    }
}

impl fmt::Display for DatagramReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = format_count;
        let verdict = match (self.interrupted, self.is_success(), self.expect) {
            (true, ..) => "interrupted",
            (_, false, _) => "something failed",
            (_, _, Expect::Echo) => "every datagram came back as it was sent",
            (_, _, Expect::Any) => "every datagram was answered",
            (_, _, Expect::Nothing | Expect::ReadOnly) => "every datagram was sent",
        };
        let done = if self.expect == Expect::Echo { "echoed and verified" } else { "answered" };
        writeln!(
            out,
            "{} to {} (udp): {verdict}",
            format_counted(self.wanted as u64, "socket"),
            target_list(&self.targets)
        )?;
        let failed = self.failed.values().sum();
        writeln!(out, "  sockets      {} opened, {} failed", count(self.opened), count(failed))?;
        for (failure, number) in &self.failed {
            writeln!(out, "               {:>9} {failure}", count(*number))?;
        }
        self.failed_targets().try_for_each(|(target, failed)| write_failed_target(out, target, failed))?;
        let (sent, verified, rate) = (count(self.sent), count(self.verified), format_rate(self.messages_per_second()));
        writeln!(out, "  datagrams    {sent} sent, {verified} {done}, {rate}")?;
        self.write_failures(out)?;
        writeln!(out, "  bytes        {} sent, {} {done}", count(self.sent_bytes), count(self.verified_bytes))?;
        writeln!(out, "  time         {}", format_duration(self.elapsed))?;
        writeln!(out, "  {:<12}{:>10}{:>10}{:>10}{:>10}{:>10}", "latency", "p50", "p90", "p99", "p99.9", "max")?;
        write_percentiles(out, "round trip", &self.measured.from_send)
    }
}

impl DatagramReport {
    /// Each of several targets with its number of failed sockets; empty if no socket failed.
    pub(in crate::client) fn failed_targets(&self) -> impl Iterator<Item = (&str, u64)> {
        failed_targets(&self.targets, &self.failed_by_target)
    }

    /// Number of messages that were answered, or sent where no reply was expected.
    fn done(&self) -> u64 {
        if self.expect == Expect::Nothing { self.sent } else { self.verified }
    }

    /// Writes one line per kind of failure that occurred, and always the number of lost messages.
    fn write_failures(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = format_count;
        for (failure, number) in &self.not_sent {
            writeln!(out, "  not sent     {}: {failure}", count(*number))?;
        }
        for (failure, number) in &self.undelivered {
            writeln!(out, "  undelivered  {}: {failure}", count(*number))?;
        }
        for (errno, number) in &self.receive_errors {
            let words = in_words_with_errno(&io::Error::from_raw_os_error(*errno));
            writeln!(out, "  not received {} failures: {words}", count(*number))?;
        }
        if self.expect != Expect::Nothing {
            write!(out, "  lost         {}", count(self.lost))?;
            if self.lost > 0 {
                write!(out, ": no reply within {}", format_duration(self.reply_timeout))?;
            }
            writeln!(out)?;
        }
        for (label, number, words) in [
            ("late", self.late, ": a reply to a lost one"),
            ("refused", self.refused, ": nothing listens there"),
            ("duplicated", self.duplicated, ""),
            ("reordered", self.reordered, ""),
            ("corrupt", self.corrupt, ""),
        ] {
            if number > 0 {
                writeln!(out, "  {label:<12} {}{words}", count(number))?;
            }
        }
        for reply in &self.corrupt_replies {
            writeln!(out, "    {reply}")?;
        }
        if !self.peers.is_empty() {
            let peers: Vec<_> = self.peers.iter().take(4).map(ToString::to_string).collect();
            let more = if self.peers.len() > peers.len() { ", …" } else { "" };
            let number = format_counted(self.peers.len() as u64, "peer");
            writeln!(out, "  answered by  {number}: {}{more}", peers.join(", "))?;
        }
        Ok(())
    }
}
