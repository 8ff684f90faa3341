//! What one worker writes down while it runs; merged into one report at the end.

use super::report::{DatagramReport, Strange};
use crate::client::clock::nanos;
use crate::client::recorder::histogram;
use crate::client::{Failure, Progress};
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many strange replies are kept; all are counted.
const KEPT: usize = 10;

/// How many of those who answered a broadcast or a multicast are told apart.
const MOST_PEERS: usize = 4096;

/// What one worker writes down.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) progress: Arc<Progress>,
    pub(super) sent_bytes: u64,
    pub(super) verified_bytes: u64,
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) refused: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    corrupt: u64,
    not_sent: BTreeMap<Failure, u64>,
    failed: BTreeMap<Failure, u64>,
    strange: Vec<Strange>,
    peers: BTreeSet<SocketAddr>,
    round_trip: Histogram<u64>,
    started: Instant,
    /// When something was last sent, answered or given up.
    ended: Instant,
}

impl Recorder {
    pub(super) fn new(progress: Arc<Progress>, started: Instant) -> Self {
        Self {
            progress,
            sent_bytes: 0,
            verified_bytes: 0,
            lost: 0,
            late: 0,
            refused: 0,
            duplicated: 0,
            reordered: 0,
            corrupt: 0,
            not_sent: BTreeMap::new(),
            failed: BTreeMap::new(),
            strange: Vec::new(),
            peers: BTreeSet::new(),
            round_trip: histogram(),
            started,
            ended: started,
        }
    }

    /// A socket could not be opened.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.progress.failed.add(1);
        self.progress.ended.add(1);
        *self.failed.entry(failure).or_default() += 1;
    }

    /// A message could not be sent.
    pub(super) fn not_sent(&mut self, failure: Failure) {
        *self.not_sent.entry(failure).or_default() += 1;
    }

    pub(super) fn answered(&mut self, bytes: usize, latency: Duration, is_reordered: bool) {
        self.verified_bytes += bytes as u64;
        self.reordered += u64::from(is_reordered);
        self.progress.messages_verified.add(1);
        self.round_trip.saturating_record(nanos(latency).max(1));
    }

    pub(super) fn answered_by(&mut self, peer: SocketAddr) {
        if self.peers.len() < MOST_PEERS {
            self.peers.insert(peer);
        }
    }

    pub(super) fn corrupt(&mut self, socket: u64, received: &[u8]) {
        self.corrupt += 1;
        if self.strange.len() < KEPT {
            self.strange.push(Strange::new(socket, received));
        }
    }

    /// Something went on at `now`.
    pub(super) fn note(&mut self, now: Instant) {
        self.ended = now;
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
        for (failure, count) in self.failed {
            *report.failed.entry(failure).or_default() += count;
        }
        let room = KEPT.saturating_sub(report.strange.len());
        report.strange.extend(self.strange.into_iter().take(room));
        report.peers.extend(self.peers);
        report.round_trip += self.round_trip;
        report.elapsed = report.elapsed.max(self.ended - self.started);
    }
}
