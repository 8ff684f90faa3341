//! Results of a client run: the stored result file, summary, validity, thresholds, merging, comparing and the HTML
//! report.
//!
//! [`RunResults`] holds everything known about a run, so that neither the program's output nor the machine is needed
//! later. This module reads no clock and no file: equal results always give equal text.
//!
//! Names of JSON fields end with their units: `_s` seconds, `_ns` nanoseconds, `_bytes` bytes.

mod bounds;
mod compare;
mod file;
mod hdr_files;
mod html;
mod latencies;
mod machine;
mod merge;
mod reply_check;
mod settings;
mod summary;
mod threshold;
mod timestamp;
mod validity;

pub use bounds::MAX_FILE_BYTES;
pub use compare::{Change, Comparison, compare};
pub use file::{FORMAT, ResultsError, recognize};
pub use hdr_files::{write_hdr_log, write_percentiles};
pub use html::html_page;
pub use latencies::{Latencies, Packed, format_latency};
pub use machine::Machine;
pub use merge::{MergeError, merge, overlap_warning};
pub use reply_check::ReplyCheck;
pub use settings::{Settings, in_plain_text};
pub(crate) use summary::wrap;
pub(crate) use summary::write_failed_target;
pub use summary::{TextReport, format_opening};
pub use threshold::{Judgement, Threshold, ThresholdError, Verdict};
pub use timestamp::Timestamp;
pub use validity::{Reason, validate};

use bounds::total;
use file::Format;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All results of a run. Fill in the measured fields, then call [`RunResults::finalize`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunResults {
    /// File format and version; set by default.
    pub format: Format,
    /// The measuring program with its version: `multiconn-client 0.1.0`.
    pub program: String,
    /// Number of merged runs; 1 for a single run.
    pub runs: u64,
    /// Random ids of the runs, which identify duplicates. Files of earlier versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounds::texts")]
    pub run_ids: Vec<String>,
    /// When the first connect began.
    pub started: Timestamp,
    /// Time from the first connect to the last close, in seconds.
    pub duration_s: f64,
    /// Unmeasured time at the beginning, in seconds. The counts below exclude it, except those of connections.
    pub warm_up_s: f64,
    /// Time in which the messages below were sent, in seconds; the base of all rates. Open load ends as planned: after
    /// the duration, or when the last message was due, or sent if the client was late. Closed load without a duration
    /// begins when the first connection is usable, and ends with the last reply.
    pub measured_s: f64,
    /// Whether a signal ended the run early.
    pub interrupted: bool,
    /// Whether the run measured the server rather than the client's own limits; see [`validate`].
    pub valid: bool,
    /// Why the run is not valid.
    #[serde(deserialize_with = "bounds::texts")]
    pub reasons: Vec<String>,
    /// Hints for the interpretation of the numbers.
    #[serde(deserialize_with = "bounds::texts")]
    pub hints: Vec<String>,
    /// Targets of the connections.
    pub target: String,
    /// The complete configuration.
    pub configuration: Settings,
    /// The client's machine.
    pub environment: Machine,
    /// Kind of load.
    pub load: Load,
    /// What is known about the replies.
    #[serde(default)]
    pub reply_check: ReplyCheck,
    /// Connection counts.
    pub connections: Connections,
    /// Message counts.
    pub messages: Messages,
    /// Further message counts of UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datagrams: Option<Datagrams>,
    /// Bytes sent and received.
    pub bytes: Bytes,
    /// Number of errors by cause, such as `connect_timeout`.
    #[serde(deserialize_with = "bounds::counts")]
    pub errors: BTreeMap<String, u64>,
    /// Number of failed connections per target, if there are several targets and any connection failed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "bounds::counts")]
    pub failed_by_target: BTreeMap<String, u64>,
    /// Replies that differ from the expected bytes.
    pub mismatches: Mismatches,
    /// CPU time of the client; none if the system does not report it.
    pub cpu: Option<Cpu>,
    /// Histograms of all measured times.
    pub histograms: Histograms,
    /// Counts per second of the measured time.
    pub intervals: Vec<Interval>,
    /// Counts after the measured time, such as replies to messages still in flight. The rate and the intervals exclude
    /// them; all other figures include them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_load: Option<Interval>,
}

/// Kind of load of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Whether messages wait for replies or for the clock.
    pub kind: LoadKind,
    /// Requested messages per second over all connections; open load only.
    pub rate: Option<f64>,
    /// Arrival process: `uniform` or `poisson`.
    pub arrivals: Option<String>,
    /// Random seed.
    pub seed: Option<u64>,
    /// Requested duration in seconds; none if a number of messages ends the run.
    pub duration_s: Option<f64>,
}

