//! What a run was like: the value that a library user gets, and the text that a person reads.

use super::{DatagramClientConfig, Expect};
use crate::client::machine::run_id;
use crate::client::report::{per_second, place, write_percentiles};
use crate::client::{Failure, LoadConfig, Measurements};
use crate::error::in_words_with_errno;
use crate::python_repr::BytesRepr;
use crate::units::{format_count, format_counted, format_duration, format_rate};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How many bytes of a strange reply are shown.
const SHOWN_BYTES: usize = 32;

/// A reply that no message asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strange {
    /// The number of the socket, counted from 1.
    pub socket: u64,
    /// How long the reply was, in bytes.
    pub len: usize,
    /// Its first bytes.
    pub received: Vec<u8>,
}

impl Strange {
    pub(super) fn new(socket: u64, received: &[u8]) -> Self {
        Self { socket, len: received.len(), received: received[..received.len().min(SHOWN_BYTES)].to_vec() }
    }
}

impl fmt::Display for Strange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.len > self.received.len() { "…" } else { "" };
        let length = format_counted(self.len as u64, "byte");
        write!(out, "socket {}: received {}{more} ({length})", self.socket, BytesRepr(&self.received))
    }
}

/// What a run was like. Each message that was sent is verified, lost, refused, undelivered, or answered with something corrupt.
#[derive(Debug, Clone)]
pub struct DatagramReport {
    /// A random text by which the run is known again.
    pub run_id: String,
    /// Where the datagrams went, as the user named the places.
    pub targets: Vec<String>,
    /// How many sockets were wanted.
    pub wanted: usize,
    /// How many workers there were.
    pub workers: usize,
    /// How many messages should have been sent; none where time ended the run.
    pub wanted_messages: Option<u64>,
    /// What counted as a reply.
    pub expect: Expect,
    /// How long a reply was waited for.
    pub reply_timeout: Duration,
    /// How many sockets were opened.
    pub opened: u64,
    /// How many sockets could not be opened, or used, by cause.
    pub failed: BTreeMap<Failure, u64>,
    /// Messages sent.
    pub sent: u64,
    /// Messages that could not be sent, by cause.
    pub not_sent: BTreeMap<Failure, u64>,
    /// Messages that were answered in time and as expected.
    pub verified: u64,
    /// Messages for which no reply came in time.
    pub lost: u64,
    /// Lost messages for which a reply came later.
    pub late: u64,
    /// Messages at a time when nobody listened there, as the system was told (ICMP, RFC 1122, section 4.1.3.3).
    pub refused: u64,
    /// Messages that did not get there for another reason, as the system was told, by cause.
    pub undelivered: BTreeMap<Failure, u64>,
    /// Attempts to receive that failed, by the number of the error (errno(3)); 0 where there was none.
    pub receive_errors: BTreeMap<i32, u64>,
    /// Replies to messages that were answered before.
    pub duplicated: u64,
    /// Replies that a reply to a later message had overtaken (RFC 4737).
    pub reordered: u64,
    /// Replies that no message asked for.
    pub corrupt: u64,
    /// The first of those.
    pub strange: Vec<Strange>,
    /// Those who answered a broadcast or a multicast.
    pub peers: BTreeSet<SocketAddr>,
    /// Bytes sent, in bytes, without the headers.
    pub sent_bytes: u64,
    /// Bytes of the right replies, in bytes.
    pub verified_bytes: u64,
    /// From the first message to the fate of the last one.
    pub elapsed: Duration,
    /// What was measured of the messages.
    pub measured: Measurements,
    /// The load that was asked for.
    pub load: LoadConfig,
    /// Whether the run was ended before it was done.
    pub interrupted: bool,
}

impl DatagramReport {
    pub(super) fn empty(config: &DatagramClientConfig, interrupted: bool) -> Self {
        Self {
            run_id: run_id(),
            targets: config.targets.iter().map(ToString::to_string).collect(),
            wanted: config.sockets,
            workers: config.busy_workers(),
            wanted_messages: config.wanted_messages(),
            expect: config.expect,
            reply_timeout: config.reply_timeout,
            opened: 0,
            failed: BTreeMap::new(),
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
            strange: Vec::new(),
            peers: BTreeSet::new(),
            sent_bytes: 0,
            verified_bytes: 0,
            elapsed: Duration::ZERO,
            measured: Measurements::default(),
            load: config.load.clone(),
            interrupted,
        }
    }

    /// Whether all went as asked: every message was answered, and nothing else came than answers. That some came twice or
    /// in another order is in the nature of datagrams.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let is_whole = self.done() == self.wanted_messages.unwrap_or(self.sent);
        let has_failed = self.corrupt > 0 || !self.failed.is_empty() || !self.not_sent.is_empty();
        !self.interrupted && is_whole && !has_failed
    }

    /// How many messages were answered, or sent where no answer was expected, per second.
    #[must_use]
    pub fn messages_per_second(&self) -> f64 {
        per_second(self.done(), self.load.warm_up + self.measured.span)
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
        writeln!(out, "{} to {} (udp): {verdict}", format_counted(self.wanted as u64, "socket"), place(&self.targets))?;
        let failed = self.failed.values().sum();
        writeln!(out, "  sockets      {} opened, {} failed", count(self.opened), count(failed))?;
        for (failure, number) in &self.failed {
            writeln!(out, "               {:>9} {failure}", count(*number))?;
        }
        let (sent, verified, rate) = (count(self.sent), count(self.verified), format_rate(self.messages_per_second()));
        writeln!(out, "  datagrams    {sent} sent, {verified} {done}, {rate}")?;
        self.write_fates(out)?;
        writeln!(out, "  bytes        {} sent, {} {done}", count(self.sent_bytes), count(self.verified_bytes))?;
        writeln!(out, "  time         {}", format_duration(self.elapsed))?;
        writeln!(out, "  {:<12}{:>10}{:>10}{:>10}{:>10}{:>10}", "latency", "p50", "p90", "p99", "p99.9", "max")?;
        write_percentiles(out, "round trip", self.measured.from_send.histogram())
    }
}

impl DatagramReport {
    /// How many messages have done what they were sent for.
    fn done(&self) -> u64 {
        if self.expect == Expect::Nothing { self.sent } else { self.verified }
    }

    /// What did not go as it should; one line for each that occurred, but always how many were lost.
    fn write_fates(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        for strange in &self.strange {
            writeln!(out, "    {strange}")?;
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
