//! Metrics of one UDP client worker; merged into one report at the end of the run.

use super::in_flight::{UdpInFlight, Verdict};
use super::report::{CorruptReply, DatagramReport};
use crate::client::measurements::{MessageMetrics, Unanswered};
use crate::client::tcp::in_flight::{MessageTimes, SentBatch};
use crate::client::{Failure, LoadConfig, WorkerProgress};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Maximum number of corrupt replies that are kept; all are counted.
const MAX_CORRUPT_KEPT: usize = 10;

/// Maximum number of distinct peers recorded for a broadcast or multicast.
const MAX_PEERS: usize = 4096;

/// Metrics of one worker. Times are nanoseconds since the client was created.
#[derive(Debug)]
pub(super) struct UdpWorkerMetrics {
    pub(super) progress: Arc<WorkerProgress>,
    pub(super) message_metrics: MessageMetrics,
    sent_bytes: u64,
    verified_bytes: u64,
    lost: u64,
    late: u64,
    refused: u64,
    undelivered: BTreeMap<Failure, u64>,
    receive_errors: BTreeMap<i32, u64>,
    duplicated: u64,
    reordered: u64,
    corrupt: u64,
    not_sent: BTreeMap<Failure, u64>,
    failed: BTreeMap<Failure, u64>,
    corrupt_replies: Vec<CorruptReply>,
    peers: BTreeSet<SocketAddr>,
    started: u64,
    /// When a message was last sent, answered or lost.
    ended: u64,
}

impl UdpWorkerMetrics {
    pub(super) fn new(progress: Arc<WorkerProgress>, load: &LoadConfig, started: u64) -> Self {
        let mut message_metrics = MessageMetrics::new(load.rate.is_some());
        // A load that begins on all sockets together starts the measured time itself.
        message_metrics.begin(if load.begins_together() { u64::MAX } else { started });
        Self {
            progress,
            message_metrics,
            sent_bytes: 0,
            verified_bytes: 0,
            lost: 0,
            late: 0,
            refused: 0,
            undelivered: BTreeMap::new(),
            receive_errors: BTreeMap::new(),
            duplicated: 0,
            reordered: 0,
            corrupt: 0,
            not_sent: BTreeMap::new(),
            failed: BTreeMap::new(),
            corrupt_replies: Vec::new(),
            peers: BTreeSet::new(),
            started,
            ended: started,
        }
    }

    /// Counts a socket that could not be opened.
    pub(super) fn not_opened(&mut self, failure: Failure) {
        self.progress.done.add(1);
        self.progress.ended.add(1);
        self.failed(failure);
    }