/// Whether messages wait for replies or for the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadKind {
    /// Closed loop: the next message is sent after a reply, so a slow server receives fewer messages.
    #[default]
    Closed,
    /// Open loop: messages are sent when they are due, however slow the server is.
    Open,
    /// No message is sent; the client only reads.
    Reading,
}

/// Connection counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// Connections requested.
    pub wanted: u64,
    /// Connections opened.
    pub opened: u64,
    /// Maximum open at the same time.
    pub most_open: u64,
    /// Time from the first connect until the last connection was open, in seconds. None if no connection was opened, or
    /// if connections are opened throughout the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening_s: Option<f64>,
    /// Connections that completed their exchange.
    pub verified: u64,
    /// Connections that failed.
    pub failed: u64,
}

/// Message counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// Messages due by the schedule; none without a schedule.
    pub due: Option<u64>,
    /// Messages passed completely to the system.
    pub sent: u64,
    /// Messages that were due but not sent, or only partly sent, because the server left no room for them or closed the
    /// connection.
    #[serde(default)]
    pub withheld: u64,
    /// Messages with a reply; with a correct reply, if [`RunResults::reply_check`] says that replies were compared. 0
    /// if the end of a reply is unknown.
    pub verified: u64,
    /// Reads that returned bytes, if the end of a reply is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<u64>,
    /// Messages given up after the reply timeout. `unanswered_age` holds the ages of these and of the next two.
    pub timed_out: u64,
    /// Messages unanswered at the end of the run.
    pub pending: u64,
    /// Messages lost with their connection, answered incorrectly, or without a connection left.
    pub failed: u64,
    /// Those of the three counts above that were never sent, because no connection was open.
    #[serde(default)]
    pub unconnected: u64,
}

/// Further counts of datagrams. They are not errors by themselves, and include the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datagrams {
    /// Replies that arrived after their message was given up.
    pub late: u64,
    /// Further replies to messages already answered.
    pub duplicated: u64,
    /// Replies overtaken by a reply to a later message (RFC 4737).
    pub reordered: u64,
}

/// Message bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Bytes sent.
    pub sent: u64,
    /// Bytes of replies; of correct replies, if replies were compared.
    pub verified: u64,
}

/// Replies that differ from the expected bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatches {
    /// Number of connections with a mismatch.
    pub count: u64,
    /// Descriptions of the first ones.
    #[serde(deserialize_with = "bounds::texts")]
    pub first: Vec<String>,
}

/// CPU time of the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// User and system time of the measured part, in seconds. Without a duration or a rate it extends to the end of the
    /// run.
    pub seconds: f64,
    /// Share of the workers' time: 1 if each was busy all the time.
    pub share: f64,
}

/// Histograms of all measured times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histograms {
    /// Response time: from the instant a message was due to its complete reply. Empty without a schedule.
    pub latency_from_due: Latencies,
    /// Service time: from passing a message to the system to its complete reply.
    pub latency_from_send: Latencies,
    /// Time from sending the first message of a connection to the first bytes received after it; only if the end of a
    /// reply is unknown.
    #[serde(default)]
    pub first_byte: Latencies,
    /// Lateness of the client: from the instant a message was due to passing it to the system, without the time in
    /// which the server blocked it.
    pub lag: Latencies,
    /// Time in which the server blocked a message, for messages that had to wait: the pipeline was full, the socket
    /// accepted no bytes, or there was no connection.
    #[serde(default)]
    pub held_back: Latencies,
    /// Time from the first SYN to the connection.
    pub connect: Latencies,
    /// Time from the connection to the end of the TLS handshake.
    pub handshake: Latencies,
    /// Time that the client's loop took for one batch of events.
    pub loop_turn: Latencies,
    /// Age of messages that were never answered.
    pub unanswered_age: Latencies,
}

/// Counts of one second; the last interval is half a second to one and a half seconds long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Start, in seconds since the start of the run.
    pub start_s: f64,
    /// Length, in seconds.
    pub seconds: f64,
    /// Messages passed to the system.
    pub sent: u64,
    /// Replies, counted like [`Messages::verified`].
    pub replies: u64,
    /// Reads, counted like [`Messages::reads`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reads: u64,
    /// Errors.
    pub errors: u64,
    /// Connections open at its end.
    pub open: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes of replies, counted like [`Bytes::verified`].
    pub bytes_verified: u64,
    /// Latency of the replies received: from due, or from send without a schedule.
    pub latency: Packed,
}

