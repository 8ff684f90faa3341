//! Connections over TCP, TLS and Unix sockets: the message exchange of each, driven by the pump.

pub(super) mod exchange;
pub(super) mod in_flight;
mod inline_queue;
pub(super) mod interactive;
mod observer;
mod read_only;
mod service;

use super::check::search::buffer_bytes;
use super::config::Expect;
use super::connector::ConnectAttempt;
use super::failure::Failure;
use super::plan::Plan;
use super::shared::Shared;
use super::transport::{CloseOutcome, DueMessage, Entry, OpenError, Transport, Trigger, TurnResult};
use crate::buffer::{BufferPool, MemoryAccount};
use crate::connection::{CloseReason, Limits};
use crate::event_loop::{Key, LoopContext, monotonic_time};
use crate::log_targets::CLIENT_LOG;
use crate::pump::{Pump, Session};
use crate::socket::{
    Address, ByteStream, ConnectProgress, Stream, TlsStream, begin_connect, check_connect, send_header,
};
use crate::units::later;
use exchange::{Exchange, ExchangeOutcome};
use interactive::InteractiveExchange;
use observer::ClientObserver;
use read_only::ReadOnly;
use service::ConnectionService;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Transport over byte streams.
pub(super) struct Tcp<'a> {
    shared: &'a Shared,
    plan: Rc<Plan>,
    pool: BufferPool,
    memory: MemoryAccount,
    pub(super) limits: Limits,
}

impl<'a> Transport<'a> for Tcp<'a> {
    type Connection = Session<ConnectionService>;

    const LOG_NOUN: &'static str = "connection";

    const SENDS_BATCHES: bool = false;

    fn new(shared: &'a Shared, plan: Rc<Plan>) -> Self {
        let (pool, memory) = (BufferPool::new(), MemoryAccount::unlimited());
        Self { shared, plan, pool, memory, limits: limits(shared) }
    }

    fn open(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        attempt: ConnectAttempt,
        address: &Address,
        source: Option<IpAddr>,
    ) -> Result<(Self::Connection, ConnectProgress), OpenError> {
        let config = &self.shared.config;
        let begun = begin_connect(address, &config.socket, source).and_then(|mut socket| {
            if self.plan.has_kernel_timestamps {
                socket.report_arrivals()?;
            }
            context.register(socket.source(), key)?;
            self.secured(attempt.number, socket)
        });
        match begun {
            Ok(socket) => {
                let now = monotonic_time();
                let mut session = Session::new(Some(self.service(attempt, address)), socket, now);
                session.arm(context, key, Some(later(now, config.connect_timeout)));
                Ok((session, ConnectProgress::Pending))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(OpenError::BacklogFull),
            Err(error) => Err(OpenError::Failed(Failure::of_connect(&error))),
        }
    }

    fn connect_progress(
        &mut self,
        entry: &mut Entry<Self::Connection>,
        trigger: Trigger,
    ) -> Result<ConnectProgress, Failure> {
        match trigger {
            Trigger::Expired => return Err(Failure::ConnectTimeout),
            Trigger::Event(_) => {}
            Trigger::Ready | Trigger::PreciseTimer | Trigger::Wake => return Ok(ConnectProgress::Pending),
        }
        let progress = check_connect(&entry.connection.socket).map_err(|error| Failure::of_connect(&error))?;
        if progress == ConnectProgress::Connected {
            // A failure is part of the connect: the header belongs to opening the connection.
            if let Some(version) = self.shared.config.proxy_protocol {
                send_header(version, &mut entry.connection.socket).map_err(|error| Failure::of_connect(&error))?;
            }
            self.plan.metrics.borrow_mut().connected(monotonic_time().saturating_duration_since(entry.attempt.since));
            // With TLS, once the handshake is complete: until then nothing can be sent, and that is not a send delay.
            if !entry.connection.connection.is_handshaking() {
                self.plan.on_open();
            }
        }
        Ok(progress)
    }

    fn has_capacity(session: &mut Self::Connection) -> bool {
        session
            .connection
            .service_mut()
            .and_then(ConnectionService::exchange)
            .is_some_and(|exchange| exchange.has_room())
    }

    fn assign(session: &mut Self::Connection, message: DueMessage) -> bool {
        session
            .connection
            .service_mut()
            .and_then(ConnectionService::exchange)
            .is_some_and(|exchange| exchange.add(message))
    }

    #[inline(always)]
    fn turn(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        entry: &mut Entry<Self::Connection>,
        trigger: Trigger,
    ) -> TurnResult {
        let session = &mut entry.connection;
        let is_due = match trigger {
            Trigger::Event(readiness) => session.handle_event(context, key, readiness),
            Trigger::Ready => session.handle_ready(),
            Trigger::Expired => session.handle_expired(&self.limits, context.now),
            Trigger::PreciseTimer => session.handle_precise_timer(context.now),
            Trigger::Wake => {
                session.connection.handle_wake();
                true
            }
        };
        if !is_due {
            return TurnResult::default();
        }
        self.plan.metrics.borrow_mut().begin_turn();
        let mut observer = ClientObserver::new(entry.attempt.number, &self.plan, entry.attempt.since, context.now);
        let (pool, memory) = (&mut self.pool, &self.memory);
        let mut pump = Pump { pool, memory, limits: &self.limits, observer: &mut observer };
        let was_handshaking = session.connection.is_handshaking();
        let closed = session.turn(&mut pump, context, key).closed();
        if let Some(exchange) = session.connection.service_mut().and_then(ConnectionService::exchange) {
            exchange.end_turn();
        }
        let service = service_of(session);
        TurnResult {
            is_open: !was_handshaking || (closed.is_none() && !session.connection.is_handshaking()),
            is_complete: service.is_complete(),
            close: closed.or(service.is_over().then_some(CloseReason::Completed)),
        }
    }

    fn abort(&mut self, context: &mut LoopContext, key: Key, session: &mut Self::Connection) {
        session.deregister(context, key, &self.memory);
    }

    fn close(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        entry: &mut Entry<Self::Connection>,
        reason: CloseReason,
    ) -> CloseOutcome {
        let session = &mut entry.connection;
        session.deregister(context, key, &self.memory);
        let (connection, service, number) = (&session.connection, service_of(session), entry.attempt.number);
        let outcome = with_tls_fault(service.outcome_after(reason), &session.socket);
        log::debug!(
            target: CLIENT_LOG, connection = number, failure = outcome.failure().map(|failure| failure.to_string()),
            received_bytes = connection.received_bytes(), sent_bytes = connection.sent_bytes();
            "Closing connection {number}"
        );
        let failure = outcome.failure();
        let exchange = session.connection.service_mut().and_then(ConnectionService::exchange);
        let is_cut_short = exchange.as_ref().is_some_and(|exchange| exchange.is_cut_short());
        let unsent = exchange.map_or_else(Vec::new, Exchange::take_unsent);
        let service = service_of(session);
        let mut metrics = self.plan.metrics.borrow_mut();
        if let Some(failure) = failure.filter(|_| session.socket.is_handshaking()) {
            metrics.progress.failed_handshakes.add(failure);
        }
        let now = self.plan.clock.nanos(monotonic_time());
        service.count_unanswered(outcome, now, &mut metrics);
        CloseOutcome { failure, is_complete: failure.is_none(), is_cut_short, done: service.done_count(), unsent }
    }
}

