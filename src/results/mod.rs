//! Results of a client run: the stored result file, summary, validity, thresholds, merging, comparing and the HTML
//! report.
//!
//! [`RunResults`] holds everything known about a run, so that neither the program's output nor the machine is needed
//! later. This module reads no clock and no file: equal results always give equal text.
//!
//! Names of JSON fields end with their units: `_s` seconds, `_ns` nanoseconds, `_bytes` bytes.

mod bootstrap;
mod bounds;
mod compare;
mod configuration;
mod csv;
mod file;
mod find_max;
mod hdr_files;
mod html;
mod intervals;
mod latencies;
mod lateness;
mod machine;
mod merge;
mod percentile_plot;
mod port_search;
mod precision;
mod receivers;
mod reply_check;
mod shard;
mod shard_check;
mod start;
mod statuses;
mod summary;
mod threshold;
mod timestamp;
mod validity;

pub use bounds::MAX_FILE_BYTES;
pub use compare::{Change, Comparison, compare};
pub use configuration::{Configuration, in_plain_text};
pub use csv::intervals_csv;
pub use file::{FORMAT, Format, ResultsError, recognize};
pub use find_max::{
    FindMax, JudgedSlice, MeasuredRate, Objective, ObjectiveError, Purpose, RateVerdict, SearchEnd, SliceCounts,
    SliceVerdict,
};
pub use hdr_files::{write_hdr_log, write_percentiles};
pub use html::{html_comparison, html_report};
pub use latencies::{Latencies, Packed, format_latency};
pub use lateness::Remedy;
pub use machine::Machine;
pub use merge::{MergeError, Merger, merge};
pub use percentile_plot::percentile_plot;
pub use port_search::PortSearch;
pub use precision::{Percentile, Precision, percentiles};
pub use receivers::{PeerReplies, Receivers};
pub use reply_check::ReplyCheck;
pub use shard::Shard;
pub use shard_check::ShardProblem;
pub use start::LoadStart;
pub use statuses::Statuses;
pub use summary::TextReport;
pub use threshold::{Threshold, ThresholdError, ThresholdResult, Verdict};
pub use timestamp::Timestamp;
pub use validity::{Reason, validate};

use bounds::total;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// All results of a run. Each worker of the client fills one; [`merge`] and the client add them. Everything else reads
/// them: text, files, HTML, thresholds and comparisons.
///
/// The names of the fields are the keys of the JSON format. `docs/results-format.md` lists them all, and a test compares
/// both. The aliases are the keys of version 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunResults {
    /// File format and version; set by default.
    pub format: Format,
    /// The measuring program with its version: `multiconn-client 0.1.0`.
    pub program: String,
    /// Number of merged runs; 1 for a single run.
    pub runs: u64,
    /// Random ids of the runs, which identify duplicates. Files of earlier versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounds::list")]
    pub run_ids: Vec<String>,
    /// When the first connect began.
    pub started: Timestamp,
    /// Time from the first connect to the last close, in seconds.
    pub duration_s: f64,
    /// Unmeasured time at the beginning, in seconds. Messages, bytes, intervals and latencies exclude it; connections,
    /// errors, mismatches and datagrams include it.
    pub warm_up_s: f64,
    /// Time in which the messages below were sent, in seconds; the base of all rates. An open loop ends as planned:
    /// after the duration, or when the last message was due, or sent if the client was late. A closed loop without a
    /// duration begins when the first connection is open, and ends with the last reply.
    pub measured_s: f64,
    /// Whether a signal ended the run early.
    pub interrupted: bool,
    /// The condition that ended the load before its time, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopCondition>,
    /// Whether the run measured the server rather than the client's own limits; see [`validate`].
    pub valid: bool,
    /// Why the run is not valid.
    #[serde(deserialize_with = "bounds::list")]
    pub reasons: Vec<String>,
    /// Notes for the interpretation of the numbers.
    #[serde(alias = "hints", deserialize_with = "bounds::list")]
    pub notes: Vec<String>,
    /// Targets of the connections; of version 1, one text.
    #[serde(alias = "target", deserialize_with = "bounds::targets")]
    pub targets: Vec<String>,
    /// The complete configuration.
    pub configuration: Configuration,
    /// The client's machine.
    #[serde(alias = "environment")]
    pub machine: Machine,
    /// The part of a load that several clients sent; none if a client sent all of it. Connections and messages requested
    /// are those of this part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// When the load began. Files of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<LoadStart>,
    /// Kind of load.
    pub load: Load,
    /// Where the arrival times of replies come from; none in files of earlier versions, which read the clock after each
    /// read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_timestamps: Option<ReceiveTimestamps>,
    /// How replies were checked.
    #[serde(default)]
    pub reply_check: ReplyCheck,
    /// Connection counts.
    pub connections: Connections,
    /// Message counts.
    pub messages: Messages,
    /// Further message counts of UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datagrams: Option<Datagrams>,
    /// HTTP responses by the class of their status; only of HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statuses: Option<Statuses>,
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
    /// Search for the highest rate, of which this run is the last confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find_max: Option<Box<FindMax>>,
    /// Correct replies of a `search` server, in the order of the requests; not stored in files.
    #[serde(skip)]
    pub search_replies: Vec<SearchReply>,
}