    /// Counts a socket that could not be opened or used.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.progress.failed.add(1);
        self.message_metrics.second.errors += 1;
        *self.failed.entry(failure).or_default() += 1;
    }

    /// Counts a message of `bytes` bytes that was sent.
    pub(super) fn sent(&mut self, sent_batch: SentBatch, bytes: usize) {
        self.progress.messages_sent.add(1);
        self.sent_bytes += bytes as u64;
        if self.message_metrics.is_measured(sent_batch.due) {
            self.message_metrics.second.bytes_sent += bytes as u64;
        }
        self.message_metrics.sent(sent_batch);
        self.ended = sent_batch.sent;
    }

    /// Counts a message that could not be sent; `times` are those of a scheduled message.
    pub(super) fn not_sent(&mut self, times: Option<MessageTimes>, now: u64, failure: Failure) {
        self.message_metrics.second.errors += 1;
        *self.not_sent.entry(failure).or_default() += 1;
        if let Some(times) = times {
            self.message_metrics.unanswered(times, now, 1, Unanswered::Lost);
        }
    }

    /// Counts a reply received by `socket` at `now` and classified as `verdict`.
    pub(super) fn received(&mut self, verdict: Verdict, socket: u64, bytes: &[u8], now: u64) {
        match verdict {
            Verdict::Answer { times, is_reordered } => {
                self.verified_bytes += bytes.len() as u64;
                self.reordered += u64::from(is_reordered);
                self.progress.messages_verified.add(1);
                self.message_metrics.add_verified_bytes(bytes.len() as u64, Some(times), now);
                self.message_metrics.answered(times, now);
                self.ended = now;
            }
            Verdict::Late => self.late += 1,
            Verdict::Duplicate => self.duplicated += 1,
            Verdict::Corrupt(times) => {
                self.corrupt += 1;
                self.message_metrics.second.errors += 1;
                if let Some(times) = times {
                    self.message_metrics.unanswered(times, now, 1, Unanswered::Lost);
                }
                if self.corrupt_replies.len() < MAX_CORRUPT_KEPT {
                    self.corrupt_replies.push(CorruptReply::new(socket, bytes));
                }
            }
        }
    }

    /// Counts a message without a reply within the reply timeout.
    pub(super) fn lost(&mut self, times: MessageTimes, now: u64) {
        self.lost += 1;
        self.count_unanswered(times, now, Unanswered::TimedOut);
    }

    /// Counts a message that the system reported as not delivered.
    pub(super) fn undelivered(&mut self, times: MessageTimes, now: u64, failure: Failure) {
        match failure {
            Failure::Refused => self.refused += 1,
            _ => *self.undelivered.entry(failure).or_default() += 1,
        }
        self.count_unanswered(times, now, Unanswered::Lost);
    }

    /// Counts a failed receive call.
    pub(super) fn receive_failed(&mut self, error: &io::Error) {
        *self.receive_errors.entry(error.raw_os_error().unwrap_or_default()).or_default() += 1;
    }

    fn count_unanswered(&mut self, times: MessageTimes, now: u64, why: Unanswered) {
        self.message_metrics.second.errors += 1;
        self.message_metrics.unanswered(times, now, 1, why);
        self.ended = now;
    }

    /// A socket is closed: its messages that are queued or in flight will not be answered.
    pub(super) fn closed(&mut self, in_flight: &UdpInFlight, now: u64) {
        self.progress.done.add(1);
        self.progress.ended.add(1);
        in_flight.unanswered().for_each(|times| self.message_metrics.unanswered(times, now, 1, Unanswered::Pending));
    }

    pub(super) fn answered_by(&mut self, peer: SocketAddr) {
        if self.peers.len() < MAX_PEERS {
            self.peers.insert(peer);
        }
    }

    /// The load's duration ended it at `end`, which is noticed at `now`.
    pub(super) fn end(&mut self, end: u64, now: u64) {
        self.message_metrics.end(end, now);
        self.ended = self.ended.max(end);
    }

    /// Records a loop iteration of `nanos` nanoseconds, after which `open` sockets are open.
    #[inline]
    pub(super) fn end_round(&mut self, nanos: u64, now: u64, open: u64) {
        if self.message_metrics.end_round(nanos, now, open) {
            self.progress.publish_second(&self.message_metrics);
        }
    }

    /// Ends measuring at `now`. The time spent waiting for duplicates is not included.
    pub(super) fn close(&mut self, now: u64, is_cut: bool) {
        self.message_metrics.close(now, is_cut);
    }

    /// Adds the metrics to `report`.
    pub(super) fn add_to(self, report: &mut DatagramReport) {
        report.opened += self.progress.opened.get();
        report.sent += self.progress.messages_sent.get();
        report.verified += self.progress.messages_verified.get();
        report.sent_bytes += self.sent_bytes;
        report.verified_bytes += self.verified_bytes;
        report.lost += self.lost;
        report.late += self.late;
        report.refused += self.refused;
        report.duplicated += self.duplicated;
        report.reordered += self.reordered;
        report.corrupt += self.corrupt;
        for (failure, count) in self.not_sent {
            *report.not_sent.entry(failure).or_default() += count;
        }
        for (failure, count) in self.undelivered {
            *report.undelivered.entry(failure).or_default() += count;
        }
        for (errno, count) in self.receive_errors {
            *report.receive_errors.entry(errno).or_default() += count;
        }
        for (failure, count) in self.failed {
            *report.failed.entry(failure).or_default() += count;
        }
        let room = MAX_CORRUPT_KEPT.saturating_sub(report.corrupt_replies.len());
        report.corrupt_replies.extend(self.corrupt_replies.into_iter().take(room));
        report.peers.extend(self.peers);
        report.measured.add(&self.message_metrics.measured);
        report.elapsed = report.elapsed.max(Duration::from_nanos(self.ended - self.started));
    }
}
