//! Outgoing connections of a worker: name lookup, connect to each address in turn, preamble and TLS.
//!
//! A service requests a connection with `Context::connect`; once established, it runs its own service.

#[cfg(test)]
mod tests;

use super::connection_entry::ConnectionEntry;
use super::session_turn::is_turn_due;
use crate::buffer::MemoryAccount;
use crate::connection::CloseReason;
use crate::error::{ErrorClass, Warning, in_words};
use crate::event_loop::{Key, LoopContext, Readiness, Sender, Timer};
use crate::log_targets::SERVER_LOG;
use crate::panic_guard::guarded;
use crate::pump::Session;
use crate::server::malformed::Malformed;
use crate::server::message::Message;
use crate::server::observer::{CloseLog, ConnectRequest};
use crate::server::resolver::{Lookup, PendingLookup, Resolved};
use crate::server::shared::Shared;
use crate::server::token::Trigger;
use crate::service::{ConnectOptions, Handle, NextSend, Service};
use crate::socket::{Address, ByteStream, ConnectProgress, Endpoint, Stream, begin_connect, check_connect};
use crate::units::later;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause before the connect to a Unix socket with a full backlog is repeated: no event announces room (connect(2),
/// `EAGAIN`).
const RETRY_PAUSE: Duration = Duration::from_millis(10);

const NOT_READY: Readiness = Readiness { readable: false, writable: false, hang_up: false };

/// What the connects of a worker share.
pub(super) struct Connects<'a> {
    shared: &'a Arc<Shared>,
    sender: Sender<Message>,
    /// Requests of services since the last turn.
    pub(super) requests: Vec<ConnectRequest>,
    /// Warns of connections that could not be opened for a reason on this side, which are counted.
    warning: Warning,
    warned_of: u64,
}

/// An outgoing connection, from its request to its end.
pub(super) struct Outgoing {
    pub(super) number: u64,
    pub(super) options: ConnectOptions,
    handle: Handle,
    /// The service, until the connection is open.
    pub(super) service: Option<Box<dyn Service>>,
    pub(super) state: State,
    timer: Timer,
    /// When the connect is given up.
    deadline: Instant,
    /// Whether it counts against the limit on outgoing connections.
    pub(super) is_counted: bool,
    /// Bytes charged to the memory account before the connection is open.
    pub(super) held_bytes: usize,
    /// The last error of the connect.
    error: Option<String>,
}

/// How far an outgoing connection has come.
pub(super) enum State {
    /// The lookup of the name has not started, or runs.
    Resolving {
        _lookup: Option<PendingLookup>,
    },
    Connecting(Connecting),
    /// Connected; a TLS handshake may be in progress.
    Connected(ConnectionEntry<Box<dyn Service>>),
}

/// A connect to one address after the other.
pub(super) struct Connecting {
    address: Address,
    /// None while it waits to be repeated.
    socket: Option<Stream>,
    /// When the next address is tried.
    until: Instant,
    untried: VecDeque<Address>,
    /// The most informative failure so far.
    failure: Option<CloseReason>,
    /// How many bytes of the preamble were sent.
    sent: usize,
    readiness: Readiness,
}

/// What an outgoing connection needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// An event, a timer or a message.
    Wait,
    /// A turn of its session.
    Turn,
    /// It failed, or was abandoned.
    Close(CloseReason),
}

impl<'a> Connects<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, sender: Sender<Message>) -> Self {
        Self { shared, sender, requests: Vec::new(), warning: Warning::default(), warned_of: 0 }
    }

    /// Warns of a failure that concerns this machine rather than the peer. Any number of connections can have it.
    pub(super) fn warn(&mut self, now: Instant, (connection, endpoint): (u64, &Endpoint), error: &str) {
        self.warned_of += 1;
        if self.warning.is_due(now) {
            log::warn!(connection, endpoint:%, error, count = self.warned_of; "cannot open an outgoing connection");
        }
    }
}

impl Outgoing {
    pub(super) fn new(request: ConnectRequest, is_counted: bool, drain_by: Option<Instant>, now: Instant) -> Self {
        let ConnectRequest { number, mut options, service, handle, .. } = request;
        options.limits.drain_by = drain_by;
        let deadline = later(now, options.connect_timeout);
        Self {
            number,
            options,
            handle,
            service: Some(service),
            state: State::Resolving { _lookup: None },
            timer: Timer::default(),
            deadline,
            is_counted,
            held_bytes: 0,
            error: None,
        }
    }

