//! Whether a run measured the server or the client itself.
//!
//! A client that is late sends less than it was asked to, or later, and what it then measures is its own queue. That has to
//! be said first, before any number. See G. Tene, "How NOT to Measure Latency", on coordinated omission.

use super::{Load, LoadKind, ReplyCheck, RunResults};
use crate::units::{format_count, format_counted, format_duration};
use std::fmt;
use std::time::Duration;

/// The lag's p99 may be this share of the latency's p50: then what the client adds is below what a reader would call noise.
const LAG_SHARE: u32 = 10;

/// The share of the messages that may be missing.
pub(super) const MISSING: f64 = 0.01;

/// From this share of its CPU time on, a loop has no room left for what comes in a burst.
const BUSY: f64 = 0.9;

/// In less time, in seconds, it is the start of the program that keeps a CPU busy.
const SHORTEST_S: f64 = 0.1;

/// So many standard deviations a Poisson process may be away from its mean: 3 are exceeded once in 370 runs.
const DEVIATIONS: f64 = 3.0;

/// The same where a run that is within the first one was counted message by message: once in 1.7 million runs.
const MOST_DEVIATIONS: f64 = 5.0;

/// Why a run has no replies and no latencies.
pub(super) const UNFRAMED: &str = "nothing tells where a reply ends: replies and their latencies are not measured, only the \
                                   first bytes on each connection; give --frame or --reply-size";

/// Why a run says less about the server than it seems to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The client sent too late.
    Lag {
        /// The p99 of the client's lag.
        lag_p99: Duration,
        /// The p50 of the latency that is reported.
        latency_p50: Duration,
    },
    /// The client sent too late, and most messages have no latency to compare that with.
    Behind {
        /// The p99 of the client's lag.
        lag_p99: Duration,
        /// How long was measured.
        measured: Duration,
    },
    /// The client sent less than was due by its own count.
    Schedule {
        /// Messages that were due.
        due: u64,
        /// Messages that were sent.
        sent: u64,
    },
    /// The client sent more or less than the rate asks for.
    Rate {
        /// What the rate makes of the time that was measured.
        asked: u64,
        /// How long was measured.
        measured: Duration,
        /// Messages that were sent.
        sent: u64,
    },
    /// The server took less than was due. A hint: the numbers are right, and the load is not the one that was asked for.
    Withheld {
        /// Messages that were due and not sent, or not whole, because the server left no room for them, or its connection was
        /// lost.
        messages: u64,
    },
    /// All connections failed before the end.
    EndedEarly {
        /// How many were opened at all.
        opened: u64,
        /// How long was measured.
        measured: Duration,
        /// How long should have been.
        wanted: Duration,
        /// Messages that should have become due in the rest of the time, where there is a schedule.
        missed: Option<u64>,
    },
    /// No connection was there for a part of the schedule. A hint, as what the server withheld.
    Unconnected {
        /// Messages that were due.
        due: u64,
        /// Those that found no connection.
        unconnected: u64,
    },
    /// Nothing tells where a reply ends. A hint.
    Unframed,
    /// Latencies that are longer than a histogram can tell. A hint.
    Longest {
        /// How many.
        messages: u64,
    },
    /// The client had no CPU time left. A hint: the numbers may be right.
    Busy {
        /// The share of the workers' time.
        share: f64,
    },
}

/// What speaks against believing the numbers of `record`; nothing when it is well.
#[must_use]
pub fn validate(record: &RunResults) -> Vec<Reason> {
    let reasons = [too_late(record), too_little(record), ended_early(record), withheld(record), unconnected(record)];
    let unframed = (record.reply_check == ReplyCheck::Unframed).then_some(Reason::Unframed);
    reasons.into_iter().chain([unframed, longest(record), too_busy(record)]).flatten().collect()
}

impl Reason {
    /// Whether the run is not valid for this; else it is a hint.
    #[must_use]
    pub fn invalidates(&self) -> bool {
        let is_hint = matches!(
            self,
            Self::Withheld { .. }
                | Self::Unconnected { .. }
                | Self::Unframed
                | Self::Longest { .. }
                | Self::Busy { .. }
        );
        !is_hint
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lag { lag_p99, latency_p50 } => {
                let (lag, latency) = (format_duration(*lag_p99), format_duration(*latency_p50));
                write!(
                    out,
                    "the client was the limit, not the server: its lag's p99 of {lag} is more than a tenth of the latency's \
                     p50 of {latency}"
                )
            }
            Self::Behind { lag_p99, measured } => {
                let (lag, measured) = (format_duration(*lag_p99), format_duration(*measured));
                write!(
                    out,
                    "the client was the limit, not the server: its lag's p99 of {lag} is more than 1 % of the {measured} \
                     that were measured"
                )
            }
            Self::Schedule { due, sent } => {
                let (due, sent) = (format_count(*due), format_count(*sent));
                write!(
                    out,
                    "the client was the limit, not the server: it did not keep the schedule to 1 %, of {due} messages that \
                     were due it sent {sent}"
                )
            }
            Self::Rate { asked, measured, sent } => {
                let (asked, sent) = (format_counted(*asked, "message"), format_count(*sent));
                let measured = format_duration(*measured);
                write!(
                    out,
                    "the client was the limit, not the server: it did not keep the schedule to 1 %, the rate makes {asked} in \
                     the {measured} that were measured, and it sent {sent}"
                )
            }
            Self::Withheld { messages } => {
                let messages = format_counted(*messages, "message");
                write!(out, "{messages} not sent, or not whole: the server left no room or closed the connection")
            }
            Self::EndedEarly { opened, measured, wanted, missed } => {
                let (measured, wanted) = (format_duration(*measured), format_duration(*wanted));
                if *opened > 0 {
                    write!(out, "the load ended early, after {measured} of {wanted}: every connection had failed")?;
                } else {
                    write!(out, "the load never began: no connection could be opened")?;
                }
                missed.iter().try_for_each(|missed| {
                    write!(out, "; about {} messages of the schedule never became due", format_count(*missed))
                })
            }
            Self::Unconnected { due, unconnected } => {
                let (due, unconnected) = (format_count(*due), format_count(*unconnected));
                write!(out, "no connection was there for {unconnected} of {due} messages that were due")
            }
            Self::Unframed => out.write_str(UNFRAMED),
            Self::Longest { messages } => {
                write!(out, "{} took an hour or longer, and count as 1 h", format_counted(*messages, "message"))
            }
            Self::Busy { share } => {
                write!(
                    out,
                    "the client was busy for {:.0} % of the time; more --workers may show another picture",
                    share * 100.0
                )
            }
        }
    }
}