impl Interval {
    /// Whether any count is above 0.
    pub(crate) fn has_counts(&self) -> bool {
        [self.sent, self.replies, self.reads, self.errors, self.bytes_sent, self.bytes_verified] != [0; 6]
    }
}

impl Histograms {
    /// The histograms with their names in reports, in the order of the summary.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &Latencies); 9] {
        [
            ("from due", &self.latency_from_due),
            ("from send", &self.latency_from_send),
            ("first byte", &self.first_byte),
            ("connect", &self.connect),
            ("handshake", &self.handshake),
            ("client lag", &self.lag),
            ("held back", &self.held_back),
            ("loop turn", &self.loop_turn),
            ("unanswered", &self.unanswered_age),
        ]
    }

    /// Pairs of equal histograms with their field names, for merging.
    fn pairs<'a>(&'a mut self, other: &'a Self) -> [(&'static str, &'a mut Latencies, &'a Latencies); 9] {
        [
            ("latency_from_due", &mut self.latency_from_due, &other.latency_from_due),
            ("latency_from_send", &mut self.latency_from_send, &other.latency_from_send),
            ("first_byte", &mut self.first_byte, &other.first_byte),
            ("lag", &mut self.lag, &other.lag),
            ("held_back", &mut self.held_back, &other.held_back),
            ("connect", &mut self.connect, &other.connect),
            ("handshake", &mut self.handshake, &other.handshake),
            ("loop_turn", &mut self.loop_turn, &other.loop_turn),
            ("unanswered_age", &mut self.unanswered_age, &other.unanswered_age),
        ]
    }
}

impl LoadKind {
    fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed load",
            Self::Open => "open load",
            Self::Reading => "connections that only read",
        }
    }
}

impl RunResults {
    /// Empty results of `program`.
    #[must_use]
    pub fn of(program: &str) -> Self {
        Self { program: program.to_owned(), runs: 1, valid: true, ..Self::default() }
    }

    /// The reported latency: from due, or from send without a schedule.
    #[must_use]
    pub fn latency(&self) -> &Latencies {
        let due = &self.histograms.latency_from_due;
        if self.load.kind == LoadKind::Closed && due.is_empty() { &self.histograms.latency_from_send } else { due }
    }

    /// Replies per second; messages sent per second if replies are not counted. What came after the measured time is
    /// not included.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let (sent, replies) = self.after_load.as_ref().map_or((0, 0), |after| (after.sent, after.replies));
        let is_counted = self.reply_check.has_counts();
        let (all, later) = if is_counted { (self.messages.verified, replies) } else { (self.messages.sent, sent) };
        per_second(all.saturating_sub(later), self.measured_s)
    }

    /// Total number of errors.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        total(self.errors.values().copied())
    }

    /// Whether any message was sent or answered in the measured time, or none was to be sent.
    #[must_use]
    pub fn has_measured(&self) -> bool {
        self.load.kind == LoadKind::Reading || self.messages.sent > 0 || self.messages.verified > 0
    }

    /// Whether the run completed without errors.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let has_failed = self.error_count() > 0 || self.connections.verified < self.connections.wanted;
        !self.interrupted && !has_failed && self.has_measured()
    }

    /// Transport of the messages: `TCP` (also with TLS), `UDP` or `Unix sockets`.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        match (&self.datagrams, self.configuration.get("unix")) {
            (Some(_), _) => "UDP",
            (None, Some(_)) => "Unix sockets",
            (None, None) => "TCP",
        }
    }

    /// Number of messages: those due or, without a schedule, those with a known outcome.
    fn message_count(&self) -> u64 {
        let messages = &self.messages;
        let known = [messages.verified, messages.timed_out, messages.pending, messages.failed];
        messages.due.unwrap_or_else(|| total(known).max(messages.sent))
    }

    /// Validates the run: sets `valid`, `reasons` and `hints` from the other fields.
    pub fn finalize(&mut self) {
        let (reasons, hints): (Vec<_>, Vec<_>) = validate(self).into_iter().partition(Reason::invalidates);
        self.valid = reasons.is_empty();
        self.reasons = reasons.iter().map(ToString::to_string).collect();
        self.hints = hints.iter().map(ToString::to_string).collect();
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Rate per second; 0 without time.
#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests;