    /// Starts the lookup of the name.
    fn start(&mut self, context: &mut LoopContext, key: Key, connects: &mut Connects<'_>) -> Step {
        // Handles can be used before the worker has the connection.
        let step = self.handle_requests(&connects.shared.memory);
        if step != Step::Wait {
            return step;
        }
        let sender = connects.sender.clone();
        let reply = move |resolved| sender.send(Message::Resolved(key, resolved));
        match connects.shared.resolver.look_up(&self.options.endpoint, context.now, reply) {
            Lookup::Done(resolved) => self.handle_resolved(context, key, connects, resolved),
            Lookup::Pending(lookup) => {
                self.state = State::Resolving { _lookup: Some(lookup) };
                self.arm(context, key, self.deadline)
            }
        }
    }

    /// The lookup of the name is complete: connects to the first address.
    pub(super) fn handle_resolved(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        connects: &mut Connects<'_>,
        resolved: Resolved,
    ) -> Step {
        match resolved {
            Ok(addresses) => {
                self.state = State::Connecting(Connecting::new(addresses, context.now));
                self.connect_next(context, key, connects)
            }
            Err(error) => {
                self.error = Some(error);
                Step::Close(CloseReason::Unresolved)
            }
        }
    }

    /// Handles an event, an expired timer or a use of the handle.
    pub(super) fn handle(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        connects: &mut Connects<'_>,
        trigger: Trigger,
    ) -> Step {
        match (&mut self.state, trigger) {
            (_, Trigger::Wake) if self.service.is_some() => self.handle_requests(&connects.shared.memory),
            (State::Connected(entry), _) => {
                let is_due = is_turn_due(&mut entry.session, context, key, trigger, &self.options.limits);
                if is_due { Step::Turn } else { Step::Wait }
            }
            (State::Connecting(connecting), Trigger::Event(readiness)) => {
                connecting.add_readiness(readiness);
                self.handle_event(context, key, connects)
            }
            (State::Resolving { _lookup: None }, Trigger::Ready) => self.start(context, key, connects),
            (_, Trigger::Expired) => self.handle_expired(context, key, connects),
            _ => Step::Wait,
        }
    }

    /// The server drains. A connect may still complete, because the work of another connection can depend on it.
    pub(super) fn handle_drain(&mut self, context: &mut LoopContext, key: Key, drain_by: Option<Instant>) -> Step {
        self.options.limits.drain_by = drain_by;
        match &mut self.state {
            State::Connected(entry) => {
                entry.session.connection.handle_drain();
                Step::Turn
            }
            _ => self.arm(context, key, self.deadline),
        }
    }

    /// Handles what was asked through the handle before the connection is open. Bytes wait for that.
    fn handle_requests(&mut self, memory: &MemoryAccount) -> Step {
        if let Some(reason) = self.handle.take_requests().reset {
            return Step::Close(reason);
        }
        // Without room only the request to close is left to take.
        if let NextSend::Close(reason) = self.handle.next_send(0) {
            return Step::Close(reason);
        }
        let service = self.service.as_ref().map(|service| guarded(|| service.held_bytes()).unwrap_or_default());
        let held_bytes = self.handle.held_bytes().saturating_add(service.unwrap_or_default());
        let held_bytes = held_bytes.min(memory.limit().saturating_add(1));
        let is_within_limit = memory.update(self.held_bytes, held_bytes);
        self.held_bytes = held_bytes;
        if is_within_limit { Step::Wait } else { Step::Close(CloseReason::MemoryLimit) }
    }

    /// Connects to the next address.
    fn connect_next(&mut self, context: &mut LoopContext, key: Key, connects: &mut Connects<'_>) -> Step {
        loop {
            let State::Connecting(connecting) = &mut self.state else { return Step::Wait };
            let untried = u32::try_from(connecting.untried.len()).unwrap_or(u32::MAX);
            let Some(address) = connecting.untried.pop_front() else {
                return Step::Close(connecting.failure.unwrap_or(CloseReason::ConnectFailed));
            };
            connecting.address = address;
            connecting.until = context.now + self.deadline.saturating_duration_since(context.now) / untried;
            if let Some(step) = self.begin(context, key, connects) {
                return step;
            }
        }
    }

