//! A peer: sends its stream in parts, and compares each byte that it receives with the answer.

use super::plan::{Conduct, PeerPlan, Plan};
use super::record::{Record, Records};
use super::services::Kind;
use super::{MILLISECOND, Nanos};
use crate::simulated_kernel::{Kernel, Script};
use std::io::ErrorKind;
use std::rc::Rc;

pub(super) struct Peer {
    plan: Rc<Plan>,
    number: usize,
    records: Records,
    answer: Vec<u8>,
    next_part: Nanos,
    has_tried: bool,
}

impl Peer {
    pub(super) fn new(plan: Rc<Plan>, number: usize, records: Records) -> Self {
        let answer = plan.service.answer(&plan.peers[number].stream);
        Self { plan, number, records, answer, next_part: 0, has_tried: false }
    }

    /// Whether the service answers each part of a message at once.
    fn answers_each_part(&self) -> bool {
        matches!(self.plan.service, Kind::Echo | Kind::Delayed | Kind::Unframed | Kind::Proxy)
    }

    fn connect(&mut self, kernel: &mut Kernel, script: usize) -> Option<usize> {
        self.has_tried = true;
        let PeerPlan { listener, rooms, .. } = self.plan.peers[self.number];
        kernel.connect(listener, script, self.plan.socket_address(self.number), rooms)
    }

    /// Reads what has arrived.
    fn receive(&self, kernel: &mut Kernel, endpoint: usize, record: &mut Record) {
        let mut bytes = [0; 256];
        loop {
            let part = bytes.len().min(self.plan.peers[self.number].part);
            match kernel.read(endpoint, &mut bytes[..part]) {
                Ok(0) => record.saw_end = true,
                Ok(count) => {
                    let expected = self.answer.get(record.received..record.received + count);
                    assert_eq!(expected, Some(&bytes[..count]), "peer {} at {}", self.number, record.received);
                    record.received += count;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => record.saw_reset = true,
            }
            return;
        }
    }

    /// Sends the next part, or does what follows the last one.
    fn act(&self, kernel: &mut Kernel, endpoint: usize, record: &mut Record, is_quiet: bool) {
        let plan = &self.plan.peers[self.number];
        let stops_at = match plan.conduct {
            Conduct::Orderly | Conduct::Converses => plan.wire.len(),
            Conduct::Resets(after) | Conduct::Closes(after) | Conduct::Vanishes(after) => after,
        };
        let converses = plan.conduct == Conduct::Converses && self.answers_each_part();
        if is_quiet && !converses {
            kernel.shut(endpoint);
            record.has_ended = true;
        } else if converses && record.received < plan.stream_bytes(record.sent) {
            // Woken by the rest of the answer.
        } else if record.sent < stops_at {
            let count = (1 + kernel.rng.index(plan.part)).min(stops_at - record.sent);
            match kernel.write(endpoint, &plan.wire[record.sent..record.sent + count]) {
                Ok(count) => record.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => record.saw_reset = true,
            }
        } else {
            match plan.conduct {
                Conduct::Orderly | Conduct::Converses => {
                    kernel.shut(endpoint);
                    record.has_ended = true;
                }
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
    }
}

impl Script for Peer {
    fn run(&mut self, kernel: &mut Kernel, script: usize) {
        let records = Rc::clone(&self.records);
        let mut world = records.borrow_mut();
        let is_quiet = world.is_quiet;
        let record = &mut world.peers[self.number];
        if record.endpoint.is_none() && !self.has_tried && kernel.now >= self.plan.peers[self.number].begins {
            record.endpoint = self.connect(kernel, script);
        }
        let Some(endpoint) = record.endpoint.filter(|_| !record.closed) else { return };
        let reads_from = if is_quiet { 0 } else { self.plan.peers[self.number].reads_from };
        if kernel.now >= reads_from {
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
        if !record.closed && (record.saw_reset || record.saw_end && record.has_ended) {
            kernel.close(endpoint);
            record.closed = true;
        } else if record.saw_end && !record.has_ended && !record.closed {
            // The server has ended: nothing more is sent.
            self.next_part = kernel.now + MILLISECOND;
            kernel.shut(endpoint);
            record.has_ended = true;
            kernel.run_at(self.next_part, script);
        }
    }
}