fn too_late(record: &RunResults) -> Option<Reason> {
    let lag_p99 = record.histograms.lag.at(0.99)?;
    let (latency, unanswered) = (record.latency(), &record.histograms.unanswered_age);
    let Some(latency_p50) = latency.at(0.5).filter(|_| latency.count() > unanswered.count()) else {
        // Where most messages had no reply, half of them waited for ever. No lag adds much to that, but the load that was asked
        // for is still another one.
        let measured = Duration::try_from_secs_f64(record.measured_s).unwrap_or_default();
        return (lag_p99 > measured.mul_f64(MISSING)).then_some(Reason::Behind { lag_p99, measured });
    };
    (lag_p99 * LAG_SHARE > latency_p50).then_some(Reason::Lag { lag_p99, latency_p50 })
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of messages"
)]
fn too_little(record: &RunResults) -> Option<Reason> {
    // A client that has no time left reads answers late, and cannot say who held its messages back.
    let withheld = if too_busy(record).is_none() { record.messages.withheld } else { 0 };
    // Nor is it late with what no connection was there for.
    let excused = withheld.saturating_add(record.messages.unconnected);
    let sent = record.messages.sent;
    let is_missed = |due: f64, allowed: f64| (due - sent.saturating_add(excused) as f64).abs() > allowed;
    if let Some(due) = record.messages.due.filter(|due| is_missed(*due as f64, *due as f64 * MISSING)) {
        return Some(Reason::Schedule { due, sent });
    }
    let (asked, _) = asked_for(record).filter(|(asked, allowed)| is_missed(*asked, *allowed))?;
    let measured = Duration::try_from_secs_f64(record.measured_s).unwrap_or_default();
    Some(Reason::Rate { asked: asked.round() as u64, measured, sent })
}

/// How many messages the rate asks for in the time that was measured, and how many more or fewer may be sent. That a client
/// has sent what its own schedule held does not say that this was the one that was asked for.
fn asked_for(record: &RunResults) -> Option<(f64, f64)> {
    let Load { kind: LoadKind::Open, rate: Some(rate), arrivals, .. } = &record.load else { return None };
    // Runs that are merged need not have been there at the same time, and one that broke off is another matter.
    let is_whole = record.runs <= 1 && !record.interrupted && !have_all_failed(record);
    if record.messages.due.is_some() && !is_whole {
        return None;
    }
    let due = rate * record.measured_s;
    let deviations = if record.messages.due.is_some() { MOST_DEVIATIONS } else { DEVIATIONS };
    let chance = if arrivals.as_deref() == Some("poisson") { deviations * due.sqrt() } else { 1.0 };
    Some((due, (due * MISSING).max(chance)))
}

fn withheld(record: &RunResults) -> Option<Reason> {
    let messages = record.messages.withheld;
    (messages > 0).then_some(Reason::Withheld { messages })
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of messages"
)]
fn ended_early(record: &RunResults) -> Option<Reason> {
    let (wanted, connections) = (record.load.duration_s?, &record.connections);
    let rest = if connections.opened > 0 { wanted - record.measured_s } else { wanted };
    let is_early = have_all_failed(record) && !record.interrupted && rest > 0.0;
    is_early.then(|| Reason::EndedEarly {
        opened: connections.opened,
        measured: Duration::try_from_secs_f64(record.measured_s).unwrap_or_default(),
        wanted: Duration::try_from_secs_f64(wanted).unwrap_or_default(),
        missed: record.load.rate.map(|rate| (rate * rest).round() as u64),
    })
}

/// Whether no connection lasted to the end. Those that were verified had nothing left to do.
fn have_all_failed(record: &RunResults) -> bool {
    record.connections.failed > 0 && record.connections.verified == 0
}

#[allow(clippy::cast_precision_loss, reason = "counts of messages")]
fn unconnected(record: &RunResults) -> Option<Reason> {
    let (due, unconnected) = (record.messages.due?, record.messages.unconnected);
    (unconnected as f64 > due as f64 * MISSING).then_some(Reason::Unconnected { due, unconnected })
}

fn longest(record: &RunResults) -> Option<Reason> {
    let messages = record.latency().count_of_longest();
    (messages > 0).then_some(Reason::Longest { messages })
}

fn too_busy(record: &RunResults) -> Option<Reason> {
    let is_long = record.measured_s >= SHORTEST_S;
    record.cpu.filter(|cpu| is_long && cpu.share >= BUSY).map(|cpu| Reason::Busy { share: cpu.share })
}
