//! What one worker of the client writes down while it runs; merged into one report at the end.

use super::clock::nanos;
use super::failure::Failure;
use super::in_flight::{MessageTimes, SentBatch};
use super::measurements::MessageMetrics;
use super::report::{Mismatch, Report, WrongAnswer};
use super::snapshot::{Slot, Snapshot};
use crate::counter::Counter;
use crate::service::search::Response;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The longest latency told apart, in nanoseconds: one hour.
const LONGEST_NANOS: u64 = 3_600_000_000_000;

/// Three significant digits: an error below 0.1 %.
const DIGITS: u8 = 3;

/// How many mismatches and wrong answers are kept; all are counted.
const KEPT_MISMATCHES: usize = 10;

/// What one worker has done so far, for other threads to look at.
#[derive(Debug, Default)]
pub struct WorkerProgress {
    /// Connections opened.
    pub opened: Counter,
    /// Connections whose exchange is complete, or has failed. They may still be open.
    pub done: Counter,
    /// Connections that are over, well or badly.
    pub ended: Counter,
    /// Connections that failed.
    pub failed: Counter,
    /// Messages handed over for sending.
    pub messages_sent: Counter,
    /// Messages that came back and were right.
    pub messages_verified: Counter,
    second: Slot,
    begun: OnceLock<Instant>,
}

impl WorkerProgress {
    /// The last second that is over, unless it was taken already.
    #[must_use]
    pub fn take_second(&self) -> Option<Snapshot> {
        self.second.take()
    }

    /// When a load begins that begins for all connections together, if they are all there.
    #[must_use]
    pub fn begun(&self) -> Option<Instant> {
        self.begun.get().copied()
    }

    pub(super) fn begin(&self, instant: Instant) {
        let _ = self.begun.set(instant);
    }

    /// A second is over: tells of it what `messages` holds. Seconds before the load are not its own.
    #[cold]
    pub(super) fn tell_second(&self, messages: &MessageMetrics) {
        if self.begun.get().is_some() {
            messages.last_second().into_iter().for_each(|live| self.second.put(live));
        }
    }
}

/// What one worker writes down.
#[derive(Debug)]
pub(super) struct WorkerMetrics {
    pub(super) progress: Arc<WorkerProgress>,
    pub(super) verified: u64,
    pub(super) sent_bytes: u64,
    pub(super) verified_bytes: u64,
    /// Connects that were tried again.
    pub(super) retries: u64,
    /// When the first connect began, and when the last connection was open.
    pub(super) opening: Option<(Instant, Instant)>,
    failed: BTreeMap<Failure, u64>,
    failed_by_target: Vec<u64>,
    mismatch_count: u64,
    mismatches: Vec<Mismatch>,
    /// Each right answer, with how often it came.
    pub(super) answers: Vec<(Response, u64)>,
    wrong_answers: Vec<WrongAnswer>,
    connect: Histogram<u64>,
    handshake: Histogram<u64>,
    pub(super) messages: MessageMetrics,
}

impl WorkerMetrics {
    /// `is_paced` says that messages follow a schedule.
    pub(super) fn new(progress: Arc<WorkerProgress>, is_paced: bool) -> Self {
        Self {
            progress,
            verified: 0,
            sent_bytes: 0,
            verified_bytes: 0,
            retries: 0,
            opening: None,
            failed: BTreeMap::new(),
            failed_by_target: Vec::new(),
            mismatch_count: 0,
            mismatches: Vec::new(),
            answers: Vec::new(),
            wrong_answers: Vec::new(),
            connect: histogram(),
            handshake: histogram(),
            messages: MessageMetrics::new(is_paced),
        }
    }

    pub(super) fn connected(&mut self, after: Duration) {
        self.progress.opened.add(1);
        self.connect.saturating_record(nanos(after).max(1));
    }

    pub(super) fn handshake_done(&mut self, after: Duration) {
        self.handshake.saturating_record(nanos(after).max(1));
    }

    /// A connection to the target with this index failed.
    pub(super) fn failed(&mut self, target: usize, failure: Failure) {
        self.progress.failed.add(1);
        self.messages.second.errors += 1;
        *self.failed.entry(failure).or_default() += 1;
        self.failed_by_target.resize(self.failed_by_target.len().max(target + 1), 0);
        self.failed_by_target[target] += 1;
    }

    pub(super) fn mismatch(&mut self, mismatch: Mismatch) {
        self.mismatch_count += 1;
        if self.mismatches.len() < KEPT_MISMATCHES {
            self.mismatches.push(mismatch);
        }
    }

    pub(super) fn wrong_answer(&mut self, wrong: WrongAnswer) {
        if self.wrong_answers.len() < KEPT_MISMATCHES {
            self.wrong_answers.push(wrong);
        }
    }

    /// So many bytes came back and were right, of the answer to a message with these times.
    #[inline]
    pub(super) fn right(&mut self, bytes: usize, times: Option<MessageTimes>) {
        self.verified_bytes += bytes as u64;
        self.messages.right(bytes as u64, times);
    }

    /// Messages were handed to the kernel.
    #[inline]
    pub(super) fn sent(&mut self, departure: SentBatch) {
        self.progress.messages_sent.add(departure.count);
        self.messages.sent(departure);
    }

    /// A message was answered at `now`.
    #[inline]
    pub(super) fn answered(&mut self, times: MessageTimes, now: u64) {
        self.progress.messages_verified.add(1);
        self.messages.answered(times, now);
    }

    /// A round of the loop took so long; `open` connections are open after it.
    #[inline]
    pub(super) fn turned(&mut self, nanos: u64, now: u64, open: u64) {
        if self.messages.turned(nanos, now, open) {
            self.progress.tell_second(&self.messages);
        }
    }

    /// Adds what was written down to `report`.
    pub(super) fn add_to(self, report: &mut Report) {
        report.opened += self.progress.opened.get();
        report.verified += self.verified;
        for (failure, count) in self.failed {
            *report.failed.entry(failure).or_default() += count;
        }
        for (sum, count) in report.failed_by_target.iter_mut().zip(self.failed_by_target) {
            *sum += count;
        }
        report.retries += self.retries;
        report.messages_sent += self.progress.messages_sent.get();
        report.messages_verified += self.progress.messages_verified.get();
        report.bytes_sent += self.sent_bytes;
        report.bytes_verified += self.verified_bytes;
        report.mismatch_count += self.mismatch_count;
        let room = KEPT_MISMATCHES.saturating_sub(report.mismatches.len());
        report.mismatches.extend(self.mismatches.into_iter().take(room));
        for (answer, count) in self.answers {
            match report.answers.iter_mut().find(|(known, _)| *known == answer) {
                Some((_, counted)) => *counted += count,
                None => report.answers.push((answer, count)),
            }
        }
        let room = KEPT_MISMATCHES.saturating_sub(report.wrong_answers.len());
        report.wrong_answers.extend(self.wrong_answers.into_iter().take(room));
        report.connect += self.connect;
        report.handshake += self.handshake;
        report.measured.add(&self.messages.measured);
    }
}

/// A histogram of latencies in nanoseconds.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NANOS, DIGITS).expect("the bounds are constants that fit together")
}