/// Arrival times of replies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReceiveTimestamps {
    /// Their source.
    pub source: TimestampSource,
    /// Number of replies without a usable kernel timestamp, for which the time of the read counts: the kernel gave none, or
    /// it was not between the send and the read, because a clock was set. 0 without kernel timestamps.
    pub missing: u64,
}

/// Source of the arrival times of replies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum TimestampSource {
    /// The kernel's receive timestamp of the last segment or datagram of a reply (`SO_TIMESTAMPNS`, socket(7)), where there
    /// is one: TCP without TLS, and UDP, on Linux.
    #[default]
    Kernel,
    /// The clock of this program, read after each read from a socket.
    User,
}

/// A condition that ended a load before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StopCondition {
    /// The threshold as typed: `p99>2ms`.
    pub expression: String,
    /// The second of the measured time in which it was crossed, counted from 1.
    pub second: u64,
    /// What was measured in that second: `p99 is 3.10 ms, which is > 2.00 ms`.
    pub measured: String,
}

/// Kind of load of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Load {
    /// Whether messages wait for replies or for the clock.
    pub kind: LoadKind,
    /// Requested messages per second over all connections; open loop only.
    pub rate: Option<f64>,
    /// Requested rate at the end of the duration, if the rate changes linearly over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp_to: Option<f64>,
    /// Arrival process: `uniform` or `poisson`.
    pub arrivals: Option<String>,
    /// Random seed.
    pub seed: Option<u64>,
    /// Requested duration in seconds; none if a number of messages ends the run.
    pub duration_s: Option<f64>,
}

/// Whether messages wait for replies or for the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LoadKind {
    /// Closed loop: the next message is sent after a reply, so a slow server receives fewer messages.
    #[default]
    #[serde(rename = "closed")]
    Closed,
    /// Open loop: messages are sent when they are due, however slow the server is.
    #[serde(rename = "open")]
    Open,
    /// No message is sent; the client only reads.
    #[serde(rename = "read_only", alias = "reading")]
    ReadOnly,
    /// The client forwards its input; messages are not counted.
    #[serde(rename = "interactive")]
    Interactive,
}

/// Connection counts; of UDP, counts of sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Connections {
    /// Connections requested.
    #[serde(alias = "wanted")]
    pub requested: u64,
    /// Connections opened.
    pub opened: u64,
    /// Maximum open at the same time.
    pub most_open: u64,
    /// Time from the first connect until the last connection was open, in seconds. None if no connection was opened, or
    /// if connections are opened throughout the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening_s: Option<f64>,
    /// Connections that completed their exchange. Of UDP, sockets of which every message was answered as expected.
    #[serde(alias = "verified")]
    pub completed: u64,
    /// Connections that failed.
    pub failed: u64,
    /// Connects that were tried again.
    #[serde(default)]
    pub retries: u64,
    /// Connects that were slow because most local ports were taken; none if they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_search: Option<PortSearch>,
}

