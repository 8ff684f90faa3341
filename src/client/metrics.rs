//! Metrics of one client worker; merged into one report at the end of the run.

use super::failure::Failure;
use super::measurements::MessageMetrics;
use super::report::{Mismatch, Report, WrongAnswer};
use super::snapshot::{Slot, Snapshot};
use super::tcp::in_flight::{MessageTimes, SentBatch};
use crate::counter::Counter;
use crate::results::Latencies;
use crate::service::search::Response;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Maximum number of mismatches and of wrong replies that are kept; all are counted.
const MAX_MISMATCHES_KEPT: usize = 10;

/// Progress of one worker, readable by other threads.
#[derive(Debug, Default)]
pub struct WorkerProgress {
    /// Connections opened.
    pub opened: Counter,
    /// Connections whose exchange is complete or has failed. They may still be open.
    pub done: Counter,
    /// Connections that have ended, with or without a failure.
    pub ended: Counter,
    /// Connections that failed.
    pub failed: Counter,
    /// Messages sent.
    pub messages_sent: Counter,
    /// Messages that were answered correctly.
    pub messages_verified: Counter,
    second: Slot,
    begun: OnceLock<Instant>,
}

impl WorkerProgress {
    /// The last complete second, unless it was taken already.
    #[must_use]
    pub fn take_second(&self) -> Option<Snapshot> {
        self.second.take()
    }

    /// Start of a load that begins for all connections together, once it is known.
    #[must_use]
    pub fn begun(&self) -> Option<Instant> {
        self.begun.get().copied()
    }

    pub(super) fn begin(&self, instant: Instant) {
        let _ = self.begun.set(instant);
    }

    /// Publishes the last complete second. Seconds before the start of the load are omitted.
    #[cold]
    pub(super) fn publish_second(&self, metrics: &MessageMetrics) {
        if self.begun.get().is_some() {
            metrics.last_interval().into_iter().for_each(|snapshot| self.second.put(snapshot));
        }
    }
}

/// Metrics of one worker.
#[derive(Debug)]
pub(super) struct WorkerMetrics {
    pub(super) progress: Arc<WorkerProgress>,
    pub(super) verified: u64,
    pub(super) sent_bytes: u64,
    pub(super) verified_bytes: u64,
    /// Number of connect retries.
    pub(super) retries: u64,
    /// When the first connect began, and when the last connection was open.
    pub(super) opening: Option<(Instant, Instant)>,
    failed: BTreeMap<Failure, u64>,
    failed_by_target: Vec<u64>,
    mismatch_count: u64,
    mismatches: Vec<Mismatch>,
    /// Correct replies, with the index of the request and the number of times each arrived.
    pub(super) answers: Vec<(usize, Response, u64)>,
    wrong_answers: Vec<WrongAnswer>,
    connect: Latencies,
    handshake: Latencies,
    pub(super) message_metrics: MessageMetrics,
}

impl WorkerMetrics {
    /// `is_open_loop` says that messages follow a schedule.
    pub(super) fn new(progress: Arc<WorkerProgress>, is_open_loop: bool) -> Self {
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
            connect: Latencies::default(),
            handshake: Latencies::default(),
            message_metrics: MessageMetrics::new(is_open_loop),
        }
    }

    pub(super) fn connected(&mut self, after: Duration) {
        self.progress.opened.add(1);
        self.connect.record(after);
    }

    pub(super) fn handshake_done(&mut self, after: Duration) {
        self.handshake.record(after);
    }

    /// Counts a failed connection to the target with index `target`.
    pub(super) fn failed(&mut self, target: usize, failure: Failure) {
        self.progress.failed.add(1);
        self.message_metrics.second.errors += 1;
        *self.failed.entry(failure).or_default() += 1;
        self.failed_by_target.resize(self.failed_by_target.len().max(target + 1), 0);
        self.failed_by_target[target] += 1;
    }

    pub(super) fn mismatch(&mut self, mismatch: Mismatch) {
        self.mismatch_count += 1;
        if self.mismatches.len() < MAX_MISMATCHES_KEPT {
            self.mismatches.push(mismatch);
        }
    }

    pub(super) fn wrong_answer(&mut self, wrong: WrongAnswer) {
        if self.wrong_answers.len() < MAX_MISMATCHES_KEPT {
            self.wrong_answers.push(wrong);
        }
    }

    /// Counts bytes received at `now` that were correct, of the reply to a message with these times.
    #[inline]
    pub(super) fn add_verified_bytes(&mut self, bytes: usize, times: Option<MessageTimes>, now: u64) {
        self.verified_bytes += bytes as u64;
        self.message_metrics.add_verified_bytes(bytes as u64, times, now);
    }

    /// Counts messages that were sent.
    #[inline]
    pub(super) fn sent(&mut self, sent_batch: SentBatch) {
        self.progress.messages_sent.add(sent_batch.count);
        self.message_metrics.sent(sent_batch);
    }

    /// Counts a message that was answered at `now`.
    #[inline]
    pub(super) fn answered(&mut self, times: MessageTimes, now: u64) {
        self.progress.messages_verified.add(1);
        self.message_metrics.answered(times, now);
    }

    /// Records a loop iteration of `nanos` nanoseconds, after which `open` connections are open.
    #[inline]
    pub(super) fn end_round(&mut self, nanos: u64, now: u64, open: u64) {
        if self.message_metrics.end_round(nanos, now, open) {
            self.progress.publish_second(&self.message_metrics);
        }
    }

    /// Adds the metrics to `report`.
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
        let room = MAX_MISMATCHES_KEPT.saturating_sub(report.mismatches.len());
        report.mismatches.extend(self.mismatches.into_iter().take(room));
        for (request, answer, count) in self.answers {
            match report.answers.iter_mut().find(|known| (known.0, &known.1) == (request, &answer)) {
                Some((.., counted)) => *counted += count,
                None => report.answers.push((request, answer, count)),
            }
        }
        report.answers.sort_by_key(|(request, ..)| *request);
        let room = MAX_MISMATCHES_KEPT.saturating_sub(report.wrong_answers.len());
        report.wrong_answers.extend(self.wrong_answers.into_iter().take(room));
        report.connect.add(&self.connect);
        report.handshake.add(&self.handshake);
        report.measured.add(&self.message_metrics.measured);
    }
}
