//! Client worker: an event loop that opens its share of the connections and runs their services.

use super::arrivals::Share;
use super::check::search::buffer_bytes;
use super::clock::nanos;
use super::connector::{ConnectAttempt, ConnectRate, Connector};
use super::dispatcher::Dispatcher;
use super::failure::Failure;
use super::measurements::Unanswered;
use super::plan::{LoadPhase, Plan};
use super::tcp::exchange::ExchangeOutcome;
use super::tcp::observer::ClientObserver;
use super::tcp::service::ConnectionService;
use super::tcp::tls_events;
use super::{Message, Shared, WorkerMetrics, ends_run};
use crate::buffer::{BufferPool, MemoryAccount};
use crate::connection::{CloseReason, Limits};
use crate::event_loop::{Expired, Handler, Key, LoopContext, Readiness, Slab, Timer};
use crate::pump::{Pump, Session};
use crate::socket::{ConnectProgress, check_connect};
use crate::units::later;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Ready queue entry: opening connections.
pub(super) const CONNECTOR: Key = Key::fixed(0);

/// Timer wheel entry: end of the hold.
const HOLD: Key = Key::fixed(1);

/// Timer wheel entry: retry of connects that found the backlog full.
pub(super) const RETRY: Key = Key::fixed(2);

/// Timer wheel entry: retry of connects that failed.
pub(super) const BACKOFF: Key = Key::fixed(3);

/// Precise timer and ready queue entry: next message of an open loop.
pub(super) const DISPATCHER: Key = Key::fixed(4);

/// Precise timer: end of the warm-up.
pub(super) const WARM_UP_END: Key = Key::fixed(5);

/// Precise timer: end of the load.
pub(super) const LOAD_END: Key = Key::fixed(6);

/// Precise timer: next evenly spaced connect.
pub(super) const CONNECT_RATE: Key = Key::fixed(7);

/// One connection, from the start of its connect.
#[derive(Debug)]
pub(super) struct ConnectionEntry {
    pub(super) attempt: ConnectAttempt,
    /// When the connect succeeded, if it has.
    pub(super) opened: Option<Instant>,
    /// Its exchange is complete and counted.
    pub(super) is_done: bool,
    pub(super) session: Session<ConnectionService>,
}

/// One worker of a TCP, TLS or Unix socket client.
pub(super) struct Worker<'a> {
    pub(super) shared: &'a Shared,
    pub(super) plan: Rc<Plan>,
    pub(super) entries: Slab<ConnectionEntry>,
    pool: BufferPool,
    memory: MemoryAccount,
    limits: Limits,
    pub(super) connector: Connector,
    hold: Timer,
    pub(super) retry: Timer,
    pub(super) backoff: Timer,
    /// The worker's share of the connections.
    pub(super) share: Share,
    pub(super) dispatcher: Option<Dispatcher>,
    /// When the first connect began.
    pub(super) first_connect: Option<Instant>,
}

impl<'a> Worker<'a> {
    /// The worker that opens every `step`th connection, beginning with `first`, in a run that began at `started`.
    pub(super) fn new(
        shared: &'a Shared,
        mut metrics: WorkerMetrics,
        first: usize,
        step: usize,
        started: Instant,
    ) -> Self {
        let config = &shared.config;
        // A load that begins on all connections together starts the measured time itself.
        let together = config.load.begins_together();
        metrics.message_metrics.begin(if together { u64::MAX } else { shared.clock.nanos(started) });
        let numbers = (first..=config.connections).step_by(step);
        let share = Share::new(first - 1, step, config.connections);
        let connect_rate = config.connect_rate.map(|rate| ConnectRate::new(rate, started, share));
        Self {
            shared,
            plan: Rc::new(Plan::new(shared, metrics)),
            entries: Slab::default(),
            pool: BufferPool::new(),
            memory: MemoryAccount::unlimited(),
            limits: limits(shared),
            connector: Connector::new(numbers, connect_rate, config.max_connecting, config.retry_delay),
            hold: Timer::default(),
            retry: Timer::default(),
            backoff: Timer::default(),
            share,
            dispatcher: None,
            first_connect: None,
        }
    }

    /// Ends measuring and returns the metrics, after the loop has ended.
    pub(super) fn into_metrics(mut self, now: Instant) -> WorkerMetrics {
        let now = self.plan.clock.nanos(now);
        let is_stopped = self.shared.handle.is_stopped();
        self.count_unassigned(now, if is_stopped { Unanswered::Pending } else { Unanswered::Lost });
        drop(self.entries);
        let mut metrics = Rc::into_inner(self.plan).expect("no connection is left").into_metrics();
        metrics.message_metrics.close(now, is_stopped && self.shared.config.load.duration.is_some());
        metrics
    }

