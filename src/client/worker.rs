//! One worker of the client: a loop that opens its share of the connections and lets each do its work.

use super::arrivals::Share;
use super::clock::nanos;
use super::connect_rate::ConnectRate;
use super::connection_service::ConnectionService;
use super::connector::{ConnectAttempt, Connector};
use super::dispatcher::Dispatcher;
use super::exchange::{ExchangeOutcome, LoadPhase, Plan, buffer_bytes};
use super::failure::Failure;
use super::measurements::Unanswered;
use super::observer::ClientObserver;
use super::tls_events;
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

/// The entry of the ready queue that opens connections.
pub(super) const CONNECTOR: Key = Key::fixed(0);

/// The entry of the wheel that ends the hold.
const HOLD: Key = Key::fixed(1);

/// The entry of the wheel that tries again those who found a backlog full.
pub(super) const RETRY: Key = Key::fixed(2);

/// The entry of the wheel that tries again those who were refused.
pub(super) const BACKOFF: Key = Key::fixed(3);

/// The alarm for the next message of an open loop.
pub(super) const DISPATCHER: Key = Key::fixed(4);

/// The alarm at the end of the warm-up.
pub(super) const WARM: Key = Key::fixed(5);

/// The alarm at the end of the load.
pub(super) const END: Key = Key::fixed(6);

/// The alarm for the next connect of those that follow each other evenly.
pub(super) const CONNECT_RATE: Key = Key::fixed(7);

/// One connection, from the begin of its connect on.
#[derive(Debug)]
pub(super) struct ConnectionEntry {
    pub(super) attempt: ConnectAttempt,
    /// When the connect succeeded, if it has.
    pub(super) opened: Option<Instant>,
    /// Its exchange is complete, and counted as such.
    pub(super) is_done: bool,
    pub(super) session: Session<ConnectionService>,
}

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
    /// Which of the connections are its own.
    pub(super) share: Share,
    pub(super) dispatcher: Option<Dispatcher>,
    /// When the first connect began.
    pub(super) first_connect: Option<Instant>,
}

