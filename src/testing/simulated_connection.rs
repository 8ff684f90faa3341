//! One connection on a scripted socket, with its timers and its buffers checked after every turn.

use super::scripted_socket::{ScriptedSocket, SimulatedSocket};
use crate::buffer::{BLOCK_BYTES, BufferPool, MemoryAccount};
use crate::connection::{CloseReason, Connection, Limits};
use crate::pump::{Observer, Pump, Turn, handle_deadline};
use crate::service::{ConnectOptions, Context, Handle, Host, Notify, Service};
use crate::socket::Address;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Connections whose handles were used, by their keys.
#[derive(Debug, Default)]
pub(crate) struct Woken(Mutex<Vec<u64>>);

impl Woken {
    /// Takes the keys since the last call.
    pub(crate) fn take(&self) -> Vec<u64> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Notify for Woken {
    fn notify(&self, key: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }
}

/// Requests of connections to their loop.
#[derive(Debug, Default)]
pub(crate) struct LoopRequests {
    pub(crate) woken: Arc<Woken>,
    pub(crate) connects: RefCell<VecDeque<ConnectRequest>>,
    /// Number of connections so far.
    count: Cell<u64>,
}

impl LoopRequests {
    /// The number of the next connection, counted from 1.
    pub(crate) fn next_id(&self) -> u64 {
        self.count.set(self.count.get() + 1);
        self.count.get()
    }
}

/// A service's request for an outgoing connection.
pub(crate) struct ConnectRequest {
    pub(crate) id: u64,
    pub(crate) options: ConnectOptions,
    pub(crate) service: Box<dyn Service>,
    pub(crate) handle: Handle,
}

/// Facts about a connection, and the requests to its loop, for the context of its service.
#[derive(Debug)]
pub(crate) struct ConnectionFacts {
    pub(crate) id: u64,
    /// The key of the connection in the loop.
    pub(crate) key: u64,
    pub(crate) peer: Address,
    /// None for an outgoing connection.
    pub(crate) listener: Option<Address>,
    pub(crate) requests: Rc<LoopRequests>,
}

/// Records the observed bytes, and supplies the simulated time.
#[derive(Debug)]
pub(crate) struct RecordingObserver {
    pub(crate) now: Instant,
    pub(crate) received: Vec<u8>,
    pub(crate) sent: Vec<u8>,
    facts: ConnectionFacts,
    /// Maximum number of bytes that wait in a handle.
    send_limit: usize,
}

impl Host for RecordingObserver {
    fn id(&self) -> u64 {
        self.facts.id
    }

    fn peer(&self) -> &Address {
        &self.facts.peer
    }

    fn listener(&self) -> Option<&Address> {
        self.facts.listener.as_ref()
    }

    fn new_handle(&self) -> Handle {
        Handle::new(self.facts.id, self.facts.key, self.send_limit, self.notify())
    }

    fn connect(&mut self, options: ConnectOptions, service: Box<dyn Service>) -> Handle {
        let id = self.facts.requests.next_id();
        let handle = Handle::detached(id, options.limits.buffer_bytes, self.notify());
        let request = ConnectRequest { id, options, service, handle: handle.clone() };
        self.facts.requests.connects.borrow_mut().push_back(request);
        handle
    }
}

impl RecordingObserver {
    fn notify(&self) -> Arc<dyn Notify> {
        Arc::<Woken>::clone(&self.facts.requests.woken)
    }
}

impl Observer for RecordingObserver {
    fn now(&mut self) -> Instant {
        self.now
    }

    fn received(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    fn sent(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
    }
}

/// A connection as a worker drives it, without a kernel.
#[derive(Debug)]
pub(crate) struct SimulatedConnection<S, T = ScriptedSocket> {
    pub(crate) connection: Connection<S>,
    pub(crate) socket: T,
    pub(crate) limits: Limits,
    pub(crate) observer: RecordingObserver,
    /// A turn is due without an event.
    is_due: bool,
    /// The service has been told of the end. Whatever is asked of the connection later has no effect.
    has_ended: bool,
    pool: BufferPool,
    /// The instant at which the loop will call the connection, and the limits it was computed with.
    armed: (Option<Instant>, Limits),
    /// Instants of the armed precise timers.
    pub(crate) precise_timers: Vec<Instant>,
    /// Number of sent bytes that were compared with those the socket took.
    checked_bytes: usize,
    /// The service's description of the peer's error, after the connection has closed.
    pub(crate) error_detail: Option<String>,
}

impl<S: Service, T: SimulatedSocket> SimulatedConnection<S, T> {
    /// Creates a connection as a worker does: the first event reports that there is something to read. It must be
    /// [opened](Self::open) before its first turn.
    pub(crate) fn new(socket: T, limits: Limits, now: Instant, facts: ConnectionFacts) -> Self {
        let mut connection = Connection::new(None, now);
        if socket.is_handshaking() {
            connection.handle_handshake();
        }
        connection.handle_read_blocked();
        Self {
            connection,
            socket,
            observer: RecordingObserver {
                now,
                received: Vec::new(),
                sent: Vec::new(),
                facts,
                send_limit: limits.buffer_bytes,
            },
            is_due: true,
            has_ended: false,
            pool: BufferPool::new(),
            armed: (None, limits.clone()),
            limits,
            precise_timers: Vec::new(),
            checked_bytes: 0,
            error_detail: None,
        }
    }

