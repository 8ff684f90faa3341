//! Simulated server and its peers.

use super::scripted_socket::{LISTENER, ScriptedSocket, SocketInput};
use super::simulated_connection::{ConnectionFacts, SimulatedConnection, Woken};
use crate::connection::{CloseReason, Limits};
use crate::service::{Context, Service};
use crate::socket::Address;
use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time after which a service is called again that waits for an instant in the past: a tick of the timer wheel.
const TICK: Duration = Duration::from_millis(1);

/// Maximum number of turns before every connection waits. More mean an endless loop.
const MAX_TURNS: usize = 1_000_000;

/// Host of the peers: one for documentation (RFC 5737).
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

type MakeService<'a> = dyn FnMut(&mut Context<'_>) -> Box<dyn Service + 'a> + 'a;

/// Server without a kernel: it serves the [peers](Peer) of a test on a simulated loop.
///
/// The simulated time stands still except in [`advance`](Self::advance). A panic of a service is one of the test.
pub struct Simulation<'a> {
    pub(super) make_service: Rc<RefCell<MakeService<'a>>>,
    pub(super) limits: Limits,
    pub(super) seed: u64,
    event_loop: Rc<RefCell<SimulatedLoop<'a>>>,
}

/// The remote end of a simulated connection.
///
/// Each method that sends or receives also runs the loop until every connection waits.
pub struct Peer<'a> {
    event_loop: Rc<RefCell<SimulatedLoop<'a>>>,
    /// Index of the connection.
    index: usize,
    /// Number of bytes that [`receive`](Self::receive) has returned.
    taken: usize,
    has_ended: bool,
}

/// The connections of a simulation, and its clock.
struct SimulatedLoop<'a> {
    now: Instant,
    /// When the connections that are left are closed, once a drain has begun.
    drain_by: Option<Instant>,
    woken: Arc<Woken>,
    connections: Vec<SimulatedConnection<Box<dyn Service + 'a>>>,
}

impl<'a> Simulation<'a> {
    /// Creates a server that calls `make_service` for each connection.
    pub fn new<S: Service + 'a>(mut make_service: impl FnMut(&mut Context<'_>) -> S + 'a) -> Self {
        Self::with_boxed(Rc::new(RefCell::new(move |context: &mut Context<'_>| {
            let service: Box<dyn Service + 'a> = Box::new(make_service(context));
            service
        })))
    }

    fn with_boxed(make_service: Rc<RefCell<MakeService<'a>>>) -> Self {
        let event_loop =
            SimulatedLoop { now: Instant::now(), drain_by: None, woken: Arc::default(), connections: Vec::new() };
        Self { make_service, limits: Limits::default(), seed: 0, event_loop: Rc::new(RefCell::new(event_loop)) }
    }

    /// Sets the limits of the connections.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the seed of the first pseudo-random schedule of
    /// [`assert_split_invariant`](Self::assert_split_invariant). Default: 0.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Opens a connection from an address of its own: of 192.0.2.2, with the connection's number as its port.
    ///
    /// The service is made at once, and called before the peer sends, receives, or time passes.
    #[must_use = "a connection does nothing without its peer"]
    pub fn connect(&self) -> Peer<'a> {
        let port = u16::try_from(self.event_loop.borrow().next_id()).unwrap_or(u16::MAX);
        self.connect_from(Address::Ip(SocketAddr::new(PEER, port)))
    }

    /// Opens a connection from `address`.
    #[must_use = "a connection does nothing without its peer"]
    pub fn connect_from(&self, address: Address) -> Peer<'a> {
        let make_service = &mut *self.make_service.borrow_mut();
        let index = self.event_loop.borrow_mut().add(make_service, address, self.limits.clone());
        Peer { event_loop: Rc::clone(&self.event_loop), index, taken: 0, has_ended: false }
    }

    /// A server with the same services and `limits`, and without connections.
    pub(super) fn restarted(&self, limits: Limits) -> Self {
        Self::with_boxed(Rc::clone(&self.make_service)).with_limits(limits)
    }

    /// The simulated time, which services get as [`Context::now`].
    #[must_use]
    pub fn now(&self) -> Instant {
        self.event_loop.borrow().now
    }

    /// Lets `time` pass. Services are called and timeouts expire at their instants.
    pub fn advance(&self, time: Duration) {
        self.event_loop.borrow_mut().advance(time);
    }

    /// Lets the time pass until the next timer expires. Returns false if none is armed.
    pub(super) fn advance_to_next_timer(&self) -> bool {
        let mut event_loop = self.event_loop.borrow_mut();
        event_loop.run();
        let next = event_loop.next_timer();
        next.inspect(|&instant| event_loop.set_time(instant));
        event_loop.run();
        next.is_some()
    }

    /// Begins a drain: each connection ends when nothing of it is in flight, and at the latest after `timeout`.
    pub fn drain(&self, timeout: Duration) {
        self.event_loop.borrow_mut().drain(timeout);
    }
}

