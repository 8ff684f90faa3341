//! Metrics of one client worker; merged into one report at the end of the run.

use super::failure::Failure;
use super::measurements::{MessageMetrics, Unanswered};
use super::report::{Mismatch, Report, WrongAnswer};
use super::snapshot::{Slot, Snapshot};
use super::tcp::in_flight::{MessageTimes, SentBatch};
use super::udp::in_flight::Verdict;
use super::udp::{CorruptReply, DatagramReport, MAX_CORRUPT_KEPT};
use crate::counter::Counter;
use crate::results::Latencies;
use crate::service::search::Response;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Maximum number of distinct peers recorded for a broadcast or multicast.
const MAX_PEERS: usize = 4096;

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
    datagrams: DatagramMetrics,
    pub(super) message_metrics: MessageMetrics,
}

/// Counts of datagrams.
#[derive(Debug, Default)]
struct DatagramMetrics {
    lost: u64,
    late: u64,
    refused: u64,
    undelivered: BTreeMap<Failure, u64>,
    receive_errors: BTreeMap<i32, u64>,
    duplicated: u64,
    reordered: u64,
    corrupt: u64,
    not_sent: BTreeMap<Failure, u64>,
    corrupt_replies: Vec<CorruptReply>,
    peers: BTreeSet<SocketAddr>,
    /// When a message was last sent, answered or lost.
    ended: u64,
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
            datagrams: DatagramMetrics::default(),
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

    /// Counts a datagram of `bytes` bytes that was sent.
    pub(super) fn sent_datagram(&mut self, sent_batch: SentBatch, bytes: usize) {
        self.sent_bytes += bytes as u64;
        if self.message_metrics.is_measured(sent_batch.due) {
            self.message_metrics.second.bytes_sent += bytes as u64;
        }
        self.datagrams.ended = sent_batch.sent;
        self.sent(sent_batch);
    }

    /// Counts a datagram that could not be sent; `times` are those of a scheduled message.
    pub(super) fn not_sent(&mut self, times: Option<MessageTimes>, now: u64, failure: Failure) {
        self.message_metrics.second.errors += 1;
        *self.datagrams.not_sent.entry(failure).or_default() += 1;
        if let Some(times) = times {
            self.message_metrics.unanswered(times, now, 1, Unanswered::Lost);
        }
    }

    /// Counts a datagram received by `socket` at `now` and classified as `verdict`.
    pub(super) fn received(&mut self, verdict: Verdict, socket: u64, bytes: &[u8], now: u64) {
        let datagrams = &mut self.datagrams;
        match verdict {
            Verdict::Answer { times, is_reordered } => {
                datagrams.reordered += u64::from(is_reordered);
                datagrams.ended = now;
                self.add_verified_bytes(bytes.len(), Some(times), now);
                self.answered(times, now);
            }
            Verdict::Late => datagrams.late += 1,
            Verdict::Duplicate => datagrams.duplicated += 1,
            Verdict::Corrupt(times) => {
                datagrams.corrupt += 1;
                if datagrams.corrupt_replies.len() < MAX_CORRUPT_KEPT {
                    datagrams.corrupt_replies.push(CorruptReply::new(socket, bytes));
                }
                self.message_metrics.second.errors += 1;
                if let Some(times) = times {
                    self.message_metrics.unanswered(times, now, 1, Unanswered::Lost);
                }
            }
        }
    }

    /// Counts a datagram without a reply within the reply timeout.
    pub(super) fn lost(&mut self, times: MessageTimes, now: u64) {
        self.datagrams.lost += 1;
        self.count_unanswered(times, now, Unanswered::TimedOut);
    }

    /// Counts a datagram that the system reported as not delivered.
    pub(super) fn undelivered(&mut self, times: MessageTimes, now: u64, failure: Failure) {
        match failure {
            Failure::Refused => self.datagrams.refused += 1,
            _ => *self.datagrams.undelivered.entry(failure).or_default() += 1,
        }
        self.count_unanswered(times, now, Unanswered::Lost);
    }

    fn count_unanswered(&mut self, times: MessageTimes, now: u64, why: Unanswered) {
        self.message_metrics.second.errors += 1;
        self.message_metrics.unanswered(times, now, 1, why);
        self.datagrams.ended = now;
    }

    /// Counts a failed receive call.
    pub(super) fn receive_failed(&mut self, error: &io::Error) {
        *self.datagrams.receive_errors.entry(error.raw_os_error().unwrap_or_default()).or_default() += 1;
    }

    /// Records a peer that answered a broadcast or multicast.
    pub(super) fn answered_by(&mut self, peer: SocketAddr) {
        if self.datagrams.peers.len() < MAX_PEERS {
            self.datagrams.peers.insert(peer);
        }
    }

    /// The load ended at `end`, which is noticed at `now`.
    pub(super) fn end(&mut self, end: u64, now: u64) {
        self.message_metrics.end(end, now);
        self.datagrams.ended = self.datagrams.ended.max(end);
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

    /// Adds the metrics of a run over UDP that began at `started` to `report`.
    pub(super) fn add_to_datagrams(self, report: &mut DatagramReport, started: u64) {
        report.opened += self.progress.opened.get();
        report.sent += self.progress.messages_sent.get();
        report.verified += self.progress.messages_verified.get();
        report.sent_bytes += self.sent_bytes;
        report.verified_bytes += self.verified_bytes;
        for (failure, count) in self.failed {
            *report.failed.entry(failure).or_default() += count;
        }
        for (sum, count) in report.failed_by_target.iter_mut().zip(self.failed_by_target) {
            *sum += count;
        }
        let datagrams = self.datagrams;
        report.lost += datagrams.lost;
        report.late += datagrams.late;
        report.refused += datagrams.refused;
        report.duplicated += datagrams.duplicated;
        report.reordered += datagrams.reordered;
        report.corrupt += datagrams.corrupt;
        for (failure, count) in datagrams.not_sent {
            *report.not_sent.entry(failure).or_default() += count;
        }
        for (failure, count) in datagrams.undelivered {
            *report.undelivered.entry(failure).or_default() += count;
        }
        for (errno, count) in datagrams.receive_errors {
            *report.receive_errors.entry(errno).or_default() += count;
        }
        let room = MAX_CORRUPT_KEPT.saturating_sub(report.corrupt_replies.len());
        report.corrupt_replies.extend(datagrams.corrupt_replies.into_iter().take(room));
        report.peers.extend(datagrams.peers);
        report.measured.add(&self.message_metrics.measured);
        report.elapsed = report.elapsed.max(Duration::from_nanos(datagrams.ended.saturating_sub(started)));
    }
}
