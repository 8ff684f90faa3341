//! Simulated server and its peers.

use super::scripted_socket::{LISTENER, ScriptedSocket, SocketInput};
use super::simulated_connection::{ConnectRequest, ConnectionFacts, LoopRequests, SimulatedConnection};
use crate::connection::{CloseReason, Limits};
use crate::service::{ConnectOptions, Context, Service};
use crate::socket::{Address, Endpoint};
use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Time after which a service is called again that waits for an instant in the past: a tick of the timer wheel.
const TICK: Duration = Duration::from_millis(1);

/// Maximum number of turns before every connection waits. More mean an endless loop.
const MAX_TURNS: usize = 1_000_000;

/// Host of the peers: one for documentation (RFC 5737).
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// Host that every name stands for.
const NAMED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));

type MakeService<'a> = dyn FnMut(&mut Context<'_>) -> Box<dyn Service + 'a> + 'a;

/// Server without a kernel: it serves the [peers](Peer) of a test on a simulated loop.
///
/// The simulated time stands still except in [`advance`](Self::advance).
///
/// # Panics
///
/// The methods of a simulation and of its peers panic when a service panics, when a service never waits, and when an
/// invariant is broken.
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
    /// Bytes that arrived before those of the service.
    preamble: Vec<u8>,
    /// Number of bytes of the service that [`receive`](Self::receive) has returned.
    taken: usize,
    has_ended: bool,
}

/// An outgoing connection that a service has requested. The test accepts or fails it; if it is dropped, the connect
/// never completes.
pub struct PendingConnect<'a> {
    event_loop: Rc<RefCell<SimulatedLoop<'a>>>,
    request: ConnectRequest,
}

/// The connections of a simulation, and its clock.
struct SimulatedLoop<'a> {
    now: Instant,
    /// When the connections that are left are closed, once a drain has begun.
    drain_by: Option<Instant>,
    requests: Rc<LoopRequests>,
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
            SimulatedLoop { now: Instant::now(), drain_by: None, requests: Rc::default(), connections: Vec::new() };
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
        self.open(|id| Address::Ip(SocketAddr::new(PEER, u16::try_from(id).unwrap_or(u16::MAX))))
    }

    /// Opens a connection from `address`.
    #[must_use = "a connection does nothing without its peer"]
    pub fn connect_from(&self, address: Address) -> Peer<'a> {
        self.open(|_| address)
    }

    fn open(&self, address: impl FnOnce(u64) -> Address) -> Peer<'a> {
        let make_service = &mut *self.make_service.borrow_mut();
        let mut event_loop = self.event_loop.borrow_mut();
        let id = event_loop.requests.next_id();
        let mut connection = event_loop.new_connection(id, address(id), Some(LISTENER), self.limits.clone());
        connection.open(make_service);
        Peer::new(Rc::clone(&self.event_loop), event_loop.add(connection), Vec::new())
    }

    /// The oldest connection that a service has requested with [`Context::connect`] and that was neither accepted nor
    /// failed yet.
    #[must_use]
    pub fn pending_connect(&self) -> Option<PendingConnect<'a>> {
        self.event_loop.borrow_mut().run();
        let request = self.event_loop.borrow().requests.connects.borrow_mut().pop_front()?;
        Some(PendingConnect { event_loop: Rc::clone(&self.event_loop), request })
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

impl<'a> Peer<'a> {
    fn new(event_loop: Rc<RefCell<SimulatedLoop<'a>>>, index: usize, preamble: Vec<u8>) -> Self {
        Self { event_loop, index, preamble, taken: 0, has_ended: false }
    }

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
        let mut arrived = std::mem::take(&mut self.preamble);
        arrived.extend_from_slice(&written[self.taken..]);
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

    /// Wakes the service without a visible reason.
    pub(super) fn wake(&self) {
        let connection = &mut self.event_loop.borrow_mut().connections[self.index];
        connection.connection.handle_wake();
        connection.request_turn();
    }
}

impl<'a> PendingConnect<'a> {
    /// Where and how the service connects. A TLS handshake is not simulated.
    #[must_use]
    pub fn options(&self) -> &ConnectOptions {
        &self.request.options
    }

    /// Establishes the connection. The peer is the endpoint to which the service connects. It
    /// receives the [preamble](ConnectOptions::preamble) first.
    #[must_use = "a connection does nothing without its peer"]
    pub fn accept(self) -> Peer<'a> {
        let ConnectRequest { id, options, service, handle } = self.request;
        let mut event_loop = self.event_loop.borrow_mut();
        let mut connection = event_loop.new_connection(id, address_of(&options.endpoint), None, options.limits);
        connection.open(|_| service);
        handle.attach(event_loop.connections.len() as u64);
        connection.connection.set_handle(handle);
        connection.handle_requests();
        let index = event_loop.add(connection);
        drop(event_loop);
        Peer::new(self.event_loop, index, options.preamble)
    }

    /// Fails the connect for `reason`, such as [`CloseReason::ConnectRefused`]: the service learns of it by
    /// [`Service::closed`].
    pub fn fail(mut self, reason: CloseReason) {
        self.request.handle.end();
        self.request.service.closed(reason);
        self.event_loop.borrow_mut().run();
    }
}

/// An address that stands for `endpoint`; one for documentation (RFC 5737) for a name.
fn address_of(endpoint: &Endpoint) -> Address {
    match endpoint {
        Endpoint::Tcp { host, port } => Address::Ip(SocketAddr::new(host.parse().unwrap_or(NAMED), *port)),
        Endpoint::Unix(path) => Address::Unix(path.clone()),
    }
}

impl<'a> SimulatedLoop<'a> {
    /// Creates a connection that must be opened and [added](Self::add) at once.
    fn new_connection(
        &self,
        id: u64,
        peer: Address,
        listener: Option<Address>,
        limits: Limits,
    ) -> SimulatedConnection<Box<dyn Service + 'a>> {
        let key = self.connections.len() as u64;
        let facts = ConnectionFacts { id, key, peer, listener, requests: Rc::clone(&self.requests) };
        let mut connection = SimulatedConnection::new(ScriptedSocket::default(), limits, self.now, facts);
        if let Some(drain_by) = self.drain_by {
            connection.handle_drain(drain_by);
        }
        connection
    }

    /// Adds a connection, and returns its index.
    fn add(&mut self, connection: SimulatedConnection<Box<dyn Service + 'a>>) -> usize {
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
        for key in self.requests.woken.take() {
            let index = usize::try_from(key).ok();
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

impl fmt::Debug for PendingConnect<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PendingConnect").field("request", &self.request).finish_non_exhaustive()
    }
}
