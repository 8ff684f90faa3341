//! An upstream: sends back what a peer has sent through the proxy, and compares each byte.

use super::plan::{Conduct, Plan};
use super::record::{Records, UpstreamRecord};
use crate::simulated_kernel::{Destination, Kernel, Script};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::rc::Rc;

/// Bytes of the preamble: the number of the peer.
pub(super) const PREAMBLE_BYTES: usize = 2;

/// Makes the upstreams of a world.
pub(super) struct Upstreams {
    plan: Rc<Plan>,
    records: Records,
}

struct Upstream {
    plan: Rc<Plan>,
    records: Records,
    endpoint: usize,
    conduct: Conduct,
    /// Longest part that is read or sent at once.
    part: usize,
    preamble: Vec<u8>,
    /// Its place in the records, once the preamble has arrived.
    place: Option<usize>,
    /// Received, and not sent yet.
    unsent: VecDeque<u8>,
    saw_end: bool,
    has_ended: bool,
    is_closed: bool,
}

impl Upstreams {
    pub(super) fn new(plan: Rc<Plan>, records: Records) -> Self {
        Self { plan, records }
    }
}

impl Destination for Upstreams {
    fn rooms(&mut self, kernel: &mut Kernel) -> [usize; 2] {
        [(); 2].map(|()| kernel.rng.pick(&[1, 7, 64, 100_000]))
    }

    fn script(&mut self, kernel: &mut Kernel, endpoint: usize) -> Box<dyn Script> {
        // At 0 it breaks off before the preamble has arrived.
        let after = if kernel.rng.one_in(3) { 0 } else { kernel.rng.index(100) };
        let breaks = self.plan.upstreams_break && !self.records.borrow().is_quiet;
        let conduct = match kernel.rng.below(6) {
            0 if breaks => Conduct::Resets(after),
            1 if breaks => Conduct::Closes(after),
            2 if breaks => Conduct::Vanishes(after),
            _ => Conduct::Orderly,
        };
        Box::new(Upstream {
            plan: Rc::clone(&self.plan),
            records: Rc::clone(&self.records),
            endpoint,
            conduct,
            part: kernel.rng.pick(&[1, 10, 200]),
            preamble: Vec::new(),
            place: None,
            unsent: VecDeque::new(),
            saw_end: false,
            has_ended: false,
            is_closed: false,
        })
    }
}

impl Upstream {
    /// Reads the number of the peer, and then what it has sent, as far as there is room.
    fn receive(&mut self, kernel: &mut Kernel) {
        while !self.saw_end && self.unsent.len() < self.part {
            let mut bytes = [0; 200];
            let count = match self.place {
                None => PREAMBLE_BYTES - self.preamble.len(),
                Some(_) => self.part,
            };
            match kernel.read(self.endpoint, &mut bytes[..count]) {
                Ok(0) => self.saw_end = true,
                Ok(count) => self.take(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => (self.saw_end, self.is_closed) = (true, true),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut world = self.records.borrow_mut();
        let Some(place) = self.place else {
            self.preamble.extend(bytes);
            if let [high, low] = self.preamble[..] {
                self.place = Some(world.upstreams.len());
                let peer = usize::from(u16::from_be_bytes([high, low]));
                world.upstreams.push(UpstreamRecord { peer, ..UpstreamRecord::default() });
            }
            return;
        };
        let record = &mut world.upstreams[place];
        let stream = &self.plan.peers[record.peer].stream;
        let expected = stream.get(record.received..record.received + bytes.len());
        assert_eq!(expected, Some(bytes), "upstream of peer {} at {}", record.peer, record.received);
        record.received += bytes.len();
        self.unsent.extend(bytes);
    }

    fn send(&mut self, kernel: &mut Kernel) -> bool {
        let part: Vec<u8> = self.unsent.iter().copied().take(self.part).collect();
        let Some(place) = self.place.filter(|_| !part.is_empty()) else { return false };
        match kernel.write(self.endpoint, &part) {
            Ok(count) => {
                self.unsent.drain(..count);
                self.records.borrow_mut().upstreams[place].sent += count;
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                (self.saw_end, self.is_closed) = (true, true);
                false
            }
        }
    }

    /// Whether it does what it does before the end of the stream.
    fn breaks_off(&self) -> bool {
        let received = self.place.map_or(0, |place| self.records.borrow().upstreams[place].received);
        match self.conduct {
            Conduct::Orderly | Conduct::Converses => false,
            Conduct::Resets(after) | Conduct::Closes(after) | Conduct::Vanishes(after) => received >= after,
        }
    }
}

impl Script for Upstream {
    fn run(&mut self, kernel: &mut Kernel, _number: usize) {
        if self.records.borrow().is_quiet {
            self.conduct = Conduct::Orderly;
        }
        if self.is_closed || !kernel.is_connected(self.endpoint) {
            return;
        }
        loop {
            if self.breaks_off() {
                match self.conduct {
                    Conduct::Resets(_) => kernel.abort(self.endpoint),
                    Conduct::Closes(_) => kernel.close(self.endpoint),
                    _ => return,
                }
                return self.is_closed = true;
            }
            self.receive(kernel);
            if !self.send(kernel) {
                break;
            }
        }
        if !self.is_closed && self.saw_end && self.unsent.is_empty() && !self.has_ended {
            self.has_ended = true;
            if let Some(place) = self.place {
                self.records.borrow_mut().upstreams[place].has_ended = true;
            }
            kernel.shut(self.endpoint);
        }
        if self.is_closed || self.has_ended {
            self.is_closed = true;
            kernel.close(self.endpoint);
        }
    }
}