    /// Opens the connection with the service that `make_service` returns.
    pub(crate) fn open(&mut self, make_service: impl FnOnce(&mut Context<'_>) -> S) {
        let now = self.observer.now;
        let mut context = self.connection.context(&self.limits, now, &mut self.observer, &self.socket);
        let service = make_service(&mut context);
        self.connection.open(service);
    }

    /// The close reason, once the connection is closed.
    pub(crate) fn closed(&self) -> Option<CloseReason> {
        self.connection.closed()
    }

    /// Makes a turn due without an event.
    pub(crate) fn request_turn(&mut self) {
        self.is_due = true;
    }

    /// Runs one turn if one is due or the socket has an event. Returns its result, or `None` if nothing is to be done.
    pub(crate) fn step(&mut self) -> Option<Turn> {
        if self.has_ended {
            return None;
        }
        if !self.is_due {
            let (readable, writable, hang_up) = self.socket.next_event()?;
            self.connection.handle_event(readable, writable, hang_up);
        }
        let turn = self.turn();
        self.is_due = turn == Turn::Yielded;
        if let Turn::Closed(reason) = turn {
            self.error_detail = self.connection.service().and_then(Service::error_detail).or(self.error_detail.take());
            self.connection.end(reason);
            self.has_ended = true;
        }
        Some(turn)
    }

    /// A handle of the connection was used.
    pub(crate) fn handle_requests(&mut self) {
        self.connection.handle_requests();
        self.is_due = true;
    }

    /// Begins a drain that ends at the latest at `drain_by`.
    pub(crate) fn handle_drain(&mut self, drain_by: Instant) {
        self.limits.drain_by = Some(drain_by);
        self.connection.handle_drain();
        self.is_due = true;
    }

    /// Runs one turn and checks the invariants that hold after every turn.
    pub(crate) fn turn(&mut self) -> Turn {
        let (pool, memory) = (&mut self.pool, &MemoryAccount::unlimited());
        let mut pump = Pump { pool, memory, limits: &self.limits, observer: &mut self.observer };
        let precise_deadline = self.connection.precise_deadline();
        let turn = pump.turn(&mut self.connection, &mut self.socket);
        let newer =
            self.connection.precise_deadline().filter(|_| self.connection.precise_deadline() != precise_deadline);
        self.precise_timers.extend(newer);
        self.check_buffers();
        self.check_deadline();
        self.check_bytes();
        turn
    }

    /// The buffers keep to their limit, and empty ones own no storage.
    fn check_buffers(&self) {
        let (held, storage) = (self.connection.buffered_bytes(), self.connection.storage_bytes_of_each());
        for (held, storage) in held.into_iter().zip(storage) {
            assert!(held <= self.limits.buffer_bytes, "{held} bytes held, above the limit");
            assert!(storage <= self.limits.buffer_bytes.max(BLOCK_BYTES), "{storage} bytes of storage");
            assert!(held > 0 || storage == 0, "an empty buffer kept {storage} bytes of storage");
        }
    }

    /// A nearer deadline is reported; one that moves away is noticed when the old one expires.
    fn check_deadline(&mut self) {
        let (armed, limits) = &mut self.armed;
        if *limits != self.limits {
            // Real connections change their limits only for a drain.
            (*armed, *limits) = (self.connection.next_deadline(&self.limits), self.limits.clone());
        }
        let urgent = self.connection.urgent_deadline(&self.limits);
        *armed = [*armed, urgent].into_iter().flatten().min();
        if let Some(next) = self.connection.next_deadline(&self.limits) {
            let late = next.saturating_duration_since(self.observer.now);
            assert!(armed.is_some_and(|armed| armed <= next), "no timer is armed for a deadline in {late:?}");
        }
    }

    /// Every byte that the socket took or supplied was reported and counted.
    fn check_bytes(&mut self) {
        let (sent, received) = (&self.observer.sent, &self.observer.received);
        assert_eq!(sent[self.checked_bytes..], self.socket.written()[self.checked_bytes..]);
        assert_eq!(self.connection.sent_bytes(), sent.len() as u64);
        assert_eq!(self.connection.received_bytes(), received.len() as u64);
        self.checked_bytes = sent.len();
    }

    /// The next instant at which a timer expires.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let is_open = self.closed().is_none();
        self.precise_timers.iter().copied().chain(self.armed.0).min().filter(|_| is_open)
    }

    /// Sets the time to `now`, and continues as a loop does if a timer has expired, even an unneeded one.
    pub(crate) fn handle_time(&mut self, now: Instant) {
        self.observer.now = now;
        if self.next_timer().is_none_or(|timer| timer > now) {
            return;
        }
        self.is_due = true;
        // An expired timer is no longer armed.
        self.armed.0 = self.armed.0.filter(|&armed| armed > now);
        handle_deadline(&mut self.connection, &self.socket, &self.limits, now);
        for _ in self.precise_timers.extract_if(.., |&mut precise_deadline| precise_deadline <= now) {
            self.connection.handle_precise_timer(now);
        }
    }
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ConnectRequest").field("options", &self.options).finish_non_exhaustive()
    }
}
