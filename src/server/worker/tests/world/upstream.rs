//! An upstream: sends back what a peer has sent through the proxy, and compares each byte.

use super::plan::{FOREIGN, Plan, TlsConduct, TlsPlan};
use super::record::{Records, UpstreamRecord};
use super::tls_endpoint::TlsEndpoint;
use crate::simulated_kernel::{Answers, Conduct, Destination, Kernel, Pace, Responder, Script};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::rc::Rc;

/// Bytes of the preamble: the number of the peer.
pub(super) const PREAMBLE_BYTES: usize = 2;

pub(super) const UPSTREAMS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 10), Ipv4Addr::new(192, 0, 2, 11)];

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
    /// None without TLS.
    tls: Option<UpstreamTls>,
}

/// TLS behind the preamble.
struct UpstreamTls {
    plan: TlsPlan,
    end: TlsEndpoint,
    /// What is sent instead of TLS.
    foreign: &'static [u8],
    /// The connection expects the certificate of another name.
    has_wrong_name: bool,
}

impl Upstreams {
    pub(super) fn new(plan: Rc<Plan>, records: Records) -> Self {
        Self { plan, records }
    }

    /// TLS of the next connection.
    fn tls(&self, kernel: &mut Kernel, endpoint: usize, (breaks, part): (bool, usize)) -> Option<UpstreamTls> {
        let is_wrong = self.plan.upstream_tls?;
        let plan = TlsPlan::of_upstream(&mut kernel.rng, breaks);
        let address = kernel.endpoint(endpoint).peer_address.ip();
        let place = UPSTREAMS.iter().position(|upstream| address == *upstream);
        Some(UpstreamTls {
            plan,
            end: TlsEndpoint::server(plan, part),
            foreign: kernel.rng.pick(&FOREIGN),
            has_wrong_name: is_wrong[place.expect("the proxy has no other upstream")],
        })
    }
}

impl Destination for Upstreams {
    fn rooms(&mut self, kernel: &mut Kernel) -> [usize; 2] {
        // A handshake takes about 2 KiB.
        let smallest = if self.plan.upstream_tls.is_some() { 64 } else { 1 };
        [(); 2].map(|()| kernel.rng.pick(&[1, 7, 64, 100_000]).max(smallest))
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
        let tls = self.tls(kernel, endpoint, (breaks, pace.part.max(10)));
        let (plan, records) = (Rc::clone(&self.plan), Rc::clone(&self.records));
        let upstream = Upstream { plan, records, preamble: Vec::new(), place: None, tls };
        Box::new(Responder::new(upstream, endpoint, conduct, pace))
    }
}

impl UpstreamTls {
    fn is_foreign(&self) -> bool {
        self.plan.conduct == TlsConduct::Foreign
    }
}

impl Upstream {
    /// TLS, once the preamble has arrived, unless something else is sent instead.
    fn started_tls(&mut self) -> Option<&mut TlsEndpoint> {
        let is_started = self.place.is_some();
        self.tls.as_mut().filter(|tls| is_started && !tls.is_foreign()).map(|tls| &mut tls.end)
    }

    /// Notes what has become of TLS.
    fn note_tls(&self) {
        let (Some(place), Some(tls)) = (self.place, &self.tls) else { return };
        let record = &mut self.records.borrow_mut().upstreams[place];
        record.is_open |= !tls.is_foreign() && !tls.end.is_handshaking();
        record.is_broken |= tls.end.has_damaged;
        assert!(!record.is_open || !tls.has_wrong_name, "the name of an upstream was not verified");
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
                let is_open = self.tls.is_none();
                world.upstreams.push(UpstreamRecord { peer, is_open, ..UpstreamRecord::default() });
                unsent.extend(self.tls.iter().filter(|tls| tls.is_foreign()).flat_map(|tls| tls.foreign));
            }
            return;
        };
        if let Some(tls) = self.tls.as_ref().filter(|tls| tls.is_foreign()) {
            // Without a text of its own it sends back the handshake.
            return unsent.extend(bytes.iter().filter(|_| tls.foreign.is_empty()));
        }
        let record = &mut world.upstreams[place];
        let stream = &self.plan.peers[record.peer].stream;
        let expected = stream.get(record.received..record.received + bytes.len());
        assert_eq!(expected, Some(bytes), "upstream of peer {} at {}", record.peer, record.received);
        record.received += bytes.len();
        unsent.extend(bytes);
    }

    fn read(&mut self, kernel: &mut Kernel, endpoint: usize, room: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = self.started_tls() else { return kernel.read(endpoint, room) };
        let result = tls.read(kernel, endpoint, room);
        let is_fault = matches!(&result, Err(error) if error.kind() == ErrorKind::InvalidData);
        let is_known = tls.has_damaged || self.tls.as_ref().is_some_and(|tls| tls.has_wrong_name);
        assert!(!is_fault || is_known, "upstream: {result:?}");
        self.note_tls();
        result
    }

    fn write(&mut self, kernel: &mut Kernel, endpoint: usize, bytes: &[u8]) -> io::Result<usize> {
        match self.started_tls() {
            // The rest is lost.
            Some(tls) if tls.is_cut() => Ok(bytes.len()),
            Some(tls) => tls.write(kernel, bytes),
            None => kernel.write(endpoint, bytes),
        }
    }

    fn shut(&mut self, kernel: &mut Kernel, endpoint: usize) {
        let Some(tls) = self.started_tls() else { return kernel.shut(endpoint) };
        let is_broken = !tls.finish();
        if let Some(place) = self.place {
            self.records.borrow_mut().upstreams[place].is_broken |= is_broken;
        }
    }

    fn flush(&mut self, kernel: &mut Kernel, endpoint: usize) -> io::Result<bool> {
        let Some(tls) = self.started_tls() else { return Ok(true) };
        while tls.flush(kernel, endpoint)? {}
        let is_flushed = tls.is_flushed();
        self.note_tls();
        Ok(is_flushed)
    }

    /// Where TLS is cut, or something else was sent.
    fn ends_early(&self) -> bool {
        let is_over = |tls: &UpstreamTls| self.place.is_some() && (tls.is_foreign() || tls.end.is_cut());
        self.tls.as_ref().is_some_and(|tls| is_over(tls) && (!tls.plan.stalls || self.is_quiet()))
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