    /// Handles an event of a connect in progress.
    fn handle_connecting(&mut self, context: &mut LoopContext, key: Key, readiness: Readiness) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match check_connect(&entry.session.socket) {
            Ok(ConnectProgress::Pending) => {}
            Ok(ConnectProgress::Connected) => {
                self.plan.metrics.borrow_mut().connected(entry.attempt.started.elapsed());
                entry.opened = Some(Instant::now());
                entry.session.handle_event(readiness);
                let (attempt, is_complete) = (entry.attempt, !entry.session.connection.is_handshaking());
                self.shared.opened();
                if is_complete {
                    self.connector.ended();
                    self.plan.note_usable();
                    self.note_opened(attempt);
                }
                self.turn(context, key);
                if is_complete {
                    self.add_connection(context, key);
                }
                self.queue_connector(context);
            }
            Err(error) => {
                if let Some(attempt) = self.abort_attempt(context, key) {
                    self.try_next_address(context, attempt, &error);
                }
            }
        }
    }

    /// Closes a connect in progress and returns its attempt.
    fn abort_attempt(&mut self, context: &mut LoopContext, key: Key) -> Option<ConnectAttempt> {
        let mut entry = self.entries.remove(key)?;
        entry.session.deregister(context, key, &self.memory);
        self.connector.ended();
        self.queue_connector(context);
        Some(entry.attempt)
    }

    #[inline]
    pub(super) fn turn(&mut self, context: &mut LoopContext, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let mut observer = ClientObserver::new(entry.attempt.number, &self.plan, entry.opened);
        let (pool, memory) = (&mut self.pool, &self.memory);
        let mut pump = Pump { pool, memory, limits: &self.limits, observer: &mut observer };
        let was_handshaking = entry.session.connection.is_handshaking();
        let closed = entry.session.turn(&mut pump, context, key);
        if let Some(exchange) = entry.session.connection.service_mut().exchange() {
            exchange.end_turn();
        }
        // With TLS, the connect ends with the handshake, whether that succeeds or fails.
        let has_ended_connect = was_handshaking && !entry.session.connection.is_handshaking();
        if has_ended_connect {
            self.connector.ended();
        }
        let service = entry.session.connection.service();
        let is_over = service.is_over();
        let is_newly_completed = !entry.is_done && service.is_complete();
        entry.is_done |= is_newly_completed;
        let attempt = entry.attempt;
        if is_newly_completed {
            self.note_completed();
        }
        let is_usable = closed.is_none();
        if let Some(reason) = closed.or(is_over.then_some(CloseReason::Completed)) {
            self.close(context, key, reason);
        }
        if has_ended_connect {
            // Not before the handshake ends: until then nothing can be sent, and that must not count as send delay.
            if is_usable {
                self.note_opened(attempt);
            } else {
                self.note_attempted(attempt);
            }
            self.add_connection(context, key);
            self.queue_connector(context);
        }
    }

    fn close(&mut self, context: &mut LoopContext, key: Key, reason: CloseReason) {
        let Some(mut entry) = self.entries.remove(key) else { return };
        entry.session.deregister(context, key, &self.memory);
        let (number, connection, is_done) = (entry.attempt.number, &entry.session.connection, entry.is_done);
        let outcome = tls_events::outcome(connection.service().outcome_after(reason), &entry.session.socket);
        let mut metrics = self.plan.metrics.borrow_mut();
        metrics.sent_bytes += connection.sent_bytes();
        let now = self.plan.clock.nanos(Instant::now());
        connection.service().count_unanswered(outcome, now, &mut metrics.message_metrics);
        let answered = connection.service().answered_count();
        match outcome {
            ExchangeOutcome::Verified if self.is_replaced(entry.attempt, answered) => {
                log::debug!("Closing connection {number}; another one follows");
                drop(metrics);
                self.shared.closed();
                self.connector.reconnect(entry.attempt, answered, context.now);
                return self.queue_connector(context);
            }
            ExchangeOutcome::Verified => {
                log::debug!("Closing connection {number}");
                metrics.verified += 1;
            }
            ExchangeOutcome::Failed(failure) => {
                log::debug!("Closing connection {number}: {failure}");
                metrics.failed(self.shared.target_of(number), failure);
            }
        }
        drop(metrics);
        self.shared.closed();
        if !is_done {
            self.note_completed();
        }
        self.note_ended();
    }

    /// Counts a connection whose exchange is complete or has failed.
    pub(super) fn note_completed(&self) {
        self.plan.metrics.borrow().progress.done.add(1);
        self.shared.note_completed();
    }

    /// Counts a connection that is closed and not replaced.
    pub(super) fn note_ended(&self) {
        self.plan.metrics.borrow().progress.ended.add(1);
        self.shared.note_ended();
    }

    /// Whether a connection that closes after `answered` messages is replaced by a new one.
    fn is_replaced(&self, attempt: ConnectAttempt, answered: u64) -> bool {
        let is_wanted = self.shared.config.load.reconnect_every.is_some() && !self.shared.handle.is_stopped();
        is_wanted && self.plan.phase.get() == LoadPhase::Sending && attempt.done + answered < self.plan.total
    }

    /// Starts the hold, once every connection was opened or has failed.
    pub(super) fn begin_hold(&mut self, context: &mut LoopContext) {
        if let Some(hold) = self.shared.config.hold {
            context.wheel.arm(&mut self.hold, HOLD, Some(later(context.now, hold)));
        }
    }

    fn end_hold(&mut self, context: &mut LoopContext) {
        self.plan.holding.set(false);
        self.wake_all(context);
    }

    /// Every exchange is complete or has failed: connections that were kept open close.
    pub(super) fn close_completed(&mut self, context: &mut LoopContext) {
        if self.plan.keeps_open.replace(false) {
            self.wake_all(context);
        }
    }

    pub(super) fn wake_all(&mut self, context: &mut LoopContext) {
        for key in self.entries.keys() {
            // A connection that is not open yet is served when it opens.
            let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.opened.is_some()) else { continue };
            entry.session.connection.handle_wake();
            self.turn(context, key);
        }
    }

    fn stop(&mut self, context: &mut LoopContext) {
        if let Some(interactive) = &self.shared.interactive {
            interactive.abandon();
        }
        self.count_unassigned(self.plan.clock.nanos(context.now), Unanswered::Pending);
        for attempt in self.connector.stop() {
            self.fail(attempt, Failure::Stopped);
        }
        for key in self.entries.keys() {
            if self.entries.get_mut(key).is_some_and(|entry| entry.opened.is_some()) {
                self.close(context, key, CloseReason::Stopped);
            } else if let Some(attempt) = self.abort_attempt(context, key) {
                self.fail(attempt, Failure::Stopped);
            }
        }
    }
}

