//! HTTP listener of the admin pages: its own acceptors, and a few connection slots.
//!
//! Admin connections are separate from those of the service: they do not count against its limits, are not
//! counted as connections, and have their own timeouts. Each slot has a fixed key, which the next connection in the
//! slot reuses. A stale event of an earlier connection therefore only causes one needless turn.

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

/// The maximum number of admin connections; one more replaces the one that has waited longest. A few monitoring systems
/// and a load balancer ask every few seconds, and an answer takes a fraction of a millisecond.
pub(in crate::server) const MAX_ADMIN_CONNECTIONS: usize = 16;

/// The first key of a connection slot.
const FIRST_CONNECTION: u32 = FIRST_KEY + 1;
/// The first key of an acceptor. The range below it has room for more slots than there are.
const FIRST_ACCEPTOR: u32 = FIRST_KEY + (1 << 8);

/// How long a client may take to send a whole request, counted from the accept or from the answer before. A request
/// usually fits one packet, and a client with infrequent requests can reconnect.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to receive a whole answer: 60 KB at 6 KB/s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

const LINGER: Duration = Duration::from_secs(1);

type AdminConnection = Session<HttpService<Pages>>;

pub(super) struct AdminListener {
    shared: Arc<Shared>,
    acceptors: Vec<Acceptor>,
    connections: [Option<AdminConnection>; MAX_ADMIN_CONNECTIONS],
    pool: BufferPool,
    /// Separate from that of the service, so that the pages are served even when that is full. There are only a few
    /// slots, and their buffers are bounded.
    memory: MemoryAccount,
    limits: Limits,
}

impl AdminListener {
    /// An admin listener on `listeners`; none if there are none.
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
        let Some(slot) = slot_of(key) else { return self.accept_pending(context, key) };
        if self.connections[slot].as_mut().is_some_and(|connection| connection.handle_event(readiness)) {
            self.turn(context, slot);
        }
    }

    pub(super) fn handle_ready(&mut self, context: &mut LoopContext, key: Key) {
        let Some(slot) = slot_of(key) else { return self.accept_pending(context, key) };
        if self.connections[slot].as_mut().is_some_and(Session::handle_ready) {
            self.turn(context, slot);
        }
    }

    pub(super) fn handle_expired(&mut self, context: &mut LoopContext, due: Expired) {
        let Some(slot) = slot_of(due.key()) else {
            if acceptor_of(&mut self.acceptors, due.key()).is_some_and(|acceptor| acceptor.is_paused()) {
                self.accept_pending(context, due.key());
            }
            return;
        };
        if self.connections[slot]
            .as_mut()
            .is_some_and(|connection| connection.handle_expired(&self.limits, context.now))
        {
            self.turn(context, slot);
        }
    }

    /// Closes connections that have exceeded their timeout. Called once a second.
    pub(super) fn close_overdue(&mut self, context: &mut LoopContext) {
        for slot in 0..MAX_ADMIN_CONNECTIONS {
            let Some(connection) = &self.connections[slot] else { continue };
            let (is_answering, since) = wait_state(connection);
            let timeout = if is_answering { ANSWER_TIMEOUT } else { REQUEST_TIMEOUT };
            if context.now >= since + timeout {
                self.close_connection(context, slot);
            }
        }
    }

    fn accept_pending(&mut self, context: &mut LoopContext, key: Key) {
        let Some(acceptor) = acceptor_of(&mut self.acceptors, key) else { return };
        acceptor.begin_turn(MAX_ADMIN_CONNECTIONS);
        loop {
            let Some(acceptor) = acceptor_of(&mut self.acceptors, key) else { return };
            match acceptor.accept(context, own_counters(&self.shared)) {
                Accepted::Connection(stream, _) => {
                    let slot = self.free_slot(context);
                    self.add_connection(context, slot, stream);
                }
                Accepted::Empty | Accepted::BudgetSpent | Accepted::Paused | Accepted::Failed => return,
            }
        }
    }

    /// A slot for a new connection. If all are taken, the connection that has waited longest is closed; those with a
    /// complete request are closed last.
    fn free_slot(&mut self, context: &mut LoopContext) -> usize {
        if let Some(free) = self.connections.iter().position(Option::is_none) {
            return free;
        }
        let slot = (0..MAX_ADMIN_CONNECTIONS)
            .min_by_key(|slot| self.connections[*slot].as_ref().map(wait_state))
            .unwrap_or_default();
        self.close_connection(context, slot);
        slot
    }

    fn add_connection(&mut self, context: &mut LoopContext, slot: usize, mut socket: Stream) {
        if let Err(error) = context.register(socket.source(), key_of(slot)) {
            own_counters(&self.shared).accept_failed(&error);
            return;
        }
        let service = HttpService::new(Pages::new(&self.shared));
        let mut connection = Session::new(service, socket, context.now);
        // The request may have arrived already: answer it before another connection needs the slot.
        connection.handle_event(Readiness { readable: true, writable: true, hang_up: false });
        self.connections[slot] = Some(connection);
        self.turn(context, slot);
    }

    fn turn(&mut self, context: &mut LoopContext, slot: usize) {
        let Some(connection) = &mut self.connections[slot] else { return };
        let mut clock = Clock(context.now);
        let (pool, memory) = (&mut self.pool, &self.memory);
        let mut pump = Pump { pool, memory, limits: &self.limits, observer: &mut clock };
        if connection.turn(&mut pump, context, key_of(slot)).is_some() {
            self.close_connection(context, slot);
        }
    }

    fn close_connection(&mut self, context: &mut LoopContext, slot: usize) {
        let Some(mut connection) = self.connections[slot].take() else { return };
        connection.deregister(context, key_of(slot), &self.memory);
        drop(connection);
        for (index, acceptor) in (FIRST_ACCEPTOR..).zip(&mut self.acceptors) {
            if acceptor.is_paused() {
                context.ready.push_back(Key::fixed(index));
                acceptor.end_pause();
            }
        }
    }
}

/// Whether a connection is sending an answer rather than awaiting a request, and since when.
fn wait_state(connection: &AdminConnection) -> (bool, Instant) {
    let page = connection.connection.service();
    (page.is_answering(), page.waiting_since().unwrap_or_else(|| connection.connection.opened()))
}

/// The counters of the first worker, which runs the admin listener. A failed accept here counts as any other.
fn own_counters(shared: &Shared) -> &Counters {
    &shared.counters[0]
}

fn slot_of(key: Key) -> Option<usize> {
    let slot = key.as_fixed()?.checked_sub(FIRST_CONNECTION)? as usize;
    (slot < MAX_ADMIN_CONNECTIONS).then_some(slot)
}

fn key_of(slot: usize) -> Key {
    // There are only a few slots.
    #[allow(clippy::cast_possible_truncation)]
    Key::fixed(FIRST_CONNECTION + slot as u32)
}

fn acceptor_of(acceptors: &mut [Acceptor], key: Key) -> Option<&mut Acceptor> {
    acceptors.get_mut(key.as_fixed()?.checked_sub(FIRST_ACCEPTOR)? as usize)
}

/// Observer that only supplies the time: admin traffic is neither counted nor logged.
struct Clock(Instant);

impl Observer for Clock {
    fn now(&mut self) -> Instant {
        self.0
    }

    fn received(&mut self, _bytes: &[u8]) {}

    fn sent(&mut self, _bytes: &[u8]) {}
}