    /// Starts to connect to the current address. Returns `None` when the next one should be tried.
    fn begin(&mut self, context: &mut LoopContext, key: Key, connects: &mut Connects<'_>) -> Option<Step> {
        let State::Connecting(connecting) = &mut self.state else { return None };
        let opened = begin_connect(&connecting.address, &self.options.socket, None);
        match opened.and_then(|mut socket| context.register(socket.source(), key).map(|()| socket)) {
            Ok(socket) => {
                connecting.socket = Some(socket);
                let until = connecting.until;
                Some(self.arm(context, key, until))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let until = connecting.until.min(context.now + RETRY_PAUSE);
                Some(self.arm(context, key, until))
            }
            Err(error) => self.handle_failure(context, connects, &error),
        }
    }

    /// The connect may have completed.
    fn handle_event(&mut self, context: &mut LoopContext, key: Key, connects: &mut Connects<'_>) -> Step {
        let State::Connecting(connecting) = &mut self.state else { return Step::Wait };
        let Some(socket) = &mut connecting.socket else { return Step::Wait };
        let progress = check_connect(socket).and_then(|progress| match progress {
            ConnectProgress::Connected => send_rest(socket, &self.options.preamble, &mut connecting.sent),
            ConnectProgress::Pending => Ok(false),
        });
        match progress {
            Ok(true) => self.handle_connected(context),
            Ok(false) => Step::Wait,
            Err(error) => {
                connecting.close(context);
                let step = self.handle_failure(context, connects, &error);
                step.unwrap_or_else(|| self.connect_next(context, key, connects))
            }
        }
    }

    /// The timer has expired: the pause of a connect, or the time of an address or of all of them.
    fn handle_expired(&mut self, context: &mut LoopContext, key: Key, connects: &mut Connects<'_>) -> Step {
        let now = context.now;
        if self.options.limits.drain_by.is_some_and(|end| end <= now) {
            return Step::Close(CloseReason::DrainCut);
        }
        match &mut self.state {
            State::Connecting(connecting) if connecting.until <= now => {
                connecting.close(context);
                let step = self.handle_failure(context, connects, &ErrorKind::TimedOut.into());
                step.unwrap_or_else(|| self.connect_next(context, key, connects))
            }
            State::Connecting(Connecting { socket: Some(_), until, .. }) => {
                let until = *until;
                self.arm(context, key, until)
            }
            State::Connecting(_) => {
                let step = self.begin(context, key, connects);
                step.unwrap_or_else(|| self.connect_next(context, key, connects))
            }
            _ if self.deadline <= now => {
                self.error = Some("the name was not resolved in time".to_owned());
                Step::Close(CloseReason::ConnectTimeout)
            }
            _ => self.arm(context, key, self.deadline),
        }
    }

    /// The connect to an address has failed. Returns `None` when the next one should be tried.
    fn handle_failure(
        &mut self,
        context: &LoopContext,
        connects: &mut Connects<'_>,
        error: &io::Error,
    ) -> Option<Step> {
        let State::Connecting(connecting) = &mut self.state else { return None };
        let reason = match error.kind() {
            ErrorKind::ConnectionRefused => CloseReason::ConnectRefused,
            ErrorKind::TimedOut => CloseReason::ConnectTimeout,
            _ => CloseReason::ConnectFailed,
        };
        // Of several addresses, one that refuses says more than one that does not answer or cannot be reached.
        let is_informative = connecting.failure.is_none_or(|failure| reason < failure);
        connecting.failure = connecting.failure.map_or(Some(reason), |failure| Some(failure.min(reason)));
        let text = format!("{}: {}", connecting.address, in_words(error));
        log::debug!(connection = self.number, error = text; "cannot connect to {}", connecting.address.in_python());
        if is_informative {
            self.error = Some(text.clone());
        }
        let is_exhausted = ErrorClass::of(error) == ErrorClass::OutOfResources;
        if is_exhausted || error.kind() == ErrorKind::AddrNotAvailable {
            connects.warn(context.now, (self.number, &self.options.endpoint), &text);
        }
        is_exhausted.then_some(Step::Close(CloseReason::ConnectFailed))
    }