/// Message counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Messages {
    /// Messages due by the schedule; none without a schedule.
    pub due: Option<u64>,
    /// Messages passed completely to the system.
    pub sent: u64,
    /// Messages that were due but not sent, or only partly sent, because the server left no room for them or closed the
    /// connection.
    #[serde(default, alias = "withheld")]
    pub unsent: u64,
    /// Messages with a reply; with a correct reply, if [`RunResults::reply_check`] says that replies were compared. 0
    /// if the end of a reply is unknown.
    #[serde(alias = "verified")]
    pub answered: u64,
    /// Reads that returned bytes, if the end of a reply is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<u64>,
    /// Messages given up after the reply timeout. These and the next three counts are the unanswered messages, with
    /// their ages in `unanswered_age`.
    pub timed_out: u64,
    /// Messages unanswered at the end of the run.
    pub pending: u64,
    /// Messages lost with their connection, or without a connection left.
    #[serde(alias = "failed")]
    pub lost: u64,
    /// Messages with a wrong reply.
    #[serde(default)]
    pub wrong: u64,
    /// Messages in `pending` or `lost` that were never sent, because no connection was open.
    #[serde(default, alias = "unconnected")]
    pub no_connection: u64,
}

/// Further counts of datagrams. They are not errors by themselves, and include the warm-up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Datagrams {
    /// Replies that arrived after their message was given up.
    pub late: u64,
    /// Further replies to messages already answered.
    pub duplicated: u64,
    /// Replies overtaken by a reply to a later message (RFC 4737).
    pub reordered: u64,
    /// Replies to multicasts and broadcasts by the address of the receiver; at most the first 4,096 of each worker.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "bounds::peers")]
    pub peers: BTreeMap<String, PeerReplies>,
    /// How many receivers answered each multicast or broadcast, if any did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receivers: Option<Receivers>,
}

/// Message bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bytes {
    /// Bytes sent.
    pub sent: u64,
    /// Bytes of replies; of correct replies, if replies were compared.
    #[serde(alias = "verified")]
    pub received: u64,
}

/// Replies that differ from the expected bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mismatches {
    /// Number of connections with a mismatch; of UDP, number of datagrams; of unexpected statuses or texts, number of
    /// replies.
    pub count: u64,
    /// Descriptions of the first ones.
    #[serde(deserialize_with = "bounds::list")]
    pub first: Vec<String>,
}

/// CPU time of the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cpu {
    /// User and system time of the measured part, in seconds. Without a duration or a rate it extends to the end of the
    /// run.
    pub seconds: f64,
    /// Share of the workers' time: 1 if each was busy all the time.
    pub share: f64,
    /// Time in which the workers were ready to run and waited for a CPU, in seconds (proc_pid_schedstat(5)).
    #[serde(default)]
    pub waiting_s: Option<f64>,
    /// Time in which the client's cgroup was throttled, in seconds (cgroups(7)). It and the steal begin with the run.
    #[serde(default)]
    pub throttled_s: Option<f64>,
    /// Time that the hypervisor took from all CPUs of the machine, in seconds (proc_stat(5)).
    #[serde(default)]
    pub steal_s: Option<f64>,
}

/// Histograms of all measured times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Histograms {
    /// Reported latency of a schedule: from the instant a message was due to the arrival of its complete reply, without
    /// the send delay. It is `blocked` plus the service time. Empty without a schedule.
    #[serde(alias = "latency_from_due")]
    pub response_time: Latencies,
    /// From passing a message to the system to the arrival of its complete reply; see [`ReceiveTimestamps`]. It includes
    /// the client's time from reading the clock to writing the message: at most that for one buffer of messages.
    #[serde(alias = "latency_from_send")]
    pub service_time: Latencies,
    /// What this client added to each message: send delay plus receive delay. Not part of the response and service
    /// times. Without a schedule, the receive delay.
    #[serde(default)]
    pub client_delay: Latencies,
    /// Upper bound of the response time: from the instant a message was due until its complete reply was read. Empty
    /// without a schedule.
    #[serde(default)]
    pub ceiling: Latencies,
    /// Lower bound of the response time: without what the lateness of this client may have added. Empty without a
    /// schedule.
    #[serde(default)]
    pub floor: Latencies,
    /// From sending the first message of a connection to the first bytes received after it; only if the end of a reply
    /// is unknown.
    #[serde(default)]
    pub first_byte: Latencies,
    /// Lateness of the client: from the instant a message was due to passing it to the system, without the time in
    /// which the server blocked it. Empty without a schedule.
    #[serde(alias = "lag")]
    pub send_delay: Latencies,
    /// Lateness of the client: from the arrival of a complete reply until it was read. Empty without kernel timestamps.
    #[serde(default)]
    pub receive_delay: Latencies,
    /// Time in which the server blocked a message, for messages that had to wait: the pipeline was full, the socket
    /// accepted no bytes, or there was no connection.
    #[serde(default, alias = "held_back")]
    pub blocked: Latencies,
    /// From the first SYN to the connection.
    pub connect: Latencies,
    /// From the connection to the end of the TLS handshake.
    pub handshake: Latencies,
    /// Duration of one round of the client's event loop, without waiting.
    #[serde(alias = "loop_turn")]
    pub loop_round: Latencies,
    /// Age of the [unanswered](Messages::unanswered) messages.
    pub unanswered_age: Latencies,
}

