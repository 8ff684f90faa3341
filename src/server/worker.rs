//! One worker: an event loop with its acceptors and connections. Workers share only state that is touched when a
//! connection opens or closes.

mod connection_entry;
mod entry;
mod local_wakes;
mod outgoing;
mod outgoing_entries;
mod peer_address;
mod proxy_header;
mod session_turn;
mod signals;
#[cfg(all(test, multiconn_simulated))]
mod tests {
    pub(super) mod world;
}

use super::acceptor::{ACCEPTS_PER_TURN, Accepted, Acceptor, Purpose};
use super::admin::{AdminConnection, AdminConnections, RoundMetrics};
use super::config::MAX_ADMIN_CONNECTIONS;
use super::counters::{Counters, HandshakeResult};
use super::lifecycle::Lifecycle;
use super::malformed::Malformed;
use super::message::Message;
use super::observer::SessionObserver;
use super::shared::Shared;
use super::summary::Summary;
use super::tls_accept::{self, ProtocolMismatch};
use super::token::{Token, Trigger};
use super::udp::UdpSockets;
use crate::buffer::BufferPool;
use crate::connection::{CloseReason, Limits};
use crate::error::{Error, Warning, in_words};
use crate::event_loop::{EventLoop, Expired, Handler, Key, LoopContext, Readiness, Slab};
use crate::log_targets::SERVER_LOG;
use crate::panic_guard::guarded;
use crate::pump::{Pump, Session};
use crate::service::{Context, Notify, Service};
use crate::socket::{Address, DatagramSocket, Listener, Stream};
use crate::units::later;
use connection_entry::ConnectionEntry;
use entry::Entry;
use local_wakes::LocalWakes;
use outgoing::Connects;
use session_turn::{is_turn_due, run_turn};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Event loop and sockets of one worker.
pub(super) struct Job {
    pub(super) event_loop: EventLoop<Message>,
    pub(super) listeners: Vec<(Purpose, Listener)>,
    pub(super) datagrams: Vec<DatagramSocket>,
}

/// Makes the service of each connection of one worker.
pub(super) type MakeService<'a, S> = Box<dyn FnMut(&mut Context<'_>) -> S + 'a>;

/// Number of connections that a turn may wake and that are served right after it. Their data is still in the cache. The
/// others go to the ready queue, so that a broadcast delays no other connection.
const SERVED_AT_ONCE: usize = 8;

/// Connects that are started at once, before events are handled again. Each takes a few system calls; 64 delay other
/// connections by about a millisecond.
const CONNECTS_PER_ROUND: usize = 64;

pub(super) struct Worker<'a, S> {
    shared: &'a Arc<Shared>,
    make_service: MakeService<'a, S>,
    notify: Arc<dyn Notify>,
    woken: LocalWakes,
    /// The session table: service connections and admin connections.
    entries: Slab<Entry<S>>,
    admin: AdminConnections,
    acceptors: Vec<Acceptor>,
    pool: BufferPool,
    limits: Limits,
    stage: Lifecycle,
    /// Whether this worker handles signals or admin connections. It then ends after all others, so that a second signal
    /// is still handled and a last admin request still answered.
    ends_last: bool,
    counters: &'a Counters,
    /// None without admin pages.
    metrics: Option<RoundMetrics<'a>>,
    datagrams: UdpSockets<'a>,
    connects: Connects<'a>,
    /// Warns of connections that could not be registered.
    register_warning: Warning,
    /// Warns of services that panicked.
    panic_warning: Warning,
    /// Warns of invalid PROXY protocol headers.
    proxy_header_warning: Warning,
    protocol_mismatch: ProtocolMismatch,
    malformed: Malformed<'a>,
}

