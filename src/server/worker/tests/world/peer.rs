//! A peer: sends its stream in parts, and compares each byte that it receives with the answer.

use super::plan::{PeerPlan, Plan, TlsConduct, TlsPlan};
use super::record::{Record, Records};
use super::services::Kind;
use super::tls_endpoint::TlsEndpoint;
use super::{MILLISECOND, Nanos};
use crate::simulated_kernel::{Conduct, Kernel, Script};
use std::io::ErrorKind;
use std::rc::Rc;

pub(super) struct Peer {
    plan: Rc<Plan>,
    number: usize,
    records: Records,
    answer: Vec<u8>,
    /// None without TLS.
    tls: Option<Box<TlsEndpoint>>,
    next_part: Nanos,
    has_tried: bool,
}

impl Peer {
    pub(super) fn new(plan: Rc<Plan>, number: usize, records: Records) -> Self {
        let answer = plan.service.answer(&plan.peers[number].stream);
        let PeerPlan { tls, part, .. } = plan.peers[number];
        let tls =
            tls.filter(|tls| tls.conduct != TlsConduct::Foreign).map(|tls| Box::new(TlsEndpoint::client(tls, part)));
        Self { plan, number, records, answer, tls, next_part: 0, has_tried: false }
    }

    /// Whether the service answers each part of a message at once.
    fn answers_each_part(&self) -> bool {
        matches!(self.plan.service, Kind::Echo | Kind::Delayed | Kind::Unframed | Kind::Proxy | Kind::Posted)
    }

    fn connect(&mut self, kernel: &mut Kernel, script: usize, is_ending: bool) -> Option<usize> {
        self.has_tried = true;
        let PeerPlan { listener, rooms, .. } = self.plan.peers[self.number];
        assert!(is_ending || kernel.is_listening(listener), "peer {}: refused by a server that serves", self.number);
        kernel.connect(listener, script, self.plan.socket_address(self.number), rooms)
    }

    /// Reads what has arrived.
    fn receive(&mut self, kernel: &mut Kernel, endpoint: usize, record: &mut Record) {
        let mut bytes = [0; 256];
        let plan = &self.plan.peers[self.number];
        loop {
            let room = &mut bytes[..plan.part.min(256)];
            let result = match &mut self.tls {
                Some(tls) => tls.read(kernel, endpoint, room),
                None => kernel.read(endpoint, room),
            };
            match result {
                Ok(0) => record.saw_end = true,
                // Alerts.
                Ok(_) if plan.is_foreign() => continue,
                Ok(count) => {
                    let expected = self.answer.get(record.received..record.received + count);
                    assert_eq!(expected, Some(&bytes[..count]), "peer {} at {}", self.number, record.received);
                    record.received += count;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    let is_fault = error.kind() == ErrorKind::InvalidData && !record.has_damaged;
                    assert!(!is_fault, "peer {}: {error}", self.number);
                    record.saw_reset = true;
                }
            }
            return;
        }
    }

    /// Sends the next part, or does what follows the last one.
    fn act(&mut self, kernel: &mut Kernel, endpoint: usize, record: &mut Record, is_quiet: bool) {
        let world = Rc::clone(&self.plan);
        let plan = &world.peers[self.number];
        let stops_at = match plan.conduct {
            Conduct::Orderly | Conduct::Converses => plan.wire.len(),
            Conduct::Resets(after) | Conduct::Closes(after) | Conduct::Vanishes(after) | Conduct::HalfCloses(after) => {
                after
            }
        };
        let converses = plan.conduct == Conduct::Converses && self.answers_each_part();
        if is_quiet && !converses {
            self.finish(kernel, endpoint, record);
        } else if converses && record.received < plan.stream_bytes(record.sent) {
            // Woken by the rest of the answer.
        } else if record.sent < stops_at {
            self.send(kernel, endpoint, record, stops_at);
        } else if !self.started_tls(record).is_some_and(|tls| tls.is_handshaking()) {
            self.break_off(kernel, endpoint, record);
        }
    }

    fn send(&mut self, kernel: &mut Kernel, endpoint: usize, record: &mut Record, stops_at: usize) {
        let world = Rc::clone(&self.plan);
        let plan = &world.peers[self.number];
        // The header goes below TLS.
        let is_below = self.tls.is_some() && record.sent < plan.header.bytes.len();
        let end = if is_below { stops_at.min(plan.header.bytes.len()) } else { stops_at };
        let count = (1 + kernel.rng.index(plan.part)).min(end - record.sent);
        let part = &plan.wire[record.sent..record.sent + count];
        let result = match self.started_tls(record) {
            Some(tls) => tls.write(kernel, part),
            None => kernel.write(endpoint, part),
        };
        match result {
            Ok(count) => record.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => record.saw_reset = true,
        }
    }