impl Handler for Worker<'_> {
    type Message = Message;

    #[inline]
    fn handle_event(&mut self, context: &mut LoopContext, key: Key, readiness: Readiness) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.opened.is_none() {
            self.handle_connecting(context, key, readiness);
        } else if entry.session.handle_event(readiness) {
            self.turn(context, key);
        }
    }

    fn handle_expired(&mut self, context: &mut LoopContext, due: Expired) {
        let key = due.key();
        match key {
            RETRY => return self.retry_postponed(context),
            HOLD => return self.end_hold(context),
            BACKOFF => return self.backoff_expired(context),
            _ => {}
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !entry.session.handle_expired(&self.limits, context.now) {
            return;
        }
        if entry.opened.is_some() {
            self.turn(context, key);
        } else if let Some(attempt) = self.abort_attempt(context, key) {
            self.try_next_address(context, attempt, &ErrorKind::TimedOut.into());
        }
    }

    fn handle_precise_timer(&mut self, context: &mut LoopContext, key: Key) {
        match key {
            DISPATCHER => return self.dispatch(context),
            WARM_UP_END => return self.end_warm_up(),
            LOAD_END => return self.load_time_expired(context),
            CONNECT_RATE => return self.connect_rate_expired(context),
            _ => {}
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.opened.is_some() && entry.session.handle_precise_timer(context.now) {
            self.turn(context, key);
        }
    }

    fn handle_ready(&mut self, context: &mut LoopContext, key: Key) {
        match key {
            CONNECTOR => return self.start_attempts(context),
            DISPATCHER => return self.dispatch(context),
            _ => {}
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.session.handle_ready() {
            self.turn(context, key);
        }
    }

    fn handle_message(&mut self, context: &mut LoopContext, message: Message) {
        match message {
            Message::AllAttempted(instant) => self.begin_load(context, instant),
            Message::AllCompleted => self.close_completed(context),
            Message::Wake => self.wake_all(context),
            // Checked at the end of the loop iteration.
            Message::AllEnded => {}
            Message::Stop => self.stop(context),
        }
    }

    fn handle_signal(&mut self, _context: &mut LoopContext, signal: i32) {
        if ends_run(signal) {
            self.shared.handle.stop();
        }
    }

    #[inline]
    fn handle_round(&mut self, context: &mut LoopContext) {
        let now = Instant::now();
        let open = self.entries.len() as u64;
        let took = nanos(now.saturating_duration_since(context.now));
        self.plan.metrics.borrow_mut().end_round(took, self.plan.clock.nanos(now), open);
    }

    /// A worker without connections stays while others have some, to count its share of the schedule.
    fn is_done(&self) -> bool {
        self.connector.is_done() && self.entries.is_empty() && self.shared.is_over()
    }
}

/// Limits of the connections: no idle timeouts, since services enforce the reply timeout and held connections may be
/// silent. A whole reply must fit the buffer. In interactive mode the write timeout detects a server that does not
/// read, and nothing lingers, since input is useless once the output is gone.
fn limits(shared: &Shared) -> Limits {
    let answers = if shared.requests.is_empty() { 0 } else { buffer_bytes(&shared.requests) };
    let without_timeouts = Limits {
        buffer_bytes: answers.max(shared.config.buffer_bytes),
        handshake: Some(shared.config.connect_timeout),
        ..Limits::without_timeouts()
    };
    match shared.interactive {
        Some(_) => Limits { linger: Duration::ZERO, write: Some(shared.config.reply_timeout), ..without_timeouts },
        None => without_timeouts,
    }
}