impl<'a, S: Service> Worker<'a, S> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        make_service: MakeService<'a, S>,
        number: usize,
        job: &mut Job,
    ) -> Result<Self, Error> {
        let counters = &shared.counters[number];
        let acceptor = |(index, (purpose, listener))| Acceptor::new(listener, purpose, Token::Acceptor(index).key());
        let acceptors: Vec<_> = job.listeners.drain(..).enumerate().map(acceptor).collect();
        let is_observed = shared.config.metrics.is_some();
        let woken = LocalWakes::of_new_worker();
        Ok(Self {
            shared,
            make_service,
            notify: Arc::new(woken.notify(job.event_loop.sender())),
            woken,
            entries: Slab::default(),
            admin: AdminConnections::new(),
            pool: BufferPool::new(),
            limits: shared.config.limits.clone(),
            stage: if shared.handover.is_taking_over() { Lifecycle::Starting } else { Lifecycle::Serving },
            ends_last: job.event_loop.handles_signals()
                || acceptors.iter().any(|acceptor| acceptor.purpose() == Purpose::Admin),
            acceptors,
            counters,
            metrics: is_observed.then(|| RoundMetrics::new(&shared.process, &counters.rounds)),
            connects: Connects::new(shared, job.event_loop.sender()),
            register_warning: Warning::default(),
            panic_warning: Warning::default(),
            proxy_header_warning: Warning::default(),
            datagrams: UdpSockets::new(shared, counters, std::mem::take(&mut job.datagrams))?,
            protocol_mismatch: ProtocolMismatch::default(),
            malformed: Malformed::new(&shared.malformed),
        })
    }

    pub(super) fn run(mut self, event_loop: &mut EventLoop<Message>) -> Result<Summary, Error> {
        self.open_sockets(event_loop.context())?;
        let result = guarded(|| event_loop.run(&mut self)).map_err(Error::Panic);
        let result = result.and_then(|result| result.map_err(Error::system("wait for events")));
        if result.is_err() {
            // Every service is told of its end.
            self.stop(event_loop.context());
        }
        result?;
        if let Some(metrics) = &self.metrics {
            metrics.record_exit();
        }
        Ok(self.counters.summary())
    }

    /// Registers the listeners and the UDP sockets.
    fn open_sockets(&mut self, context: &mut LoopContext) -> Result<(), Error> {
        for acceptor in &mut self.acceptors {
            acceptor.open(context).map_err(Error::system("wait for connections"))?;
        }
        self.datagrams.open(context).map_err(Error::system("wait for datagrams"))?;
        if let Some(metrics) = &mut self.metrics {
            metrics.arm_heartbeat(context);
        }
        self.shared.worker_is_ready().map_err(Error::system("report readiness to the old process"))
    }

    /// Handles an event of a listening socket, its turn in the ready queue, or the end of its pause.
    fn handle_acceptor(&mut self, context: &mut LoopContext, index: usize, trigger: Trigger) {
        let Some(acceptor) = self.acceptors.get_mut(index).filter(|acceptor| acceptor.accepts_on(trigger)) else {
            return;
        };
        match acceptor.purpose() {
            // They are accepted when this process serves, or by the old one if that goes on.
            Purpose::Service if self.stage == Lifecycle::Starting => {}
            Purpose::Service if self.stage == Lifecycle::Serving => self.accept_pending(context, index),
            Purpose::Service => self.accept_backlog(context, index),
            // After the other events of the round: a request that has arrived is read before a new connection can
            // replace its connection.
            Purpose::Admin if matches!(trigger, Trigger::Event(_)) => {
                context.ready.push_back(Token::Acceptor(index).key());
            }
            Purpose::Admin => self.accept_admin(context, index),
        }
    }

    /// Accepts pending connections, up to the per-turn budget.
    fn accept_pending(&mut self, context: &mut LoopContext, index: usize) {
        self.acceptors[index].begin_turn(ACCEPTS_PER_TURN);
        loop {
            let acceptor = &mut self.acceptors[index];
            if self.shared.admission.is_closed() {
                return acceptor.pause(context);
            }
            match acceptor.accept(context, self.counters) {
                Accepted::Connection(stream, peer) => self.open(context, index, stream, peer),
                Accepted::Empty | Accepted::BudgetSpent | Accepted::Paused | Accepted::Failed => return,
            }
        }
    }

    /// Accepts all pending connections at shutdown, whatever the limits, then closes the acceptor. Closing earlier would
    /// reset them. Without a free descriptor it stays open until a connection closes or the drain timeout expires.
    fn accept_backlog(&mut self, context: &mut LoopContext, index: usize) {
        self.acceptors[index].end_pause();
        loop {
            match self.acceptors[index].accept(context, self.counters) {
                Accepted::Connection(stream, peer) => self.open(context, index, stream, peer),
                Accepted::Paused if self.limits.drain_by.is_some_and(|end| context.now < end) => return,
                Accepted::Empty | Accepted::BudgetSpent | Accepted::Paused | Accepted::Failed => {
                    return self.acceptors[index].close(context);
                }
            }
        }
    }

    /// Accepts pending admin connections, whatever the limits and the stage.
    fn accept_admin(&mut self, context: &mut LoopContext, index: usize) {
        self.acceptors[index].begin_turn(MAX_ADMIN_CONNECTIONS);
        while let Accepted::Connection(stream, _) = self.acceptors[index].accept(context, self.counters) {
            self.open_admin(context, stream);
        }
    }

    fn open_admin(&mut self, context: &mut LoopContext, mut socket: Stream) {
        if let Some(key) = self.admin.connection_to_evict(|key| self.entries.get(key).and_then(Entry::admin)) {
            self.close_admin(context, key);
        }
        let key = self.entries.next_key();
        if let Err(error) = context.register(socket.source(), key) {
            return self.counters.accept_failed(&error);
        }
        let connection = AdminConnection::new(self.shared, socket, context.now);
        self.entries.insert(Entry::Admin(Box::new(connection)));
        self.admin.add(key);
        self.turn(context, key);
    }

    fn close_admin(&mut self, context: &mut LoopContext, key: Key) {
        let Some(Entry::Admin(mut connection)) = self.entries.remove(key) else { return };
        connection.session.deregister(context, key, &self.admin.memory);
        drop(connection);
        self.admin.remove(key);
        self.acceptors.iter_mut().for_each(|acceptor| acceptor.resume(context));
    }

    /// Starts serving a connection of the acceptor `index`.
    fn open(&mut self, context: &mut LoopContext, index: usize, mut socket: Stream, peer: Address) {
        if let Err(refusal) = self.shared.admission.enter(&peer) {
            log::debug!(peer:%, reason:% = refusal; "connection refused");
            self.counters.refused.add(refusal);
            return;
        }
        let key = self.entries.next_key();
        if let Err(error) = context.register(socket.source(), key) {
            self.leave(&peer, !self.shared.config.proxy_protocol);
            // The system cannot register another descriptor (epoll_ctl(2), ENOMEM and ENOSPC).
            self.counters.accept_failed(&error);
            if self.register_warning.is_due(context.now) {
                let count = self.counters.accept_errors.total();
                log::warn!(peer:%, error = in_words(&error), count; "cannot register a connection");
            }
            return;
        }
        let wrapped = match &self.shared.tls {
            Some(tls) => tls_accept::start_tls(&tls.acceptor, socket),
            None => Some(socket),
        };
        let Some(socket) = wrapped else {
            return self.leave(&peer, !self.shared.config.proxy_protocol);
        };
        let number = self.shared.next_number();
        self.counters.accepted.add(1);
        let local = self.acceptors[index].address().map(ToString::to_string);
        log::debug!(
            target: SERVER_LOG, connection = number, peer:%, local;
            "Accepted connection from {}", peer.in_python()
        );
        let mut session = Session::new(None, socket, context.now);
        session.listener = u16::try_from(index).unwrap_or(u16::MAX);
        session.is_admitted = !self.shared.config.proxy_protocol;
        if !session.is_admitted {
            session.connection.handle_handshake();
        }
        if self.stage == Lifecycle::Draining {
            session.connection.handle_drain();
        }
        self.entries.insert(Entry::Service(ConnectionEntry::new(session, peer, number)));
        self.turn(context, key);
    }

    /// Passes `trigger` to the connection with `key`, unless the key is stale: the connection ended within this batch of
    /// events. Returns whether a turn is due.
    #[inline(always)]
    fn is_turn_due(&mut self, context: &mut LoopContext, key: Key, trigger: Trigger) -> bool {
        match self.entries.get_mut(key) {
            Some(Entry::Service(entry)) => is_turn_due(&mut entry.session, context, key, trigger, &self.limits),
            Some(Entry::Admin(connection)) => {
                is_turn_due(&mut connection.session, context, key, trigger, &self.admin.limits)
            }
            Some(Entry::Outgoing(_)) => {
                self.handle_outgoing(context, key, trigger);
                false
            }
            None => false,
        }
    }

    /// Runs a turn of the session with `key`, if it still exists, and of those that it wakes.
    #[inline(never)]
    fn turn(&mut self, context: &mut LoopContext, key: Key) {
        self.turn_inline(context, key);
    }

    /// As [`turn`](Self::turn), for the path of a message.
    #[inline(always)]
    fn turn_inline(&mut self, context: &mut LoopContext, key: Key) {
        self.turn_alone_inline(context, key);
        if !self.woken.is_empty() {
            self.serve_woken(context, SERVED_AT_ONCE);
        }
    }

    /// Serves up to `at_once` connections that were woken on this thread; the others get a place in the ready queue. So
    /// do those that they wake, because two connections that keep waking each other must not starve the rest.
    fn serve_woken(&mut self, context: &mut LoopContext, at_once: usize) {
        let woken = self.woken.take();
        for (position, &key) in woken.iter().enumerate() {
            match self.entries.get_mut(key) {
                Some(Entry::Service(entry)) => {
                    entry.session.connection.handle_requests();
                    if position < at_once {
                        self.turn_alone(context, key);
                    } else {
                        entry.session.queue_turn(context, key);
                    }
                }
                Some(Entry::Outgoing(_)) => self.wake_outgoing(context, key, position < at_once),
                _ => {}
            }
        }
        self.woken.recycle(woken);
        if !self.woken.is_empty() {
            self.serve_woken(context, 0);
        }
    }

    #[inline(never)]
    fn turn_alone(&mut self, context: &mut LoopContext, key: Key) {
        self.turn_alone_inline(context, key);
    }

    #[inline(always)]
    fn turn_alone_inline(&mut self, context: &mut LoopContext, key: Key) {
        let entry = match self.entries.get_mut(key) {
            Some(Entry::Service(entry)) if entry.session.is_admitted => entry,
            Some(Entry::Service(_)) => return self.turn_with_header(context, key),
            Some(Entry::Admin(connection)) => {
                if connection.turn(context, key, &mut self.pool, &self.admin) {
                    self.close_admin(context, key);
                }
                return;
            }
            Some(Entry::Outgoing(_)) => return self.turn_outgoing(context, key),
            None => return,
        };
        let connection = &entry.session.connection;
        let expects_plain_text = connection.received_bytes() == 0 && self.shared.tls.is_none();
        let (now, counters, sending) = (context.now, self.counters, self.shared.config.sending);
        let (peer, number) = (&*entry.peer.get(), entry.number);
        let mut observer = SessionObserver {
            now,
            key,
            peer,
            number,
            listener: self.acceptors.get(usize::from(entry.session.listener)),
            notify: &self.notify,
            shared: self.shared,
            requests: &mut self.connects.requests,
            send_limit: self.limits.buffer_bytes,
            sending,
            counters,
            expects_plain_text,
            speaks_tls: false,
        };
        let (pool, memory) = (&mut self.pool, &self.shared.memory);
        let mut pump = Pump { pool, memory, limits: &self.limits, observer: &mut observer };
        let turn = run_turn(&mut entry.session, &mut pump, context, key, &mut *self.make_service);
        if observer.speaks_tls {
            self.protocol_mismatch.warn_of_tls(context.now, peer);
        }
        if let Some(reason) = turn.closed() {
            self.close(context, key, reason);
        } else if let Some(reason) = entry.session.connection.ending()
            && let Some(closing) = entry.closing(reason, context.now, &mut self.malformed)
        {
            // Logged now rather than when the peer closes, which can take as long as lingering does.
            closing.log();
        }
    }

    /// Runs a turn of a connection once its PROXY header has arrived.
    #[cold]
    fn turn_with_header(&mut self, context: &mut LoopContext, key: Key) {
        if self.receive_header(context, key) {
            self.turn_alone(context, key);
        }
    }

    fn close(&mut self, context: &mut LoopContext, key: Key, reason: CloseReason) {
        let mut entry = match self.entries.remove(key) {
            Some(Entry::Service(entry)) => entry,
            Some(Entry::Outgoing(outgoing)) => return self.close_outgoing(context, key, *outgoing, reason),
            _ => return,
        };
        entry.session.deregister(context, key, &self.shared.memory);
        #[cfg(all(test, multiconn_simulated))]
        tests::world::on_closed(&entry.session.socket, reason);
        let closing = entry.closing(reason, context.now, &mut self.malformed);
        let (peer, is_admitted) = (entry.peer.get(), entry.session.is_admitted);
        // Before the end of a PROXY header there is no handshake.
        if let Some(result) = HandshakeResult::of_closed(&entry.session.socket, reason).filter(|_| is_admitted) {
            self.counters.handshakes.add(result);
        }
        self.protocol_mismatch.check_closed(context.now, &entry.session.socket, &peer);
        // The service may panic; the socket is closed in any case.
        let _ = guarded(|| entry.session.connection.end(reason));
        let _ = guarded(|| drop(entry.session));
        self.on_closed(context, &peer, is_admitted, reason);
        // Logged after `on_closed`: if the peer closed first, its slot is free when this line appears.
        if let Some(closing) = closing {
            closing.log();
        }
    }

    /// Counts a closed connection, and resumes paused acceptors: its slot and its descriptor are free by now.
    fn on_closed(&mut self, context: &mut LoopContext, peer: &Address, is_admitted: bool, reason: CloseReason) {
        self.leave(peer, is_admitted);
        self.counters.closed.add(reason);
        if reason == CloseReason::ServicePanicked && self.panic_warning.is_due(context.now) {
            let count = self.counters.closed.get(reason);
            log::warn!(peer:%, count; "service panicked; connection closed");
        }
        self.acceptors.iter_mut().for_each(|acceptor| acceptor.resume(context));
    }

    fn leave(&self, peer: &Address, is_admitted: bool) {
        self.shared.admission.leave(is_admitted.then_some(peer));
    }

    /// Accepts all pending connections, closes the acceptors, and lets every connection finish.
    fn drain(&mut self, context: &mut LoopContext) {
        if self.stage >= Lifecycle::Draining {
            return;
        }
        let was_starting = std::mem::replace(&mut self.stage, Lifecycle::Draining) == Lifecycle::Starting;
        self.shared.process.is_draining.store(true, Ordering::Relaxed);
        // A signal can arrive before `Message::Serve`.
        let old_one_serves = was_starting && self.shared.handover.is_taking_over();
        self.shared.service_manager.notify_stopping();
        self.limits.drain_by = Some(later(context.now, self.shared.config.drain_timeout));
        // Only connections that are pending now, not those that keep arriving.
        let max_pending = self.shared.config.socket.backlog as usize;
        for index in 0..self.acceptors.len() {
            match self.acceptors[index].purpose() {
                Purpose::Admin => {}
                // The old process accepts them.
                Purpose::Service if old_one_serves => self.acceptors[index].close(context),
                Purpose::Service => {
                    self.acceptors[index].begin_turn(max_pending);
                    self.accept_backlog(context, index);
                }
            }
        }
        self.datagrams.drain(context);
        for key in self.entries.keys() {
            match self.entries.get_mut(key) {
                Some(Entry::Service(entry)) => {
                    entry.session.connection.handle_drain();
                    self.turn(context, key);
                }
                Some(Entry::Outgoing(_)) => self.drain_outgoing(context, key),
                _ => {}
            }
        }
    }

    /// Accepts connections from now on. No event reports again those that are pending.
    fn serve(&mut self, context: &mut LoopContext) {
        if self.stage == Lifecycle::Starting {
            self.stage = Lifecycle::Serving;
            (0..self.acceptors.len()).for_each(|index| context.ready.push_back(Token::Acceptor(index).key()));
        }
    }

    /// Closes the listeners after a handover. The new process has the same sockets and accepts the pending connections,
    /// so closing them here resets none.
    fn release_listeners(&mut self, context: &mut LoopContext) {
        if self.stage == Lifecycle::Serving {
            self.stage = Lifecycle::HandedOver;
            self.acceptors.iter_mut().for_each(|acceptor| acceptor.close(context));
            self.datagrams.close(context);
        }
    }

    /// Calls the connection or the fixed part of the worker that `key` belongs to.
    #[inline(never)]
    fn dispatch(&mut self, context: &mut LoopContext, key: Key, trigger: Trigger) {
        match Token::of(key) {
            None => {
                if self.is_turn_due(context, key, trigger) {
                    self.turn(context, key);
                }
            }
            Some(Token::Acceptor(index)) => self.handle_acceptor(context, index, trigger),
            Some(Token::UdpSocket(index)) => self.datagrams.handle(context, index, trigger),
            Some(Token::Heartbeat) => self.metrics.iter_mut().for_each(|metrics| metrics.record_heartbeat(context)),
        }
    }

    fn stop(&mut self, context: &mut LoopContext) {
        self.drain(context);
        self.stage = Lifecycle::Stopped;
        self.acceptors.iter_mut().for_each(|acceptor| acceptor.close(context));
        for key in self.entries.keys() {
            self.close(context, key, CloseReason::Stopped);
        }
        self.start_connects(context, 0);
    }
}