impl Peer<'_> {
    /// Sends `bytes`, which the connection reads at once if it wants to.
    ///
    /// # Panics
    ///
    /// Panics after [`end`](Self::end) and [`reset`](Self::reset).
    pub fn send(&mut self, bytes: &[u8]) {
        assert!(!self.has_ended, "the peer sends after its end");
        if !bytes.is_empty() {
            self.with_socket(|socket| socket.push_bytes(bytes));
        }
        self.run();
    }

    /// Shuts down the peer's sending half: the service reads the end of its input. Repeated calls do nothing.
    pub fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.with_socket(|socket| socket.push(SocketInput::End));
        }
        self.run();
    }

    /// Resets the connection: what was sent is still read, then reads fail; writes fail at once.
    pub fn reset(&mut self) {
        self.has_ended = true;
        self.with_socket(ScriptedSocket::reset);
        self.run();
    }

    /// Takes `bytes` more bytes from the connection, and then none until [`resume`](Self::resume): the connection finds
    /// its socket full. 0 stalls it at once.
    pub fn stall_after(&mut self, bytes: usize) {
        self.with_socket(|socket| socket.stall_after(bytes));
    }

    /// Takes everything again, now and later.
    pub fn resume(&mut self) {
        self.with_socket(ScriptedSocket::resume);
        self.run();
    }

    /// Returns the bytes that arrived since the last call.
    pub fn receive(&mut self) -> Vec<u8> {
        self.run();
        let event_loop = self.event_loop.borrow();
        let written = &event_loop.connections[self.index].socket.written;
        let arrived = written[self.taken..].to_vec();
        self.taken = written.len();
        arrived
    }

    /// Whether the end of the connection's output has arrived, after all bytes.
    #[must_use]
    pub fn received_end(&self) -> bool {
        self.run();
        let event_loop = self.event_loop.borrow();
        let connection = &event_loop.connections[self.index];
        connection.socket.shuts > 0 || (connection.closed().is_some() && !connection.connection.is_cut())
    }

    /// Why the connection closed, once it has.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        self.run();
        self.event_loop.borrow().connections[self.index].closed()
    }

    /// Number of sent bytes that the connection has not read: its buffers are full.
    #[must_use]
    pub fn unread_bytes(&self) -> usize {
        self.run();
        self.event_loop.borrow().connections[self.index].socket.unread_bytes()
    }

    /// Memory in bytes that the connection and its service hold for the peer, as the memory limit of a server counts
    /// it.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.run();
        self.event_loop.borrow().connections[self.index].connection.held_bytes()
    }

    /// The service's description of the peer's error, once the connection has closed: [`Service::error_detail`].
    #[must_use]
    pub fn error_detail(&self) -> Option<String> {
        self.run();
        self.event_loop.borrow().connections[self.index].error_detail.clone()
    }

    fn run(&self) {
        self.event_loop.borrow_mut().run();
    }

    pub(super) fn with_socket<T>(&self, change: impl FnOnce(&mut ScriptedSocket) -> T) -> T {
        change(&mut self.event_loop.borrow_mut().connections[self.index].socket)
    }

    /// Has the service called for no visible reason.
    pub(super) fn wake(&self) {
        let connection = &mut self.event_loop.borrow_mut().connections[self.index];
        connection.connection.handle_wake();
        connection.request_turn();
    }
}

impl<'a> SimulatedLoop<'a> {
    /// The number of the next connection, counted from 1.
    fn next_id(&self) -> u64 {
        self.connections.len() as u64 + 1
    }

    /// Adds a connection from `peer`, and returns its index.
    fn add(&mut self, make_service: &mut MakeService<'a>, peer: Address, limits: Limits) -> usize {
        let facts =
            ConnectionFacts { id: self.next_id(), peer, listener: Some(LISTENER), woken: Arc::clone(&self.woken) };
        let mut connection = SimulatedConnection::new(ScriptedSocket::default(), limits, self.now, facts);
        if let Some(drain_by) = self.drain_by {
            connection.handle_drain(drain_by);
        }
        connection.open(make_service);
        self.connections.push(connection);
        self.connections.len() - 1
    }

    /// Gives turns to the connections, one after the other, until all of them wait.
    fn run(&mut self) {
        let mut turns = 0;
        loop {
            self.handle_requests();
            let before = turns;
            for connection in &mut self.connections {
                turns += usize::from(connection.step().is_some());
            }
            if turns == before {
                return;
            }
            assert!(
                turns < MAX_TURNS,
                "the connection still has something to do after {turns} turns; a service that writes without end needs \
                 a peer that stalls: see `Peer::stall_after`"
            );
        }
    }

    /// Handles the requests of handles that were used.
    fn handle_requests(&mut self) {
        for id in self.woken.take() {
            let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
            if let Some(connection) = index.and_then(|index| self.connections.get_mut(index)) {
                connection.handle_requests();
            }
        }
    }

    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        self.run();
        while let Some(next) = self.next_timer().filter(|&next| next <= end) {
            self.set_time(next);
            self.run();
        }
        self.now = end;
        self.connections.iter_mut().for_each(|connection| connection.observer.now = end);
    }

    /// The next instant at which a timer expires; one in the past does so with the next tick.
    fn next_timer(&self) -> Option<Instant> {
        let next = self.connections.iter().filter_map(SimulatedConnection::next_timer).min()?;
        Some(if next > self.now { next } else { self.now + TICK })
    }

    fn set_time(&mut self, now: Instant) {
        self.now = now;
        for connection in &mut self.connections {
            connection.handle_time(now);
        }
    }

    fn drain(&mut self, timeout: Duration) {
        self.run();
        let drain_by = self.now + timeout;
        self.drain_by = Some(drain_by);
        self.connections.iter_mut().for_each(|connection| connection.handle_drain(drain_by));
        self.run();
    }
}

impl fmt::Debug for Simulation<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Simulation").field("limits", &self.limits).field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl fmt::Debug for Peer<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Peer").field("index", &self.index).finish_non_exhaustive()
    }
}