    /// The connect has completed, and the preamble is sent.
    fn handle_connected(&mut self, context: &mut LoopContext) -> Step {
        let State::Connecting(connecting) = std::mem::replace(&mut self.state, State::Resolving { _lookup: None })
        else {
            return Step::Wait;
        };
        let Some(socket) = connecting.socket else { return Step::Wait };
        context.wheel.cancel(&mut self.timer);
        let (connection, peer) = (self.number, connecting.address);
        let local = || socket.local_address().map(|address| address.to_string());
        log::debug!(target: SERVER_LOG, connection, peer:%, local = local(); "Connected to {}", peer.in_python());
        let wrapped = match &self.options.tls {
            Some(tls) => tls.connect(socket),
            None => Ok(socket),
        };
        let socket = match wrapped {
            Ok(socket) => socket,
            Err(error) => {
                self.error = Some(error.to_string());
                return Step::Close(CloseReason::HandshakeFailed);
            }
        };
        let mut session = Session::new(None, socket, context.now);
        session.connection.set_handle(self.handle.clone());
        if self.options.limits.drain_by.is_some() {
            session.connection.handle_drain();
        }
        let Readiness { readable, writable, hang_up } = connecting.readiness;
        session.connection.handle_event(readable, writable, hang_up);
        self.state = State::Connected(ConnectionEntry::new(session, peer, connection));
        Step::Turn
    }

    fn arm(&mut self, context: &mut LoopContext, key: Key, until: Instant) -> Step {
        let until = self.options.limits.drain_by.map_or(until, |end| end.min(until));
        context.wheel.arm(&mut self.timer, key, Some(until));
        Step::Wait
    }

    /// Removes the connection from the loop and informs its service. Returns its last log line, if that is due.
    pub(super) fn end(
        mut self,
        context: &mut LoopContext,
        key: Key,
        (memory, malformed): (&MemoryAccount, &mut Malformed<'_>),
        reason: CloseReason,
    ) -> Option<CloseLog> {
        context.wheel.cancel(&mut self.timer);
        memory.release(self.held_bytes);
        if !matches!(self.state, State::Connected(_)) {
            let (connection, endpoint, error) = (self.number, &self.options.endpoint, self.error);
            log::debug!(target: SERVER_LOG, connection, reason:%, error; "Closing connection to {endpoint}");
        }
        let mut closing = None;
        match self.state {
            State::Resolving { .. } => {}
            State::Connecting(mut connecting) => connecting.close(context),
            State::Connected(mut entry) => {
                entry.session.deregister(context, key, memory);
                closing = entry.closing(reason, context.now, malformed);
                let _ = guarded(|| entry.session.connection.end(reason));
                let _ = guarded(|| drop(entry));
            }
        }
        self.handle.end();
        if let Some(mut service) = self.service.take() {
            let _ = guarded(|| service.closed(reason));
            let _ = guarded(|| drop(service));
        }
        closing
    }
}

impl Connecting {
    fn new(addresses: Vec<Address>, now: Instant) -> Self {
        let (address, untried) = (Address::Unix(PathBuf::new()), addresses.into());
        Self { address, socket: None, until: now, untried, failure: None, sent: 0, readiness: NOT_READY }
    }

    /// Events are not repeated: the connection must know of all of them.
    fn add_readiness(&mut self, readiness: Readiness) {
        self.readiness.readable |= readiness.readable;
        self.readiness.writable |= readiness.writable;
        self.readiness.hang_up |= readiness.hang_up;
    }

    /// Closes the socket of the current address.
    fn close(&mut self, context: &mut LoopContext) {
        if let Some(mut socket) = self.socket.take() {
            context.deregister(socket.source());
        }
        (self.sent, self.readiness) = (0, NOT_READY);
    }
}

/// Sends the rest of `bytes`, of which `sent` were sent before. Returns whether that was all.
fn send_rest(socket: &mut Stream, bytes: &[u8], sent: &mut usize) -> io::Result<bool> {
    while *sent < bytes.len() {
        match socket.write(&bytes[*sent..]) {
            Ok(count) => *sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Outgoing")
            .field("number", &self.number)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