/// Counts of one second; the last interval is half a second to one and a half seconds long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Interval {
    /// Start, in seconds since the start of the measured time; of merged runs, since the start of the first run.
    pub start_s: f64,
    /// Length, in seconds.
    pub seconds: f64,
    /// Messages passed to the system.
    pub sent: u64,
    /// Replies, counted like [`Messages::answered`].
    #[serde(alias = "replies")]
    pub answered: u64,
    /// Reads, counted like [`Messages::reads`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reads: u64,
    /// Errors.
    pub errors: u64,
    /// Connections open at its end.
    pub open: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes of replies, counted like [`Bytes::received`].
    #[serde(alias = "bytes_verified")]
    pub bytes_received: u64,
    /// Response time of the replies received; without a schedule, service time.
    pub latency: Packed,
}

/// The correct reply to a request of the message protocol. Its `Display` is that of the tutorial's client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchReply {
    /// Number of the request, counted from 0.
    pub request: usize,
    /// The reply: text as is, bytes as Python shows them.
    pub text: String,
    /// Whether it was bytes.
    pub is_binary: bool,
    /// How often it arrived.
    pub count: u64,
}

impl Load {
    /// Number of messages that the rate requires in the first `seconds` of the measured time; none without a rate.
    #[must_use]
    pub fn required(&self, seconds: f64) -> Option<f64> {
        let rate = self.rate?;
        let Some((to, duration_s)) = self.ramp_to.zip(self.duration_s.filter(|duration_s| *duration_s > 0.0)) else {
            return Some(rate * seconds);
        };
        // Of a ramp, the mean of its rates at both ends of that time; after it, the last rate.
        let ramp_s = seconds.min(duration_s);
        Some((rate + (to - rate) * ramp_s / duration_s / 2.0) * ramp_s + to * (seconds - ramp_s))
    }
}

impl Load {
    /// The requested rate after `seconds` of the measured time; none without a rate.
    #[must_use]
    pub fn rate_at(&self, seconds: f64) -> Option<f64> {
        let rate = self.rate?;
        let share =
            self.duration_s.filter(|duration_s| *duration_s > 0.0).map(|duration_s| (seconds / duration_s).min(1.0));
        Some(rate + self.ramp_to.zip(share).map_or(0.0, |(to, share)| (to - rate) * share))
    }
}

impl fmt::Display for StopCondition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expression, second, measured } = self;
        write!(out, "{expression} ended the load in second {second}: {measured}")
    }
}

impl Messages {
    /// Number of messages without a correct reply: timed out, pending, lost or wrong.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        total([self.timed_out, self.pending, self.lost, self.wrong])
    }
}

