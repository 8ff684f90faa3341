//! HTTP listener of the admin pages: its own acceptors, and a few connection slots.
//!
//! Admin connections are separate from those of the service: they do not count against its limits, are not
//! counted as connections, and have their own timeouts. Each slot has a fixed key, which the next connection in the
//! slot reuses. A stale event of an earlier connection therefore only causes one needless turn.

use super::routes::Pages;
use crate::buffer::{BLOCK_BYTES, BufferPool, MemoryAccount};
use crate::connection::Limits;
use crate::event_loop::{LoopContext, Readiness};
use crate::pump::{Observer, Pump, Session};
use crate::server::Shared;
use crate::server::acceptor::{Accepted, Acceptor};
use crate::server::counters::Counters;
use crate::server::token::{Token, Trigger};
use crate::service::HttpService;
use crate::socket::{Listener, Stream};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The maximum number of admin connections; one more replaces the one that has waited longest. A few monitoring systems
/// and a load balancer ask every few seconds, and an answer takes a fraction of a millisecond.
pub(in crate::server) const MAX_ADMIN_CONNECTIONS: usize = 16;

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
    /// The number of each connection, in the order of their accepts: several can wait since the same round of the loop.
    numbers: [u64; MAX_ADMIN_CONNECTIONS],
    accepted: u64,
    pool: BufferPool,
    /// Separate from that of the service, so that the pages are served even when that is full. There are only a few
    /// slots, and their buffers are bounded.
    memory: MemoryAccount,
    limits: Limits,
}

impl AdminListener {
    /// An admin listener on `listeners`; none if there are none.
    pub(super) fn new(shared: &Arc<Shared>, listeners: Vec<Listener>) -> Option<Self> {
        let acceptor = |(index, listener)| Acceptor::new(listener, Token::AdminAcceptor(index).key());
        let acceptors: Vec<_> = listeners.into_iter().enumerate().map(acceptor).collect();
        let limits = Limits { turn_bytes: BLOCK_BYTES, linger: LINGER, ..Limits::without_timeouts() };
        let connections = std::array::from_fn(|_| None);
        let (pool, memory) = (BufferPool::new(), MemoryAccount::unlimited());
        (!acceptors.is_empty()).then(|| Self {
            shared: Arc::clone(shared),
            acceptors,
            connections,
            numbers: [0; MAX_ADMIN_CONNECTIONS],
            accepted: 0,
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

    pub(super) fn handle(&mut self, context: &mut LoopContext, token: Token, trigger: Trigger) {
        match token {
            // After the other events of the round: a request that has arrived is read before its slot can be taken.
            Token::AdminAcceptor(_) if matches!(trigger, Trigger::Event(_)) => context.ready.push_back(token.key()),
            Token::AdminAcceptor(index) => {
                if self.acceptors.get(index).is_some_and(|acceptor| acceptor.accepts_on(trigger)) {
                    self.accept_pending(context, index);
                }
            }
            Token::AdminConnection(slot) => self.handle_connection(context, slot, trigger),
            Token::Heartbeat => self.close_overdue(context),
            Token::Acceptor(_) | Token::UdpSocket(_) => {}
        }
    }

    fn handle_connection(&mut self, context: &mut LoopContext, slot: usize, trigger: Trigger) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
        let wants_turn = match trigger {
            Trigger::Event(readiness) => connection.handle_event(readiness),
            Trigger::Ready => connection.handle_ready(),
            Trigger::Expired => connection.handle_expired(&self.limits, context.now),
        };
        if wants_turn {
            self.turn(context, slot);
        }
    }

    /// Closes connections that have exceeded their timeout. Called once a second.
    fn close_overdue(&mut self, context: &mut LoopContext) {
        for slot in 0..MAX_ADMIN_CONNECTIONS {
            let Some(connection) = &self.connections[slot] else { continue };
            let (is_answering, since) = wait_state(connection);
            let timeout = if is_answering { ANSWER_TIMEOUT } else { REQUEST_TIMEOUT };
            if context.now >= since + timeout {
                self.close_connection(context, slot);
            }
        }
    }

    fn accept_pending(&mut self, context: &mut LoopContext, index: usize) {
        self.acceptors[index].begin_turn(MAX_ADMIN_CONNECTIONS);
        loop {
            match self.acceptors[index].accept(context, own_counters(&self.shared)) {
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
            .min_by_key(|slot| (self.connections[*slot].as_ref().map(wait_state), self.numbers[*slot]))
            .unwrap_or_default();
        self.close_connection(context, slot);
        slot
    }

    fn add_connection(&mut self, context: &mut LoopContext, slot: usize, mut socket: Stream) {
        if let Err(error) = context.register(socket.source(), Token::AdminConnection(slot).key()) {
            own_counters(&self.shared).accept_failed(&error);
            return;
        }
        let service = HttpService::new(Pages::new(&self.shared));
        let mut connection = Session::new(service, socket, context.now);
        // The request may have arrived already: answer it before another connection needs the slot.
        connection.handle_event(Readiness { readable: true, writable: true, hang_up: false });
        self.connections[slot] = Some(connection);
        self.accepted += 1;
        self.numbers[slot] = self.accepted;
        self.turn(context, slot);
    }

    fn turn(&mut self, context: &mut LoopContext, slot: usize) {
        let Some(connection) = &mut self.connections[slot] else { return };
        let mut clock = Clock(context.now);
        let (pool, memory) = (&mut self.pool, &self.memory);
        let mut pump = Pump { pool, memory, limits: &self.limits, observer: &mut clock };
        if connection.turn(&mut pump, context, Token::AdminConnection(slot).key()).is_some() {
            self.close_connection(context, slot);
        }
    }

    fn close_connection(&mut self, context: &mut LoopContext, slot: usize) {
        let Some(mut connection) = self.connections[slot].take() else { return };
        connection.deregister(context, Token::AdminConnection(slot).key(), &self.memory);
        drop(connection);
        self.acceptors.iter_mut().for_each(|acceptor| acceptor.resume(context));
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

/// Observer that only supplies the time: admin traffic is neither counted nor logged.
struct Clock(Instant);

impl Observer for Clock {
    fn now(&mut self) -> Instant {
        self.0
    }

    fn received(&mut self, _bytes: &[u8]) {}

    fn sent(&mut self, _bytes: &[u8]) {}
}
