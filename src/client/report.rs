//! Report of a client run: a value for library users, and its text.

use super::{Expect, Failure, LoadConfig, Measurements};
use crate::escape;
use crate::python_repr::BytesRepr;
use crate::results::{Latencies, Reason, ReplyCheck, format_latency, format_opening, wrap, write_failed_target};
use crate::service::search::Response;
use crate::units::{format_count, format_counted, format_duration, format_rate};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Maximum length of a quoted text, in characters.
const SHOWN_CHARACTERS: usize = 60;
/// Beginning of a TLS server's reply to plain text: a record of type 21 and version 3.x (RFC 8446, section 5.1).
const TLS_ALERT: [u8; 2] = [21, 3];

/// Maximum number of targets in the first line of the report.
const NAMED_TARGETS: usize = 3;

/// Echo mismatch: the first difference between sent and received bytes of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Number of the connection, counted from 1.
    pub connection: usize,
    /// Number of correct bytes received before, over the whole connection.
    pub offset: u64,
    /// The first expected bytes; empty if none were expected.
    pub expected: Vec<u8>,
    /// The first received bytes.
    pub received: Vec<u8>,
    /// Number of bytes received after everything sent had come back; 0 when other bytes were expected.
    pub surplus_bytes: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, received) = (BytesRepr(&self.expected), BytesRepr(&self.received));
        write!(out, "connection {}, byte {}: ", self.connection, self.offset)?;
        if self.surplus_bytes > 0 {
            let surplus = format_counted(self.surplus_bytes as u64, "byte");
            write!(out, "received {surplus} more than it sent: {received}")?;
        } else {
            write!(out, "expected {expected}, received {received}")?;
        }
        if self.received.starts_with(&TLS_ALERT) {
            out.write_str(" (a TLS alert: the server expects TLS, see --tls)")?;
        }
        Ok(())
    }
}

/// An invalid or wrong reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongAnswer {
    /// Number of the connection, counted from 1.
    pub connection: usize,
    /// Number of the reply on that connection, counted from 1.
    pub answer: u64,
    /// Description of the error.
    pub words: String,
}

impl fmt::Display for WrongAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "connection {}, answer {}: {}", self.connection, self.answer, self.words)
    }
}

/// Truncates a long text.
pub(super) fn abbreviated(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Results of a client run.
#[derive(Debug, Clone)]
pub struct Report {
    /// Random identifier of the run.
    pub run_id: String,
    /// Targets of the connections, as given by the user.
    pub targets: Vec<String>,
    /// Expected replies.
    pub expect: Expect,
    /// How replies were checked.
    pub reply_check: ReplyCheck,
    /// Number of connections requested.
    pub wanted: usize,
    /// Number of workers.
    pub workers: usize,
    /// Number of connections opened.
    pub opened: u64,
    /// Maximum number of connections open at the same time.
    pub most_open: u64,
    /// Time from the first connect until the last connection was open. `None` when no connection was opened, and where
    /// connections are opened throughout the run ([`LoadConfig::reconnect_every`]).
    pub opening: Option<Duration>,
    /// Number of connections that got all expected replies.
    pub verified: u64,
    /// Number of failed connections, by cause.
    pub failed: BTreeMap<Failure, u64>,
    /// Number of failed connections per target.
    pub failed_by_target: Vec<u64>,
    /// Number of connect retries.
    pub retries: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages answered, and correctly where replies are compared; 0 where the end of a reply is unknown.
    pub messages_verified: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes of correct replies; where replies are only counted, of all replies.
    pub bytes_verified: u64,
    /// Number of connections with an echo mismatch.
    pub mismatch_count: u64,
    /// The first mismatches.
    pub mismatches: Vec<Mismatch>,
    /// Whether the messages were requests of the message protocol.
    pub asked: bool,
    /// The correct replies to them in the order of the requests, with the index of the request and the number of times
    /// each arrived.
    pub answers: Vec<(usize, Response, u64)>,
    /// The first wrong replies.
    pub wrong_answers: Vec<WrongAnswer>,
    /// Time from the first connect to the last close.
    pub elapsed: Duration,
    /// Connect times, in nanoseconds.
    pub connect: Latencies,
    /// TLS handshake times after the connect, in nanoseconds; empty without TLS.
    pub handshake: Latencies,
    /// Latencies, counts and intervals of the messages.
    pub measured: Measurements,
    /// Load configuration of the run.
    pub load: LoadConfig,
    /// Whether the run was stopped before it was complete.
    pub interrupted: bool,
}

impl Report {
    /// Whether the run was complete and every connection got all expected replies.
    #[must_use]
    pub fn is_success(&self) -> bool {
        !self.interrupted && self.verified == self.wanted as u64
    }

    /// Messages answered per second, and correctly where replies are compared; messages sent per second when no reply
    /// was expected. The time is that in which messages were sent, without holding and closing connections. Later
    /// replies are not counted.
    #[must_use]
    pub fn messages_per_second(&self) -> f64 {
        let after = &self.measured.after_load;
        let done = if self.reply_check.has_counts() {
            self.messages_verified - after.replies
        } else {
            self.messages_sent - after.sent
        };
        per_second(done, self.load.warm_up + self.measured.span)
    }

    /// Each of several targets with its number of failed connections; empty if no connection failed.
    pub(super) fn failed_targets(&self) -> impl Iterator<Item = (&str, u64)> {
        failed_targets(&self.targets, &self.failed_by_target)
    }

    /// Total number of failed connections.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = format_count;
        self.write_answers(out)?;
        let verdict = match (self.interrupted, self.is_success()) {
            (true, _) => "interrupted",
            (false, true) => self.texts().0,
            (false, false) => "something failed",
        };
        writeln!(
            out,
            "{} to {}: {verdict}",
            format_counted(self.wanted as u64, "connection"),
            target_list(&self.targets)
        )?;
        let (opened, most, failed) = (count(self.opened), count(self.most_open), count(self.failures()));
        writeln!(out, "  connections  {opened} opened, {most} at the same time, {failed} failed")?;
        for (failure, number) in &self.failed {
            writeln!(out, "               {:>9} {failure}", count(*number))?;
        }
        self.write_connecting(out)?;
        let (sent, verified) = (count(self.messages_sent), count(self.messages_verified));
        let rate = format_rate(self.messages_per_second());
        let (_, messages, bytes) = self.texts();
        if self.reply_check == ReplyCheck::Unframed {
            let reads: u64 = self.measured.all_intervals().map(|second| second.reads).sum();
            writeln!(out, "  messages     {sent} sent, {rate}\n  reads        {}", count(reads))?;
        } else {
            writeln!(out, "  messages     {sent} sent, {verified} {messages}, {rate}")?;
        }
        let (sent, verified) = (count(self.bytes_sent), count(self.bytes_verified));
        writeln!(out, "  bytes        {sent} sent, {verified} {bytes}")?;
        self.write_mismatches(out)?;
        self.write_wrong_answers(out)?;
        writeln!(out, "  time         {}", format_duration(self.elapsed))?;
        if self.reply_check == ReplyCheck::Unframed {
            wrap(out, "  note         ", &Reason::Unframed.to_string())?;
        }
        writeln!(out, "  {:<12}{:>10}{:>10}{:>10}{:>10}{:>10}", "latency", "p50", "p90", "p99", "p99.9", "max")?;
        write_percentiles(out, "connect", &self.connect)?;
        writeln!(out)?;
        if !self.handshake.is_empty() {
            write_percentiles(out, "handshake", &self.handshake)?;
            writeln!(out)?;
        }
        match self.reply_check {
            ReplyCheck::Unframed => write_percentiles(out, "first byte", &self.measured.first_byte),
            _ => write_percentiles(out, "round trip", &self.measured.from_send),
        }
    }
}

