//! The desk where pages are asked for: its own doors, and a few places for those who ask.
//!
//! Visitors are no connections of the service: they take none of its places, are counted nowhere, and have a patience
//! of their own. Each place has a fixed key, which the next visitor inherits. An event that is left of an earlier one makes
//! a place be looked at once in vain, and nothing worse.

use super::FIRST_KEY;
use super::routes::Pages;
use crate::buffer::{BLOCK_BYTES, BufferPool, MemoryAccount};
use crate::connection::Limits;
use crate::event_loop::{Expired, Key, LoopContext, Readiness};
use crate::pump::{Observer, Pump, Session};
use crate::server::Shared;
use crate::server::acceptor::{Accepted, Acceptor};
use crate::server::counters::Counters;
use crate::service::HttpService;
use crate::socket::{Listener, Stream};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many visitors are there at a time; one more takes the place of the one that has waited longest. A few monitoring systems and a load
/// balancer ask every few seconds, and an answer takes a fraction of a millisecond.
pub(in crate::server) const VISITORS: usize = 16;

/// Keys from here on are places of visitors.
const FIRST_CONNECTION: u32 = FIRST_KEY + 1;
/// Keys from here on are doors; there is room for more places than there are.
const FIRST_ACCEPTOR: u32 = FIRST_KEY + (1 << 8);

/// How long a visitor may take for a whole request, from when it was accepted or from the answer before on. A request is a
/// packet as a rule, and a client that asks seldom connects again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a visitor may take to receive a whole answer: 60 KB at 6 KB/s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

const LINGER: Duration = Duration::from_secs(1);

type AdminConnection = Session<HttpService<Pages>>;

pub(super) struct AdminListener {
    shared: Arc<Shared>,
    acceptors: Vec<Acceptor>,
    connections: [Option<AdminConnection>; VISITORS],
    pool: BufferPool,
    /// Apart from that of the service, so that the pages are served when that is full: there are only a few places, and the
    /// buffers of each are bounded.
    memory: MemoryAccount,
    limits: Limits,
}

impl AdminListener {
    /// A desk behind `listeners`; none without any.
    pub(super) fn new(shared: &Arc<Shared>, listeners: Vec<Listener>) -> Option<Self> {
        let acceptors: Vec<_> = (FIRST_ACCEPTOR..)
            .zip(listeners)
            .map(|(index, listener)| Acceptor::new(listener, Key::fixed(index)))
            .collect();
        let limits = Limits { turn_bytes: BLOCK_BYTES, linger: LINGER, ..Limits::without_timeouts() };
        let connections = std::array::from_fn(|_| None);
        let (pool, memory) = (BufferPool::new(), MemoryAccount::unlimited());
        (!acceptors.is_empty()).then(|| Self {
            shared: Arc::clone(shared),
            acceptors,
            connections,
            pool,
            memory,
            limits,
        })
    }

    pub(super) fn open(&mut self, context: &LoopContext) -> io::Result<()> {
        self.acceptors.iter_mut().try_for_each(|acceptor| acceptor.open(context))
    }

    pub(super) fn acceptors(&self) -> &[Acceptor] {
        &self.acceptors
    }

    pub(super) fn close(&mut self, context: &mut LoopContext) {
        self.acceptors.iter_mut().for_each(|acceptor| acceptor.close(context));
    }

    pub(super) fn handle_event(&mut self, context: &mut LoopContext, key: Key, readiness: Readiness) {
        let Some(place) = place_of(key) else { return self.accept_pending(context, key) };
        if self.connections[place].as_mut().is_some_and(|connection| connection.handle_event(readiness)) {
            self.turn(context, place);
        }
    }

    pub(super) fn handle_ready(&mut self, context: &mut LoopContext, key: Key) {
        let Some(place) = place_of(key) else { return self.accept_pending(context, key) };
        if self.connections[place].as_mut().is_some_and(Session::handle_ready) {
            self.turn(context, place);
        }
    }

    pub(super) fn handle_expired(&mut self, context: &mut LoopContext, due: Expired) {
        let Some(place) = place_of(due.key()) else {
            if door_of(&mut self.acceptors, due.key()).is_some_and(|acceptor| acceptor.is_paused()) {
                self.accept_pending(context, due.key());
            }
            return;
        };
        if self.connections[place]
            .as_mut()
            .is_some_and(|connection| connection.handle_expired(&self.limits, context.now))
        {
            self.turn(context, place);
        }
    }