impl Tcp<'_> {
    /// Wraps the socket of connection `number` in TLS if its target uses TLS.
    fn secured(&self, number: u32, socket: Stream) -> io::Result<Stream> {
        let Some(tls) = self.shared.tls.get(self.shared.target_of(number)) else { return Ok(socket) };
        tls.connect(socket).map_err(io::Error::other)
    }

    fn service(&self, attempt: ConnectAttempt, address: &Address) -> ConnectionService {
        if let Some(interactive) = &self.shared.interactive {
            return ConnectionService::Interactive(InteractiveExchange::new(Arc::clone(interactive), attempt.since));
        }
        let config = &self.shared.config;
        if config.expect == Expect::ReadOnly {
            return ConnectionService::ReadOnly(ReadOnly::new(Rc::clone(&self.plan)));
        }
        let stream = u64::from(attempt.number) + attempt.generation * config.connections as u64;
        let mut exchange = Exchange::new(Rc::clone(&self.plan), attempt.number, stream, attempt.done);
        exchange.log_peer(address);
        ConnectionService::Exchange(exchange)
    }
}

/// The service of a connection, which has it from its beginning to its close.
fn service_of(session: &Session<ConnectionService>) -> &ConnectionService {
    session.connection.service().expect("a connection is created with its service")
}

/// Replaces the failure of a connection by its TLS fault, if there was one, since that is the trigger.
fn with_tls_fault(outcome: ExchangeOutcome, socket: &Stream) -> ExchangeOutcome {
    match (outcome, socket.tls().and_then(TlsStream::fault)) {
        (ExchangeOutcome::Failed(Failure::Stopped) | ExchangeOutcome::Completed, _) | (_, None) => outcome,
        (ExchangeOutcome::Failed(_), Some(fault)) => ExchangeOutcome::Failed(Failure::Tls(fault)),
    }
}

/// Limits of the connections: no idle timeouts, since services enforce the reply timeout and held connections may be
/// silent. A whole reply must fit the buffer. In interactive mode the write timeout detects a server that does not
/// read, and nothing lingers, since input is useless once the output is gone.
fn limits(shared: &Shared) -> Limits {
    let reply_bytes = if shared.requests.is_empty() { 0 } else { buffer_bytes(&shared.requests) };
    let without_timeouts = Limits {
        buffer_bytes: reply_bytes.max(shared.config.buffer_bytes),
        handshake: Some(shared.config.connect_timeout),
        ..Limits::without_timeouts()
    };
    match shared.interactive {
        Some(_) => Limits { linger: Duration::ZERO, write: Some(shared.config.reply_timeout), ..without_timeouts },
        None => without_timeouts,
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionService, Exchange};
    use crate::client::tcp::in_flight::InFlight;
    use crate::client::transport::Entry;
    use crate::pump::Session;
    use std::mem::size_of;

    /// What each connection takes, besides 8 bytes in the slab and 24 in the timer wheel. Without debug assertions the
    /// socket takes 8 bytes less.
    #[test]
    fn connections_are_small() {
        let sizes = [size_of::<InFlight>(), size_of::<Exchange>(), size_of::<Entry<Session<ConnectionService>>>()];
        let limits = [88, 192, 424];
        assert!(sizes.iter().zip(limits).all(|(size, limit)| *size <= limit), "{sizes:?} bytes, at most {limits:?}");
    }
}
