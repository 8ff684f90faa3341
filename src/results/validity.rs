//! Validity of a run: whether it measured the server or the client's own limits.
//!
//! A client that sends fewer messages than requested does not measure the requested load. The report must say so before
//! any number. See G. Tene, "How NOT to Measure Latency", on coordinated omission. How far a client that was merely late
//! may have moved a percentile is a matter of its [precision](super::precision).

use super::precision::NEGLIGIBLE;
use super::{Connections, Load, LoadKind, ReplyCheck, RunResults, Timestamp};
use crate::units::{format_count, format_counted, format_duration};
use std::fmt;
use std::time::Duration;

/// Maximum share of messages that may be missing.
pub(super) const MAX_MISSING: f64 = 0.01;

/// Allowed deviation of a Poisson process from its mean, in standard deviations: 3 are exceeded once in 370 runs.
const DEVIATIONS: f64 = 3.0;

/// The same for a run that kept its own schedule, message by message: exceeded once in 1.7 million runs.
const MAX_DEVIATIONS: f64 = 5.0;

/// Why a run has no replies and no latencies.
pub(super) const UNFRAMED: &str = "the end of a reply is unknown: replies and their latencies are not measured, only \
                                   the first bytes on each connection; give a framing or a reply size";

/// A reason why a run says less about the server than it seems to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The client had no CPU time left, and even the median may come from that.
    Saturated {
        /// Share of the workers' time in which they were busy.
        share: f64,
    },
    /// The client sent fewer messages than its schedule had due.
    Schedule {
        /// Messages due.
        due: u64,
        /// Messages sent.
        sent: u64,
    },
    /// The client sent more or fewer messages than the rate requires.
    BelowRate {
        /// Messages that the rate requires in the measured time.
        requested: u64,
        /// Measured time.
        measured: Duration,
        /// Messages sent.
        sent: u64,
    },
    /// The server accepted fewer messages than were due. A note: the numbers are correct, but the load is not the
    /// requested one.
    Unsent {
        /// Messages that were due but not sent, or only partly sent, because the server left no room for them or closed
        /// the connection.
        messages: u64,
    },
    /// A connection was not open at the instant that was requested for the start of the load.
    MissedStart {
        /// That instant.
        requested: Timestamp,
        /// Connections that were not open.
        missing: u64,
        /// Connections requested.
        connections: u64,
    },
    /// All connections failed before the end.
    EndedEarly {
        /// Connections opened.
        opened: u64,
        /// Measured time.
        measured: Duration,
        /// Requested duration.
        requested: Duration,
        /// Messages that would have become due in the remaining time, if there is a schedule.
        missed: Option<u64>,
    },
    /// No connection was open for a part of the schedule. A note, like `Unsent`.
    NoConnection {
        /// Messages due.
        due: u64,
        /// Messages without a connection.
        messages: u64,
    },
    /// The end of a reply is unknown. A note.
    Unframed,
    /// Latencies beyond the maximum of a histogram. A note.
    OverRange {
        /// Number of messages.
        messages: u64,
    },
    /// The client had no CPU time left. A note: the numbers may be correct.
    CpuBusy {
        /// Share of the workers' time in which they were busy.
        share: f64,
    },
}

/// Reasons and notes that limit the meaning of a run's results; empty without any.
#[must_use]
pub fn validate(results: &RunResults) -> Vec<Reason> {
    let reasons =
        [below_schedule(results), missed_start(results), ended_early(results), unsent(results), no_connection(results)];
    let unframed = (results.reply_check == ReplyCheck::Unframed).then_some(Reason::Unframed);
    reasons.into_iter().chain([unframed, over_range(results), saturated(results)]).flatten().collect()
}

impl Reason {
    /// Whether the reason invalidates the run; otherwise it is a note.
    #[must_use]
    pub fn invalidates(&self) -> bool {
        let is_note = matches!(
            self,
            Self::Unsent { .. }
                | Self::NoConnection { .. }
                | Self::Unframed
                | Self::OverRange { .. }
                | Self::CpuBusy { .. }
        );
        !is_note
    }