impl Histograms {
    /// The histograms with their names in reports, in the order of the summary.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &Latencies); 13] {
        [
            ("response time", &self.response_time),
            ("service time", &self.service_time),
            ("client delay", &self.client_delay),
            ("ceiling", &self.ceiling),
            ("floor", &self.floor),
            ("first byte", &self.first_byte),
            ("connect", &self.connect),
            ("handshake", &self.handshake),
            ("send delay", &self.send_delay),
            ("receive delay", &self.receive_delay),
            ("blocked", &self.blocked),
            ("loop round", &self.loop_round),
            ("unanswered", &self.unanswered_age),
        ]
    }

    /// Clears the times of messages and of the event loop; those of connections stay.
    pub(crate) fn clear_messages(&mut self) {
        let Self {
            connect: _,
            handshake: _,
            response_time,
            service_time,
            client_delay,
            ceiling,
            floor,
            first_byte,
            send_delay,
            receive_delay,
            blocked,
            loop_round,
            unanswered_age,
        } = self;
        let of_replies = [response_time, service_time, client_delay, ceiling, floor, first_byte];
        let others = [send_delay, receive_delay, blocked, loop_round, unanswered_age];
        // A histogram takes 270 KB: clearing empty ones would delay the first message.
        of_replies.into_iter().chain(others).filter(|times| !times.is_empty()).for_each(Latencies::clear);
    }

    /// Pairs of equal histograms with their field names, for merging.
    fn pairs<'a>(&'a mut self, other: &'a Self) -> [(&'static str, &'a mut Latencies, &'a Latencies); 13] {
        [
            ("response_time", &mut self.response_time, &other.response_time),
            ("service_time", &mut self.service_time, &other.service_time),
            ("client_delay", &mut self.client_delay, &other.client_delay),
            ("ceiling", &mut self.ceiling, &other.ceiling),
            ("floor", &mut self.floor, &other.floor),
            ("first_byte", &mut self.first_byte, &other.first_byte),
            ("send_delay", &mut self.send_delay, &other.send_delay),
            ("receive_delay", &mut self.receive_delay, &other.receive_delay),
            ("blocked", &mut self.blocked, &other.blocked),
            ("connect", &mut self.connect, &other.connect),
            ("handshake", &mut self.handshake, &other.handshake),
            ("loop_round", &mut self.loop_round, &other.loop_round),
            ("unanswered_age", &mut self.unanswered_age, &other.unanswered_age),
        ]
    }
}

impl LoadKind {
    fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed loops",
            Self::Open => "open loops",
            Self::ReadOnly => "read-only connections",
            Self::Interactive => "interactive runs",
        }
    }
}

impl RunResults {
    /// Empty results of `program`.
    #[must_use]
    pub fn of(program: &str) -> Self {
        Self { program: program.to_owned(), runs: 1, valid: true, ..Self::default() }
    }

    /// The reported latency: the response time or, without a schedule, the service time.
    #[must_use]
    pub fn latency(&self) -> &Latencies {
        let Histograms { response_time, service_time, .. } = &self.histograms;
        if self.has_response_time() { response_time } else { service_time }
    }

    /// Whether the reported latency is the response time.
    fn has_response_time(&self) -> bool {
        self.load.kind != LoadKind::Closed || !self.histograms.response_time.is_empty()
    }

    /// Replies per second; messages sent per second if replies are not counted. What came after the measured time is
    /// not included.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let (sent, answered) = self.after_load.as_ref().map_or((0, 0), |after| (after.sent, after.answered));
        let is_counted = self.reply_check.has_counts();
        let (all, later) = if is_counted { (self.messages.answered, answered) } else { (self.messages.sent, sent) };
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
        let has_messages = matches!(self.load.kind, LoadKind::Closed | LoadKind::Open);
        !has_messages || self.messages.sent > 0 || self.messages.answered > 0
    }

    /// Whether the run was complete, and every connection got what it expected. Of UDP, a failed receive call alone is
    /// no failure, and neither are duplicates and reordering.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let has_errors = self.datagrams.is_none() && self.error_count() > 0;
        let is_whole = self.connections.completed >= self.connections.requested;
        !self.interrupted && !has_errors && is_whole && self.has_measured()
    }

    /// Whether the run was a load test: a schedule, a duration or an instant for its start was given.
    #[must_use]
    pub fn is_load(&self) -> bool {
        let has_start = self.start.is_some_and(|start| start.requested.is_some());
        self.load.kind == LoadKind::Open || self.load.duration_s.is_some() || has_start
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
        messages.due.unwrap_or_else(|| total([messages.answered, messages.unanswered()]).max(messages.sent))
    }

    /// Validates the run: sets `valid`, `reasons` and `notes` from the other fields.
    pub fn finalize(&mut self) {
        let (reasons, notes): (Vec<_>, Vec<_>) = validate(self).into_iter().partition(Reason::invalidates);
        self.valid = reasons.is_empty();
        let in_words = |reason: &Reason| {
            let what_helps = if reason.is_client_limited() { self.what_helps() } else { String::new() };
            format!("{reason}{what_helps}")
        };
        (self.reasons, self.notes) = (reasons.iter().map(in_words).collect(), notes.iter().map(in_words).collect());
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