impl<'a> Worker<'a> {
    /// The worker that opens every `step`th connection from `first` on, in a run that began at `started`.
    pub(super) fn new(
        shared: &'a Shared,
        mut metrics: WorkerMetrics,
        first: usize,
        step: usize,
        started: Instant,
    ) -> Self {
        let config = &shared.config;
        metrics.messages.begin(shared.clock.nanos(started));
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

    /// What was written down, when the loop has ended.
    pub(super) fn into_metrics(mut self, now: Instant) -> WorkerMetrics {
        let now = self.plan.clock.nanos(now);
        let is_stopped = self.shared.handle.is_stopped();
        self.give_up_due(now, if is_stopped { Unanswered::Pending } else { Unanswered::Lost });
        drop(self.entries);
        let mut metrics = Rc::into_inner(self.plan).expect("no connection is left").into_metrics();
        metrics.messages.close(now, is_stopped);
        metrics
    }

    /// Something happened to a connect in progress.
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

    /// Ends a connect in progress.
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
        // The connect of a connection that begins with a handshake ends with that, well or badly.
        let has_ended_connect = was_handshaking && !entry.session.connection.is_handshaking();
        if has_ended_connect {
            self.connector.ended();
        }
        let service = entry.session.connection.service();
        let is_over = service.is_over();
        let is_newly_done = !entry.is_done && service.is_complete();
        entry.is_done |= is_newly_done;
        let attempt = entry.attempt;
        if is_newly_done {
            self.note_done();
        }
        let is_usable = closed.is_none();
        if let Some(reason) = closed.or(is_over.then_some(CloseReason::Completed)) {
            self.close(context, key, reason);
        }
        if has_ended_connect {
            // Not before: nothing can be sent until then, and that is not the client's lag.
            if is_usable {
                self.note_opened(attempt);
            } else {
                self.settle(attempt);
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
        connection.service().give_up(outcome, now, &mut metrics.messages);
        let answered = connection.service().answered_count();
        match outcome {
            ExchangeOutcome::Verified if self.is_followed(entry.attempt, answered) => {
                log::debug!("Closing connection {number}; another one follows");
                drop(metrics);
                self.shared.closed();
                self.connector.follow(entry.attempt, answered, context.now);
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
            self.note_done();
        }
        self.note_end();
    }

    /// The exchange of a connection is complete, or has failed.
    pub(super) fn note_done(&self) {
        self.plan.metrics.borrow().progress.done.add(1);
        self.shared.note_done();
    }

    /// A connection is over, and none follows.
    pub(super) fn note_end(&self) {
        self.plan.metrics.borrow().progress.ended.add(1);
        self.shared.note_end();
    }

    /// Whether a connection that ends well after so many messages leaves some to another one.
    fn is_followed(&self, attempt: ConnectAttempt, answered: u64) -> bool {
        let is_wanted = self.shared.config.load.reconnect_every.is_some() && !self.shared.handle.is_stopped();
        is_wanted && self.plan.phase.get() == LoadPhase::Sending && attempt.done + answered < self.plan.total
    }

    /// Every connection was opened or has failed: from now on they are held, then told that they may end.
    pub(super) fn begin_hold(&mut self, context: &mut LoopContext) {
        if let Some(hold) = self.shared.config.hold {
            context.wheel.arm(&mut self.hold, HOLD, Some(later(context.now, hold)));
        }
    }

    fn end_hold(&mut self, context: &mut LoopContext) {
        self.plan.holding.set(false);
        self.wake_all(context);
    }

    /// Nothing is left to wait for: connections that are done close.
    pub(super) fn close_done(&mut self, context: &mut LoopContext) {
        if self.plan.keeps_open.replace(false) {
            self.wake_all(context);
        }
    }

    pub(super) fn wake_all(&mut self, context: &mut LoopContext) {
        for key in self.entries.keys() {
            // Whoever is not connected yet will be served then.
            let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.opened.is_some()) else { continue };
            entry.session.connection.handle_wake();
            self.turn(context, key);
        }
    }

    fn stop(&mut self, context: &mut LoopContext) {
        if let Some(interactive) = &self.shared.interactive {
            interactive.abandon();
        }
        self.give_up_due(self.plan.clock.nanos(context.now), Unanswered::Pending);
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
            BACKOFF => return self.end_backoff(context),
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
            DISPATCHER => return self.pace(context),
            WARM => return self.end_warm_up(),
            END => return self.end_time(context),
            CONNECT_RATE => return self.end_connect_rate(context),
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
            DISPATCHER => return self.pace(context),
            _ => {}
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.session.handle_ready() {
            self.turn(context, key);
        }
    }

    fn handle_message(&mut self, context: &mut LoopContext, message: Message) {
        match message {
            Message::AllSettled(instant) => self.begin_load(context, instant),
            Message::AllDone => self.close_done(context),
            Message::Wake => self.wake_all(context),
            // That is seen at the end of the round.
            Message::AllOver => {}
            Message::Stop => self.stop(context),
        }
    }

    fn handle_signal(&mut self, _agenda: &mut LoopContext, signal: i32) {
        if ends_run(signal) {
            self.shared.handle.stop();
        }
    }

    #[inline]
    fn handle_round(&mut self, context: &mut LoopContext) {
        let now = Instant::now();
        let open = self.entries.len() as u64;
        let took = nanos(now.saturating_duration_since(context.now));
        self.plan.metrics.borrow_mut().turned(took, self.plan.clock.nanos(now), open);
    }

    /// Whoever has no connection left stays while others have: its part of the schedule is still due.
    fn is_done(&self) -> bool {
        self.connector.is_done() && self.entries.is_empty() && self.shared.is_over()
    }
}

/// The workload keeps its own time: a held connection may be silent for long. A whole answer must fit the buffer. A relay knows
/// no messages, so that a server that does not read is found by the socket; and once its output is gone, nothing more of what
/// the server says is wanted.
fn limits(shared: &Shared) -> Limits {
    let answers = if shared.requests.is_empty() { 0 } else { buffer_bytes(&shared.requests) };
    let patient = Limits {
        buffer_bytes: answers.max(shared.config.buffer_bytes),
        handshake: Some(shared.config.connect_timeout),
        ..Limits::without_timeouts()
    };
    match shared.interactive {
        Some(_) => Limits { linger: Duration::ZERO, write: Some(shared.config.reply_timeout), ..patient },
        None => patient,
    }
}