    /// Closes the connections of visitors that have taken too long. Called once a second.
    pub(super) fn close_overdue(&mut self, context: &mut LoopContext) {
        for place in 0..VISITORS {
            let Some(connection) = &self.connections[place] else { continue };
            let (is_answering, since) = waiting(connection);
            let timeout = if is_answering { ANSWER_TIMEOUT } else { REQUEST_TIMEOUT };
            if context.now >= since + timeout {
                self.dismiss(context, place);
            }
        }
    }

    fn accept_pending(&mut self, context: &mut LoopContext, key: Key) {
        let Some(acceptor) = door_of(&mut self.acceptors, key) else { return };
        acceptor.begin_turn(VISITORS);
        loop {
            let Some(acceptor) = door_of(&mut self.acceptors, key) else { return };
            match acceptor.accept(context, own_counters(&self.shared)) {
                Accepted::Connection(stream, _) => {
                    let place = self.free_place(context);
                    self.receive(context, place, stream);
                }
                Accepted::Nobody | Accepted::TurnOver | Accepted::Paused | Accepted::Failed => return,
            }
        }
    }

    /// A place for one more visitor. If there is none, the one that has waited longest is closed; those that have sent a
    /// whole request come last.
    fn free_place(&mut self, context: &mut LoopContext) -> usize {
        if let Some(free) = self.connections.iter().position(Option::is_none) {
            return free;
        }
        let place =
            (0..VISITORS).min_by_key(|place| self.connections[*place].as_ref().map(waiting)).unwrap_or_default();
        self.dismiss(context, place);
        place
    }

    fn receive(&mut self, context: &mut LoopContext, place: usize, mut socket: Stream) {
        if let Err(error) = context.register(socket.source(), key_of(place)) {
            own_counters(&self.shared).accept_failed(&error);
            return;
        }
        let service = HttpService::new(Pages::new(&self.shared));
        let mut connection = Session::new(service, socket, context.now);
        // Its request may be here already: it is answered before another visitor needs the place.
        connection.handle_event(Readiness { readable: true, writable: true, hang_up: false });
        self.connections[place] = Some(connection);
        self.turn(context, place);
    }

    fn turn(&mut self, context: &mut LoopContext, place: usize) {
        let Some(connection) = &mut self.connections[place] else { return };
        let mut clock = Clock(context.now);
        let (pool, memory) = (&mut self.pool, &self.memory);
        let mut pump = Pump { pool, memory, limits: &self.limits, observer: &mut clock };
        if connection.turn(&mut pump, context, key_of(place)).is_some() {
            self.dismiss(context, place);
        }
    }

    fn dismiss(&mut self, context: &mut LoopContext, place: usize) {
        let Some(mut connection) = self.connections[place].take() else { return };
        connection.deregister(context, key_of(place), &self.memory);
        drop(connection);
        for (index, acceptor) in (FIRST_ACCEPTOR..).zip(&mut self.acceptors) {
            if acceptor.is_paused() {
                context.ready.push_back(Key::fixed(index));
                acceptor.end_pause();
            }
        }
    }
}

/// Whether a visitor owes room for an answer, and not a whole request; and since when.
fn waiting(connection: &AdminConnection) -> (bool, Instant) {
    let page = connection.connection.service();
    (page.is_answering(), page.waiting_since().unwrap_or_else(|| connection.connection.opened()))
}

/// A visitor that cannot be let in is an accept that failed, like any other. The desk is on the first worker.
fn own_counters(shared: &Shared) -> &Counters {
    &shared.counters[0]
}

fn place_of(key: Key) -> Option<usize> {
    let place = key.as_fixed()?.checked_sub(FIRST_CONNECTION)? as usize;
    (place < VISITORS).then_some(place)
}

fn key_of(place: usize) -> Key {
    // There are only a few places.
    #[allow(clippy::cast_possible_truncation)]
    Key::fixed(FIRST_CONNECTION + place as u32)
}

fn door_of(acceptors: &mut [Acceptor], key: Key) -> Option<&mut Acceptor> {
    acceptors.get_mut(key.as_fixed()?.checked_sub(FIRST_ACCEPTOR)? as usize)
}

/// Watches nothing: what is asked here is no part of the story.
struct Clock(Instant);

impl Observer for Clock {
    fn now(&mut self) -> Instant {
        self.0
    }

    fn received(&mut self, _bytes: &[u8]) {}

    fn sent(&mut self, _bytes: &[u8]) {}
}
