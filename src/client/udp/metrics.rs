//! What one worker writes down while it runs; merged into one report at the end.

use super::in_flight::{UdpInFlight, Verdict};
use super::report::{DatagramReport, Strange};
use crate::client::in_flight::{MessageTimes, SentBatch};
use crate::client::measurements::{MessageMetrics, Unanswered};
use crate::client::{Failure, WorkerProgress};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How many strange replies are kept; all are counted.
const KEPT: usize = 10;

/// How many of those who answered a broadcast or a multicast are told apart.
const MOST_PEERS: usize = 4096;

/// What one worker writes down. Times are nanoseconds since the client was made.
#[derive(Debug)]
pub(super) struct UdpWorkerMetrics {
    pub(super) progress: Arc<WorkerProgress>,
    pub(super) messages: MessageMetrics,
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
    strange: Vec<Strange>,
    peers: BTreeSet<SocketAddr>,
    started: u64,
    /// When something was last sent, answered or given up.
    ended: u64,
}

impl UdpWorkerMetrics {
    /// `is_paced` says that messages follow a schedule.
    pub(super) fn new(progress: Arc<WorkerProgress>, is_paced: bool, started: u64) -> Self {
        let mut messages = MessageMetrics::new(is_paced);
        messages.begin(started);
        Self {
            progress,
            messages,
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
            strange: Vec::new(),
            peers: BTreeSet::new(),
            started,
            ended: started,
        }
    }

    /// A socket could not be opened.
    pub(super) fn not_opened(&mut self, failure: Failure) {
        self.progress.done.add(1);
        self.progress.ended.add(1);
        self.failed(failure);
    }

    /// A socket could not be opened, or not be used.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.progress.failed.add(1);
        self.messages.second.errors += 1;
        *self.failed.entry(failure).or_default() += 1;
    }

    /// A message of so many bytes was handed to the kernel.
    pub(super) fn sent(&mut self, departure: SentBatch, bytes: usize) {
        self.progress.messages_sent.add(1);
        self.sent_bytes += bytes as u64;
        self.messages.second.bytes_sent += bytes as u64;
        self.messages.sent(departure);
        self.ended = departure.sent;
    }

    /// A message could not be sent; it has these times, if there is a schedule.
    pub(super) fn not_sent(&mut self, times: Option<MessageTimes>, now: u64, failure: Failure) {
        self.messages.second.errors += 1;
        *self.not_sent.entry(failure).or_default() += 1;
        if let Some(times) = times {
            self.messages.unanswered(times, now, 1, Unanswered::Lost);
        }
    }

    /// A reply came to `socket` at `now`, which means `verdict`.
    pub(super) fn received(&mut self, verdict: Verdict, socket: u64, bytes: &[u8], now: u64) {
        match verdict {
            Verdict::Answer { times, is_reordered } => {
                self.verified_bytes += bytes.len() as u64;
                self.reordered += u64::from(is_reordered);
                self.progress.messages_verified.add(1);
                self.messages.right(bytes.len() as u64, Some(times));
                self.messages.answered(times, now);
                self.ended = now;
            }
            Verdict::Late => self.late += 1,
            Verdict::Duplicate => self.duplicated += 1,
            Verdict::Corrupt(times) => {
                self.corrupt += 1;
                self.messages.second.errors += 1;
                if let Some(times) = times {
                    self.messages.unanswered(times, now, 1, Unanswered::Lost);
                }
                if self.strange.len() < KEPT {
                    self.strange.push(Strange::new(socket, bytes));
                }
            }
        }
    }

    /// No reply to a message of these times came in time.
    pub(super) fn lost(&mut self, times: MessageTimes, now: u64) {
        self.lost += 1;
        self.given_up(times, now, Unanswered::TimedOut);
    }

    /// A message of these times did not get there, as the system was told.
    pub(super) fn undelivered(&mut self, times: MessageTimes, now: u64, failure: Failure) {
        match failure {
            Failure::Refused => self.refused += 1,
            _ => *self.undelivered.entry(failure).or_default() += 1,
        }
        self.given_up(times, now, Unanswered::Lost);
    }

    /// Receiving failed, whatever was sent.
    pub(super) fn receive_failed(&mut self, error: &io::Error) {
        *self.receive_errors.entry(error.raw_os_error().unwrap_or_default()).or_default() += 1;
    }

    fn given_up(&mut self, times: MessageTimes, now: u64, why: Unanswered) {
        self.messages.second.errors += 1;
        self.messages.unanswered(times, now, 1, why);
        self.ended = now;
    }

    /// A socket is closed: what it still waits for, or has not sent, will not be answered.
    pub(super) fn closed(&mut self, in_flight: &UdpInFlight, now: u64) {
        self.progress.done.add(1);
        self.progress.ended.add(1);
        in_flight.unanswered().for_each(|times| self.messages.unanswered(times, now, 1, Unanswered::Pending));
    }

    pub(super) fn answered_by(&mut self, peer: SocketAddr) {
        if self.peers.len() < MOST_PEERS {
            self.peers.insert(peer);
        }
    }

    /// Time has ended the load, at `end`.
    pub(super) fn end(&mut self, end: u64) {
        self.messages.end(end);
        self.ended = self.ended.max(end);
    }

    /// A round of the loop took so long; `open` sockets are open after it.
    #[inline]
    pub(super) fn turned(&mut self, nanos: u64, now: u64, open: u64) {
        if self.messages.turned(nanos, now, open) {
            self.progress.tell_second(&self.messages);
        }
    }

    /// The loop has ended at `now`. That sockets listened on for what comes twice is no part of what was measured.
    pub(super) fn close(&mut self, now: u64, is_stopped: bool) {
        self.messages.close(now, is_stopped);
    }

    /// Adds what was written down to `report`.
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
        let room = KEPT.saturating_sub(report.strange.len());
        report.strange.extend(self.strange.into_iter().take(room));
        report.peers.extend(self.peers);
        report.measured.add(&self.messages.measured);
        report.elapsed = report.elapsed.max(Duration::from_nanos(self.ended - self.started));
    }
}