    /// Ends as planned.
    fn break_off(&mut self, kernel: &mut Kernel, endpoint: usize, record: &mut Record) {
        match self.plan.peers[self.number].conduct {
            Conduct::Orderly | Conduct::Converses | Conduct::HalfCloses(_) => self.finish(kernel, endpoint, record),
            Conduct::Resets(_) => {
                kernel.abort(endpoint);
                (record.broke_off, record.closed) = (true, true);
            }
            Conduct::Closes(_) => {
                kernel.close(endpoint);
                (record.broke_off, record.closed) = (true, true);
            }
            Conduct::Vanishes(_) => {}
        }
    }

    /// Ends what is sent, in order unless it is the plan to omit close_notify.
    fn finish(&mut self, kernel: &mut Kernel, endpoint: usize, record: &mut Record) {
        record.has_ended = true;
        if let Some(tls) = self.started_tls(record) {
            record.has_truncated = !tls.finish();
        } else {
            kernel.shut(endpoint);
        }
    }

    /// Sends what TLS has to send.
    fn flush(&mut self, kernel: &mut Kernel, endpoint: usize, script: usize, record: &mut Record) {
        let pause = self.plan.peers[self.number].pause;
        let Some(tls) = self.started_tls(record) else { return };
        match tls.flush(kernel, endpoint) {
            Ok(true) => {
                let time = kernel.now + 1000 + kernel.rng.below(pause);
                kernel.run_at(time, script);
            }
            Ok(false) => {}
            Err(_) => record.saw_reset = true,
        }
        record.has_damaged = tls.has_damaged;
        if tls.is_cut() && !record.has_ended && !record.saw_reset {
            self.break_off(kernel, endpoint, record);
        }
    }

    /// TLS, once the header was sent.
    fn started_tls(&mut self, record: &Record) -> Option<&mut TlsEndpoint> {
        let header = self.plan.peers[self.number].header.bytes.len();
        self.tls.as_deref_mut().filter(|_| record.sent >= header)
    }

    /// Whether it reads now.
    fn reads(&self, now: Nanos, reads_from: Nanos) -> bool {
        let stalls = |tls: TlsPlan| tls.stalls;
        let is_handshaking = self.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
        now >= reads_from || is_handshaking && !self.plan.peers[self.number].tls.is_some_and(stalls)
    }
}

impl Script for Peer {
    fn run(&mut self, kernel: &mut Kernel, script: usize) {
        let records = Rc::clone(&self.records);
        let mut world = records.borrow_mut();
        let (is_quiet, is_ending) = (world.is_quiet, world.is_ending);
        let record = &mut world.peers[self.number];
        if record.endpoint.is_none() && !self.has_tried && kernel.now >= self.plan.peers[self.number].begins {
            record.endpoint = self.connect(kernel, script, is_ending);
        }
        let Some(endpoint) = record.endpoint.filter(|_| !record.closed) else { return };
        let reads_from = if is_quiet { 0 } else { self.plan.peers[self.number].reads_from };
        if self.reads(kernel.now, reads_from) {
            self.receive(kernel, endpoint, record);
        }
        if !record.has_ended && !record.saw_reset && (kernel.now >= self.next_part || is_quiet) {
            let sent = record.sent;
            self.act(kernel, endpoint, record, is_quiet);
            // Without room, and once it has vanished, it waits for news.
            if record.sent > sent {
                self.next_part = kernel.now + 1000 + kernel.rng.below(self.plan.peers[self.number].pause);
                kernel.run_at(self.next_part, script);
            }
        }
        if kernel.now < reads_from {
            kernel.run_at(reads_from, script);
        }
        if !record.closed && !record.saw_reset {
            self.flush(kernel, endpoint, script, record);
        }
        let is_flushed = self.tls.as_ref().is_none_or(|tls| tls.is_flushed());
        if !record.closed && (record.saw_reset || record.saw_end && record.has_ended && is_flushed) {
            kernel.close(endpoint);
            record.closed = true;
        } else if record.saw_end && !record.has_ended && !record.closed {
            // The server has ended: nothing more is sent.
            self.next_part = kernel.now + MILLISECOND;
            self.finish(kernel, endpoint, record);
            kernel.run_at(self.next_part, script);
        }
    }
}