impl<S: Service> Handler for Worker<'_, S> {
    type Message = Message;

    #[inline(always)]
    fn handle_event(&mut self, context: &mut LoopContext, key: Key, readiness: Readiness) {
        let trigger = Trigger::Event(readiness);
        if Token::of(key).is_some() {
            self.dispatch(context, key, trigger);
        } else if self.is_turn_due(context, key, trigger) {
            self.turn_inline(context, key);
        }
    }

    fn handle_expired(&mut self, context: &mut LoopContext, due: Expired) {
        if let Some(metrics) = &self.metrics {
            metrics.record_timer_lag(context, due);
        }
        self.dispatch(context, due.key(), Trigger::Expired);
    }

    fn handle_precise_timer(&mut self, context: &mut LoopContext, key: Key) {
        self.dispatch(context, key, Trigger::PreciseTimer);
    }

    fn handle_ready(&mut self, context: &mut LoopContext, key: Key) {
        self.dispatch(context, key, Trigger::Ready);
    }

    fn handle_message(&mut self, context: &mut LoopContext, message: Message) {
        match message {
            Message::Drain => self.drain(context),
            Message::Stop => self.stop(context),
            // Only wakes the loop, which then checks `is_done`.
            Message::Ended => {}
            Message::DuplicateListeners(answer) => {
                let acceptors = self.acceptors.iter().filter_map(Acceptor::duplicate);
                acceptors.chain(self.datagrams.duplicates()).for_each(|duplicate| drop(answer.send(duplicate)));
            }
            Message::Serve => self.serve(context),
            Message::HandedOver => self.release_listeners(context),
            Message::Ping(reply) => drop(reply.send(())),
            Message::Resolved(key, resolved) => self.handle_resolved(context, key, resolved),
            // Served at the end of the round, as if woken on this thread: a broadcast delays nobody.
            Message::Wake(key) => local_wakes::push(key),
        }
    }

    fn handle_signal(&mut self, context: &mut LoopContext, signal: i32) {
        self.on_signal(context, signal);
    }

    #[inline]
    fn handle_round(&mut self, context: &mut LoopContext) {
        // First: a connect that fails at once can wake other connections.
        if !self.connects.requests.is_empty() {
            self.start_connects(context, CONNECTS_PER_ROUND);
        }
        if !self.woken.is_empty() {
            self.serve_woken(context, SERVED_AT_ONCE);
        }
        // What was requested meanwhile waits in the ready queue: otherwise the loop would sleep until another event.
        if !self.connects.requests.is_empty() {
            self.start_connects(context, 0);
            self.serve_woken(context, 0);
        }
        if let Some(metrics) = &self.metrics {
            metrics.record_round(context, &self.pool);
        }
    }

    fn is_done(&self) -> bool {
        let has_connections = self.entries.len() > self.admin.len();
        match self.stage {
            Lifecycle::Starting | Lifecycle::Serving => false,
            Lifecycle::HandedOver | Lifecycle::Draining => {
                let is_needed = self.ends_last && self.shared.running.load(Ordering::Relaxed) > 1;
                let is_open = |acceptor: &Acceptor| acceptor.purpose() == Purpose::Service && !acceptor.is_closed();
                !has_connections && !self.acceptors.iter().any(is_open) && !is_needed
            }
            Lifecycle::Stopped => !has_connections,
        }
    }
}