impl Report {
    fn write_answers(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (_, answer, number) in &self.answers {
            match number {
                1 => writeln!(out, "{}", escape::line(answer))?,
                _ => writeln!(out, "{} ({} times)", escape::line(answer), format_count(*number))?,
            }
        }
        Ok(())
    }

    /// Texts of the report: verdict on success, and what happened to messages and to bytes.
    fn texts(&self) -> (&'static str, &'static str, &'static str) {
        match self.expect {
            _ if self.asked && self.reply_check == ReplyCheck::Counted => {
                ("every message was answered", "answered", "received")
            }
            _ if self.asked => ("every answer was right", "answered and verified", "received and verified"),
            Expect::Echo => ("every byte came back as it was sent", "echoed and verified", "echoed and verified"),
            Expect::Any if self.reply_check == ReplyCheck::Unframed => {
                ("bytes came back on every connection", "answered", "received")
            }
            Expect::Any => ("every message was answered", "answered", "received"),
            Expect::ReadOnly => ("nothing was sent; everything received was read", "answered", "received"),
            Expect::Nothing => ("everything was sent, and the server closed in order", "answered", "received"),
        }
    }

    fn write_connecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(opening) = format_opening(self.opened, self.opening) {
            writeln!(out, "  opening      {opening}")?;
        }
        if self.retries > 0 {
            writeln!(out, "  retries      {}", format_count(self.retries))?;
        }
        self.failed_targets().try_for_each(|(target, failed)| write_failed_target(out, target, failed))
    }

    fn write_wrong_answers(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let causes = [Failure::WrongAnswer, Failure::BadFrame, Failure::CutFrame];
        let number: u64 = causes.iter().filter_map(|cause| self.failed.get(cause)).sum();
        if number > 0 {
            writeln!(out, "  wrong answers {}", format_count(number))?;
        }
        self.wrong_answers.iter().try_for_each(|wrong| writeln!(out, "    {}", escape::line(wrong)))
    }

    fn write_mismatches(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mismatch_count == 0 {
            return Ok(());
        }
        writeln!(out, "  mismatches   {}", format_count(self.mismatch_count))?;
        for mismatch in &self.mismatches {
            writeln!(out, "    {mismatch}")?;
        }
        Ok(())
    }
}

/// Rate per second; 0 when `span` is zero.
#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
pub(super) fn per_second(count: u64, span: Duration) -> f64 {
    if span.is_zero() { 0.0 } else { count as f64 / span.as_secs_f64() }
}

/// Each of several targets with its number of failures; empty without failures.
pub(super) fn failed_targets<'a>(targets: &'a [String], failed: &'a [u64]) -> impl Iterator<Item = (&'a str, u64)> {
    let is_reported = targets.len() > 1 && failed.iter().any(|count| *count > 0);
    targets.iter().map(String::as_str).zip(failed.iter().copied()).filter(move |_| is_reported)
}

/// Names the targets, the first ones if there are many.
pub(super) fn target_list(targets: &[String]) -> String {
    let named = match targets.split_at_checked(NAMED_TARGETS) {
        Some((named, rest)) if !rest.is_empty() => format!("{} and {} more", named.join(", "), rest.len()),
        _ => targets.join(", "),
    };
    escape::line(named).to_string()
}

pub(super) fn write_percentiles(out: &mut fmt::Formatter<'_>, name: &str, times: &Latencies) -> fmt::Result {
    write!(out, "    {name:<10}")?;
    if times.is_empty() {
        return write!(out, "{:>10}", "none");
    }
    let times = [0.5, 0.9, 0.99, 0.999, 1.0].into_iter().filter_map(|quantile| times.at(quantile));
    times.into_iter().try_for_each(|time| write!(out, "{:>10}", format_latency(time)))
}