    /// Whether a more punctual client would not have it.
    pub(super) fn is_client_limited(&self) -> bool {
        matches!(self, Self::Schedule { .. } | Self::BelowRate { .. } | Self::Saturated { .. } | Self::CpuBusy { .. })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Saturated { share } => {
                let share = share * 100.0;
                write!(out, "client-limited: its CPU was at {share:.0} %, and its delays may explain even the median")
            }
            Self::Schedule { due, sent } => {
                let (due, sent) = (format_count(*due), format_count(*sent));
                write!(
                    out,
                    "client-limited: it missed the schedule by more than 1 %; {sent} of {due} due messages sent"
                )
            }
            Self::BelowRate { requested, measured, sent } => {
                let (requested, sent) = (format_count(*requested), format_counted(*sent, "message"));
                let measured = format_duration(*measured);
                write!(
                    out,
                    "client-limited: it missed the schedule by more than 1 %; it sent {sent} in {measured}, and the rate \
                     requires {requested}"
                )
            }
            Self::Unsent { messages } => {
                let messages = format_counted(*messages, "message");
                write!(out, "{messages} not sent, or only in part: the server left no room or closed the connection")
            }
            Self::MissedStart { requested, missing, connections } => {
                let (missing, connections) = (format_count(*missing), format_counted(*connections, "connection"));
                write!(out, "the load did not begin at {requested}: {missing} of {connections} not open")
            }
            Self::EndedEarly { opened, measured, requested, missed } => {
                let (measured, requested) = (format_duration(*measured), format_duration(*requested));
                if *opened > 0 {
                    write!(out, "the load ended early, after {measured} of {requested}: every connection had failed")?;
                } else {
                    write!(out, "the load never began: no connection could be opened")?;
                }
                missed.iter().try_for_each(|missed| {
                    write!(out, "; about {} messages of the schedule never became due", format_count(*missed))
                })
            }
            Self::NoConnection { due, messages } => {
                let (due, messages) = (format_count(*due), format_count(*messages));
                write!(out, "no connection was open for {messages} of {due} due messages")
            }
            Self::Unframed => out.write_str(UNFRAMED),
            Self::OverRange { messages } => {
                write!(out, "{} took an hour or longer, counted as 1 h", format_counted(*messages, "message"))
            }
            Self::CpuBusy { share } => {
                write!(out, "client CPU at {:.0} %", share * 100.0)
            }
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of messages"
)]
fn below_schedule(results: &RunResults) -> Option<Reason> {
    // A client without CPU time left reads replies late, and cannot tell whether the server blocked its messages.
    let unsent = if results.is_saturated() { 0 } else { results.messages.unsent };
    // Messages without a connection are not the client's lateness either.
    let excused = unsent.saturating_add(results.messages.no_connection);
    let sent = results.messages.sent;
    let is_missed = |due: f64, allowed: f64| (due - sent.saturating_add(excused) as f64).abs() > allowed;
    if let Some(due) = results.messages.due.filter(|due| is_missed(*due as f64, *due as f64 * MAX_MISSING)) {
        return Some(Reason::Schedule { due, sent });
    }
    let (requested, _) = required(results).filter(|(requested, allowed)| is_missed(*requested, *allowed))?;
    let measured = Duration::try_from_secs_f64(results.measured_s).unwrap_or_default();
    Some(Reason::BelowRate { requested: requested.round() as u64, measured, sent })
}

/// The number of messages that the rate requires in the measured time, and the allowed deviation. This check is needed
/// because the client's own schedule may differ from the requested rate.
fn required(results: &RunResults) -> Option<(f64, f64)> {
    let Load { kind: LoadKind::Open, arrivals, .. } = &results.load else { return None };
    let due = results.load.required(results.measured_s)?;
    // Merged runs need not overlap, workers notice an early end one after the other, and an interrupted run is a
    // different matter.
    let is_whole = results.runs <= 1 && results.stop.is_none() && !results.interrupted && !have_all_failed(results);
    if results.messages.due.is_some() && !is_whole {
        return None;
    }
    let deviations = if results.messages.due.is_some() { MAX_DEVIATIONS } else { DEVIATIONS };
    let chance = if arrivals.as_deref() == Some("poisson") { deviations * due.sqrt() } else { 1.0 };
    Some((due, (due * MAX_MISSING).max(chance)))
}

fn unsent(results: &RunResults) -> Option<Reason> {
    let messages = results.messages.unsent;
    (messages > 0).then_some(Reason::Unsent { messages })
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of messages"
)]
fn ended_early(results: &RunResults) -> Option<Reason> {
    if missed_start(results).is_some() {
        return None;
    }
    let (load, connections) = (&results.load, &results.connections);
    let requested = load.duration_s?;
    let rest = if connections.opened > 0 { requested - results.measured_s } else { requested };
    let is_early = have_all_failed(results) && !results.interrupted && rest > 0.0;
    is_early.then(|| Reason::EndedEarly {
        opened: connections.opened,
        measured: Duration::try_from_secs_f64(results.measured_s).unwrap_or_default(),
        requested: Duration::try_from_secs_f64(requested).unwrap_or_default(),
        missed: load
            .required(requested)
            .map(|all| (all - load.required(requested - rest).unwrap_or(0.0)).round() as u64),
    })
}

fn missed_start(results: &RunResults) -> Option<Reason> {
    let start = results.start.filter(|start| start.was_missed() && !results.interrupted)?;
    let Connections { requested: connections, failed, .. } = results.connections;
    // Those that were open have failed with the run.
    let stopped = results.errors.get("stopped").copied().unwrap_or_default();
    Some(Reason::MissedStart { requested: start.requested?, missing: failed.saturating_sub(stopped), connections })
}

/// Whether all connections failed before the end. Verified connections had completed their exchange.
fn have_all_failed(results: &RunResults) -> bool {
    results.connections.failed > 0 && results.connections.completed == 0
}

#[allow(clippy::cast_precision_loss, reason = "counts of messages")]
fn no_connection(results: &RunResults) -> Option<Reason> {
    let (due, messages) = (results.messages.due?, results.messages.no_connection);
    (messages as f64 > due as f64 * MAX_MISSING).then_some(Reason::NoConnection { due, messages })
}

fn over_range(results: &RunResults) -> Option<Reason> {
    let messages = results.latency().count_at_max();
    (messages > 0).then_some(Reason::OverRange { messages })
}

/// A client without CPU time left; a reason if its delays may explain even the median.
fn saturated(results: &RunResults) -> Option<Reason> {
    let share = results.busy().filter(|_| results.is_saturated())?;
    let may_explain = results.is_bounded(0.5) || results.floor().is_none() && has_late_median(results);
    Some(if may_explain { Reason::Saturated { share } } else { Reason::CpuBusy { share } })
}

/// Whether half of the messages of a schedule have a client delay above a tenth of the latency.
fn has_late_median(results: &RunResults) -> bool {
    let [delay, latency] = [&results.histograms.client_delay, results.latency()].map(|times| times.at(0.5));
    results.load.kind == LoadKind::Open
        && delay.zip(latency).is_some_and(|(delay, latency)| delay > latency.mul_f64(NEGLIGIBLE))
}
