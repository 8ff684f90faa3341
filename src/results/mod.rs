//! What a run of the load client was like, as it is kept in a file, and everything that is read out of one: the summary,
//! whether it is valid, thresholds, merging, comparing, a page to look at.
//!
//! A [`RunResults`] is the whole truth of a run: whoever has the file needs nothing else, neither the program's output nor the
//! machine. This room reads no clock and no file, so that the same record always gives the same text.
//!
//! Names of the JSON fields carry their units: `_s` seconds, `_ns` nanoseconds, `_bytes` bytes.

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
pub use html::page;
pub use latencies::{Latencies, Packed, format_latency};
pub use machine::Machine;
pub use merge::{MergeError, merge, time_apart};
pub use reply_check::ReplyCheck;
pub use settings::{Settings, in_plain_text};
pub(crate) use summary::wrap;
pub use summary::{TextReport, format_opening};
pub use threshold::{Judgement, Threshold, ThresholdError, Verdict};
pub use timestamp::Timestamp;
pub use validity::{Reason, validate};

use bounds::total;
use file::Format;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A run, from the command line to the last count. Fill what was measured, and call [`RunResults::settle`] at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunResults {
    /// Which kind of file this is, in which version; set by itself.
    pub format: Format,
    /// The program that measured, with its version: `multiconn-client 0.1.0`.
    pub program: String,
    /// How many clients' runs are merged in here; 1 for one as it was measured.
    pub runs: u64,
    /// A random text for each of them, by which a run is known again. Files of earlier versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounds::texts")]
    pub run_ids: Vec<String>,
    /// When the first connect began.
    pub started: Timestamp,
    /// From the first connect to the last close, in seconds.
    pub duration_s: f64,
    /// What was not measured at the beginning, in seconds. Nothing below counts it, except for the connections.
    pub warm_up_s: f64,
    /// The time in which the messages below were sent, in seconds. Rates are counted over it. Of open load it ends as planned:
    /// with the duration, or when the last message was due; if the client was behind, when that was sent. Of a closed one
    /// without a duration it ends with the last answer.
    pub measured_s: f64,
    /// Whether the run was ended before it was done.
    pub interrupted: bool,
    /// Whether what was measured is the server under the load that was asked for, and not the client's own limits; see
    /// [`validate`].
    pub valid: bool,
    /// Why it is not valid.
    #[serde(deserialize_with = "bounds::texts")]
    pub reasons: Vec<String>,
    /// What else a reader should know before believing the numbers.
    #[serde(deserialize_with = "bounds::texts")]
    pub hints: Vec<String>,
    /// Where the connections went.
    pub target: String,
    /// The complete configuration.
    pub configuration: Settings,
    /// The machine that the client ran on.
    pub environment: Machine,
    /// What kind of load it was.
    pub load: Load,
    /// What is known of the replies.
    #[serde(default)]
    pub reply_check: ReplyCheck,
    /// What became of the connections.
    pub connections: Connections,
    /// What became of the messages.
    pub messages: Messages,
    /// What else became of them; of datagrams only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datagrams: Option<Datagrams>,
    /// Bytes sent, and bytes of replies.
    pub bytes: Bytes,
    /// How often what went wrong, by the name of the cause: `connect_timeout`.
    #[serde(deserialize_with = "bounds::counts")]
    pub errors: BTreeMap<String, u64>,
    /// Where something else came back than was sent.
    pub mismatches: Mismatches,
    /// The CPU time that the client took; none where the system does not tell.
    pub cpu: Option<Cpu>,
    /// All the times that were measured.
    pub histograms: Histograms,
    /// What happened in each second of the measured time. Answers that came later are in the last of them.
    pub intervals: Vec<Interval>,
}

/// What kind of load a run was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Whether messages wait for replies or for the clock.
    pub kind: LoadKind,
    /// Messages asked for per second, over all connections; of open load only.
    pub rate: Option<f64>,
    /// How the messages are spread over time: `uniform` or `poisson`.
    pub arrivals: Option<String>,
    /// The seed of what is random.
    pub seed: Option<u64>,
    /// How long to go on, in seconds; none when a number of messages ends the run.
    pub duration_s: Option<f64>,
}

/// Whether messages wait for replies or for the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadKind {
    /// The next message goes out when a reply has come in: a slow server is asked less.
    #[default]
    Closed,
    /// Messages go out when they are due, however slow the server is.
    Open,
    /// No message goes out: what comes is read.
    Reading,
}

/// What became of the connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// How many were asked for.
    pub wanted: u64,
    /// How many were opened.
    pub opened: u64,
    /// The most that were open at the same time.
    pub most_open: u64,
    /// From the first connect to the last connection being open, in seconds; none when no connection was opened, and where
    /// connections are opened throughout the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening_s: Option<f64>,
    /// How many did all they were opened for.
    pub verified: u64,
    /// How many did not.
    pub failed: u64,
}

