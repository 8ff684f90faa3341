//! An upstream: sends back what a peer has sent through the proxy, and compares each byte.

use super::plan::Plan;
use super::record::{Records, UpstreamRecord};
use crate::simulated_kernel::{Answers, Conduct, Destination, Kernel, Pace, Responder, Script};
use std::collections::VecDeque;
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
    preamble: Vec<u8>,
    /// Its place in the records, once the preamble has arrived.
    place: Option<usize>,
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
        let pace = Pace { part: kernel.rng.pick(&[1, 10, 200]), pause: 0, begins: 0 };
        let (plan, records) = (Rc::clone(&self.plan), Rc::clone(&self.records));
        let upstream = Upstream { plan, records, preamble: Vec::new(), place: None };
        Box::new(Responder::new(upstream, endpoint, conduct, pace))
    }
}

impl Answers for Upstream {
    fn is_quiet(&self) -> bool {
        self.records.borrow().is_quiet
    }

    fn counted_bytes(&self) -> usize {
        self.place.map_or(0, |place| self.records.borrow().upstreams[place].received)
    }

    /// The number of the peer, and then what it has sent.
    fn wanted_bytes(&self, part: usize) -> usize {
        if self.place.is_none() { PREAMBLE_BYTES - self.preamble.len() } else { part }
    }

    fn answer(&mut self, _kernel: &Kernel, bytes: &[u8], unsent: &mut VecDeque<u8>) {
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
        unsent.extend(bytes);
    }

    fn sent(&mut self, count: usize) {
        if let Some(place) = self.place {
            self.records.borrow_mut().upstreams[place].sent += count;
        }
    }

    fn ended(&mut self) {
        if let Some(place) = self.place {
            self.records.borrow_mut().upstreams[place].has_ended = true;
        }
    }
}