/// What became of the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// How many were due by the schedule; none without one.
    pub due: Option<u64>,
    /// How many were handed to the system, to the last byte.
    pub sent: u64,
    /// How many were due and not sent, or not whole, because the server left no room for them, or its connection was lost.
    #[serde(default)]
    pub withheld: u64,
    /// How many were answered; rightly, where [`RunResults::reply_check`] says that replies were compared. None where nothing tells
    /// where a reply ends.
    pub verified: u64,
    /// How many reads brought bytes, where nothing tells where a reply ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<u64>,
    /// How many were given up because the reply took too long. Their ages are in `unanswered_age`, as those of the next two.
    pub timed_out: u64,
    /// How many were unanswered when the run ended.
    pub pending: u64,
    /// How many were lost with their connection, or answered wrongly, or found none left.
    pub failed: u64,
    /// How many of all those were never sent, since no connection was there to take them.
    #[serde(default)]
    pub unconnected: u64,
}

/// What can happen to datagrams besides. It is no error by itself, and counted from the first one on, also in the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datagrams {
    /// Replies that came after their message had been given up.
    pub late: u64,
    /// Replies to messages that were answered before.
    pub duplicated: u64,
    /// Replies that a reply to a later message had overtaken (RFC 4737).
    pub reordered: u64,
}

/// Bytes of the messages, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Sent.
    pub sent: u64,
    /// Of replies; of those that were right, where replies were compared.
    pub verified: u64,
}

/// Where something else came back than was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatches {
    /// On how many connections.
    pub count: u64,
    /// The first of them in words.
    #[serde(deserialize_with = "bounds::texts")]
    pub first: Vec<String>,
}

/// The CPU time of the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// User and system time of the measured part, in seconds; without a duration or a rate up to the end of the run.
    pub seconds: f64,
    /// The same as a share of the time that the workers had: 1 when each was busy all the time.
    pub share: f64,
}

/// All the times that were measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histograms {
    /// From when a message was due to its whole reply: what a user would feel. Empty without a schedule.
    pub latency_from_due: Latencies,
    /// From handing a message to the system to its whole reply.
    pub latency_from_send: Latencies,
    /// From handing the first message of a connection to the system to the first bytes that came after it; only where nothing
    /// tells where a reply ends.
    #[serde(default)]
    pub first_byte: Latencies,
    /// The client's own lateness: from when a message was due to handing it to the system, without the time for which the
    /// server held it back.
    pub lag: Latencies,
    /// For how long the server held messages back, of those that had to wait for it: it owed as many answers as it may,
    /// took no more bytes, or there was no connection.
    #[serde(default)]
    pub held_back: Latencies,
    /// From the first SYN to the connection.
    pub connect: Latencies,
    /// From the connection to the end of the TLS handshake.
    pub handshake: Latencies,
    /// How long the client's loop took for a round of events.
    pub loop_turn: Latencies,
    /// How old those messages had become that were never answered.
    pub unanswered_age: Latencies,
}

/// What happened in one second; in the last interval, in half a second to one and a half.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// When it began, in seconds from the start of the run.
    pub start_s: f64,
    /// How long it was, in seconds.
    pub seconds: f64,
    /// Messages handed to the system.
    pub sent: u64,
    /// Replies, counted as [`Messages::verified`].
    pub replies: u64,
    /// Reads, counted as [`Messages::reads`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reads: u64,
    /// What went wrong.
    pub errors: u64,
    /// Connections open at its end.
    pub open: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes of replies, as [`Bytes::verified`].
    pub bytes_verified: u64,
    /// Times to the replies that came in: from when the message was due, or from its sending where there is no schedule.
    pub latency: Packed,
}

impl Histograms {
    /// Each with the name that a reader sees, in the order of the summary.
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

    /// Each of both with the name of its field, for merging.
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
    /// An empty record of `program`.
    #[must_use]
    pub fn of(program: &str) -> Self {
        Self { program: program.to_owned(), runs: 1, valid: true, ..Self::default() }
    }

    /// The latency that counts: from when a message was due or, where there was no schedule, from its sending.
    #[must_use]
    pub fn latency(&self) -> &Latencies {
        let due = &self.histograms.latency_from_due;
        if self.load.kind == LoadKind::Closed && due.is_empty() { &self.histograms.latency_from_send } else { due }
    }

    /// Replies per second; where they are not counted, messages sent per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let is_counted = self.reply_check.has_counts();
        per_second(if is_counted { self.messages.verified } else { self.messages.sent }, self.measured_s)
    }

    /// How often anything went wrong.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        total(self.errors.values().copied())
    }

    /// Whether any message was sent in the time that was measured, or answered; or whether none was to be sent.
    #[must_use]
    pub fn has_measured(&self) -> bool {
        self.load.kind == LoadKind::Reading || self.messages.sent > 0 || self.messages.verified > 0
    }

    /// Whether all went as asked.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let has_failed = self.error_count() > 0 || self.connections.verified < self.connections.wanted;
        !self.interrupted && !has_failed && self.has_measured()
    }

    /// What the messages went over: `TCP` (with TLS or without), `UDP` or `Unix sockets`.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        match (&self.datagrams, self.configuration.get("unix")) {
            (Some(_), _) => "UDP",
            (None, Some(_)) => "Unix sockets",
            (None, None) => "TCP",
        }
    }

    /// How many messages there were: those that were due or, without a schedule, whose fate is known.
    fn message_count(&self) -> u64 {
        let messages = &self.messages;
        let known = [messages.verified, messages.timed_out, messages.pending, messages.failed];
        messages.due.unwrap_or_else(|| total(known).max(messages.sent))
    }

    /// Judges the run: sets `valid`, `reasons` and `hints` from everything else.
    pub fn settle(&mut self) {
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

/// How many per second; 0 when there was no time.
#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests;
