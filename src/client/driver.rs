//! Driver of a worker: opens its share of the connections, runs the load on them and closes them, over any transport.
//!
//! A load with a rate or duration starts at one instant, after every connection was opened or has failed. It warms up,
//! sends messages for its duration, and drains. Connections are held if `hold` is set.

#[cfg(all(test, multiconn_simulated))]
mod tests {
    mod world;
}

use super::arrivals::{ArrivalSchedule, Share};
use super::clock::nanos;
use super::connector::{ConnectAttempt, ConnectRate, Connector};
use super::dispatcher::{Dispatcher, MESSAGES_PER_TURN};
use super::ends_run;
use super::failure::Failure;
use super::metrics::{Unanswered, Undispatched, WorkerMetrics};
use super::plan::{LoadPhase, Plan};
use super::shared::{Message, Shared};
use super::transport::{CloseOutcome, DueMessage, Entry, OpenError, Transport, Trigger, TurnResult};
use crate::connection::CloseReason;
use crate::event_loop::{Expired, Handler, Key, LoopContext, Readiness, Slab, Timer, monotonic_time};
use crate::log_targets::CLIENT_LOG;
use crate::socket::{Address, ConnectProgress};
use crate::units::{format_duration, later};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Ready queue entry: opening connections.
pub(super) const CONNECTOR: Key = Key::fixed(0);

/// Timer wheel entry: end of the hold.
const HOLD: Key = Key::fixed(1);

/// Timer wheel entry: retry of connects that found the backlog full.
const RETRY: Key = Key::fixed(2);

/// Timer wheel entry: retry of connects that failed.
const BACKOFF: Key = Key::fixed(3);

/// Timer wheel entry: end of a second, whose counts are handed over.
const SECOND: Key = Key::fixed(9);

/// Precise timer and ready queue entry: next message of an open loop.
const DISPATCHER: Key = Key::fixed(4);

/// Precise timer: end of the warm-up.
const WARM_UP_END: Key = Key::fixed(5);

/// Precise timer: end of the load.
const LOAD_END: Key = Key::fixed(6);

/// Precise timer: next evenly spaced connect.
const CONNECT_RATE: Key = Key::fixed(7);

/// Precise timer: the load that was requested for an instant begins, or the wall clock is checked.
pub(super) const START: Key = Key::fixed(8);

/// Longest time for which the start of a load relies on the monotonic clock. The wall clock can be set meanwhile, and runs up
/// to 0.05 % faster or slower while it is corrected (adjtimex(2)).
const CLOCK_CHECK: Duration = Duration::from_secs(1);

/// Connects started per turn before existing connections are served again.
const ATTEMPTS_PER_TURN: usize = 64;

/// Pause after a Unix socket's backlog was full: there is no event that announces room.
const BACKLOG_PAUSE: Duration = Duration::from_millis(2);

/// One worker of a client.
pub(super) struct Driver<'a, T: Transport<'a>> {
    shared: &'a Shared,
    plan: Rc<Plan>,
    transport: T,
    entries: Slab<Entry<T::Connection>>,
    connector: Connector,
    hold: Timer,
    retry: Timer,
    backoff: Timer,
    second: Timer,
    /// The worker's share of the connections.
    share: Share,
    dispatcher: Option<Dispatcher>,
    /// When the messages were due that were assigned to a connection which the server closed before they were sent.
    unsent: VecDeque<u64>,
    /// Connections with messages to send after a dispatch; kept to reuse the memory.
    assigned: Vec<Key>,
    /// When the first connect began.
    first_connect: Option<Instant>,
    /// Whether the worker was told that no connection is left, or to stop. Messages that were sent before have arrived.
    was_told_to_end: bool,
}

impl<'a, T: Transport<'a>> Driver<'a, T> {
    /// The driver that opens every `step`th connection, beginning with `first`, in a run that began at `started`.
    pub(super) fn new(shared: &'a Shared, metrics: WorkerMetrics, first: usize, step: usize, started: Instant) -> Self {
        let config = &shared.config;
        let numbers = (first..=config.connections).step_by(step);
        let share = Share::new(first - 1, step, config.connections);
        let connect_rate = config.connect_rate.map(|rate| ConnectRate::new(rate, started, share));
        let plan = Rc::new(Plan::new(shared, metrics));
        Self {
            shared,
            transport: T::new(shared, Rc::clone(&plan)),
            plan,
            entries: Slab::default(),
            connector: Connector::new(numbers, connect_rate, config.max_connecting.div_ceil(step), config.retry_delay),
            hold: Timer::default(),
            retry: Timer::default(),
            backoff: Timer::default(),
            second: Timer::default(),
            share,
            dispatcher: None,
            unsent: VecDeque::new(),
            assigned: Vec::new(),
            first_connect: None,
            was_told_to_end: false,
        }
    }

    /// Ends measuring and returns the metrics, after the loop has ended.
    pub(super) fn into_metrics(mut self, now: Instant) -> WorkerMetrics {
        let now = self.due_until(self.plan.clock.nanos(now));
        let is_stopped = self.shared.is_stopped();
        self.count_unassigned(now, if is_stopped { Unanswered::Pending } else { Unanswered::Lost });
        drop((self.entries, self.transport));
        let mut metrics = Rc::into_inner(self.plan).expect("no connection is left").into_metrics();
        metrics.results.connections.port_search = self.connector.port_search();
        metrics.close(now, is_stopped && self.shared.config.load.duration.is_some());
        metrics
    }

    /// Starts connects up to the limit in progress and the per-turn budget.
    fn start_attempts(&mut self, context: &mut LoopContext) {
        self.connector.dequeue();
        for _ in 0..ATTEMPTS_PER_TURN {
            let Some(attempt) = self.connector.next() else { break };
            self.attempt(context, attempt);
        }
        self.queue_connector(context);
    }

    fn queue_connector(&mut self, context: &mut LoopContext) {
        if self.connector.enqueue(context.now) {
            context.ready.push_back(CONNECTOR);
        } else if let Some(instant) = self.connector.precise_deadline() {
            context.precise_timers.arm(CONNECT_RATE, instant);
        }
    }

    fn attempt(&mut self, context: &mut LoopContext, attempt: ConnectAttempt) {
        self.first_connect.get_or_insert(attempt.since);
        let address = &self.addresses(attempt)[usize::from(attempt.address)];
        log::debug!(
            target: CLIENT_LOG, (T::LOG_NOUN) = attempt.number, peer:% = address;
            "Starting {} {} to {}", T::LOG_NOUN, attempt.number, address.in_python()
        );
        // Postponed attempts come first.
        let waits = self.connector.has_postponed() || !self.try_connect(context, attempt);
        if waits && self.connector.postpone(attempt) {
            context.wheel.arm(&mut self.retry, RETRY, Some(context.now + BACKLOG_PAUSE));
        }
    }

    /// Starts a connect. Returns false when the backlog is full.
    fn try_connect(&mut self, context: &mut LoopContext, attempt: ConnectAttempt) -> bool {
        let key = self.entries.next_key();
        let address = &self.addresses(attempt)[usize::from(attempt.address)];
        let source = self.source(attempt, address);
        match self.transport.open(context, key, attempt, address, source) {
            Ok((connection, progress)) => {
                self.entries.insert(Entry {
                    attempt,
                    is_connected: false,
                    is_open: false,
                    is_complete: false,
                    connection,
                });
                self.connector.attempt_started();
                if progress == ConnectProgress::Connected {
                    self.on_connected(context, key, Trigger::Wake);
                }
            }
            Err(OpenError::BacklogFull) => return false,
            Err(OpenError::Failed(failure)) => self.try_next_address(context, attempt, failure),
        }
        true
    }

    /// Retries postponed attempts until the backlog is full again. Attempts past the connect timeout fail.
    fn retry_postponed(&mut self, context: &mut LoopContext) {
        while let Some(attempt) = self.connector.next_postponed() {
            if monotonic_time().saturating_duration_since(attempt.since) >= self.shared.config.connect_timeout {
                self.retry_attempt(context, attempt, Failure::ConnectTimeout);
            } else if !self.try_connect(context, attempt) {
                self.connector.postpone_again(attempt);
                context.wheel.arm(&mut self.retry, RETRY, Some(context.now + BACKLOG_PAUSE));
                break;
            }
        }
        self.queue_connector(context);
    }

    /// Addresses of the target of `attempt`.
    fn addresses(&self, attempt: ConnectAttempt) -> &'a [Address] {
        &self.shared.targets[self.shared.target_of(attempt.number)]
    }

    /// Source address of the connection of `attempt`. The source addresses are used in turn for each target.
    fn source(&self, attempt: ConnectAttempt, address: &Address) -> Option<IpAddr> {
        let Shared { config, targets, .. } = self.shared;
        let index =
            (u64::from(attempt.number) - 1 + attempt.generation * config.connections as u64) / targets.len() as u64;
        config.sources.nth(address, index)
    }

    /// An attempt at one address failed: tries the next one, and after the last one schedules a retry.
    fn try_next_address(&mut self, context: &mut LoopContext, attempt: ConnectAttempt, failure: Failure) {
        if usize::from(attempt.address) + 1 < self.addresses(attempt).len() {
            self.attempt(context, ConnectAttempt { address: attempt.address + 1, ..attempt });
        } else {
            self.retry_attempt(context, attempt, failure);
        }
    }

    /// All addresses have failed: schedules a retry, or gives up. There are no retries after the end of the load.
    fn retry_attempt(&mut self, context: &mut LoopContext, attempt: ConnectAttempt, failure: Failure) {
        let is_over = self.plan.phase.get() == LoadPhase::Draining;
        if is_over || attempt.retries >= self.shared.config.retries || !failure.is_transient() {
            return self.count_failed(attempt, failure);
        }
        let (next, delay) = self.connector.back_off(attempt, failure, monotonic_time());
        log::debug!(
            (T::LOG_NOUN) = attempt.number, failure:%;
            "cannot connect; trying again in {}", format_duration(delay)
        );
        self.plan.metrics.borrow_mut().results.connections.retries += 1;
        context.wheel.arm(&mut self.backoff, BACKOFF, next);
    }

    fn backoff_expired(&mut self, context: &mut LoopContext) {
        let next = self.connector.backoff_expired(context.now);
        context.wheel.arm(&mut self.backoff, BACKOFF, next);
        self.queue_connector(context);
    }

    /// Counts a connection that could not be opened.
    fn count_failed(&mut self, attempt: ConnectAttempt, failure: Failure) {
        let number = attempt.number;
        log::debug!((T::LOG_NOUN) = number, failure:%; "{} not opened", T::LOG_NOUN);
        self.plan.metrics.borrow_mut().failed(self.shared.target_of(number), failure);
        self.count_attempted(attempt);
        self.count_completed();
        self.count_ended();
    }

    /// Continues a connect in progress.
    #[inline(never)]
    fn continue_connect(&mut self, context: &mut LoopContext, key: Key, trigger: Trigger) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match self.transport.connect_progress(entry, trigger) {
            Ok(ConnectProgress::Pending) => {}
            Ok(ConnectProgress::Connected) => self.on_connected(context, key, trigger),
            Err(failure) => {
                if let Some(attempt) = self.abort_attempt(context, key) {
                    self.try_next_address(context, attempt, failure);
                }
            }
        }
    }

    /// A connection is open. Its first turn may have to complete a handshake.
    fn on_connected(&mut self, context: &mut LoopContext, key: Key, trigger: Trigger) {
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.is_connected, entry.attempt.since) = (true, monotonic_time());
            self.shared.opened();
            self.turn(context, key, trigger);
        }
    }

    /// Ends a connect in progress and returns its attempt.
    fn abort_attempt(&mut self, context: &mut LoopContext, key: Key) -> Option<ConnectAttempt> {
        let mut entry = self.entries.remove(key)?;
        self.transport.abort(context, key, &mut entry.connection);
        self.connector.attempt_finished();
        self.queue_connector(context);
        Some(entry.attempt)
    }

    #[inline(never)]
    fn turn(&mut self, context: &mut LoopContext, key: Key, trigger: Trigger) {
        self.turn_inline(context, key, trigger);
    }

    /// As [`turn`](Self::turn), for the path of a message.
    #[inline(always)]
    fn turn_inline(&mut self, context: &mut LoopContext, key: Key, trigger: Trigger) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !entry.is_connected {
            return self.continue_connect(context, key, trigger);
        }
        let result = self.transport.turn(context, key, entry, trigger);
        let has_news = (result.is_open && !entry.is_open) || (result.is_complete && !entry.is_complete);
        if has_news || result.close.is_some() {
            self.handle_result(context, key, result);
        }
    }

    /// Counts a connection that is ready for messages, complete, or to be closed after its turn.
    #[inline(never)]
    fn handle_result(&mut self, context: &mut LoopContext, key: Key, result: TurnResult) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let is_newly_open = result.is_open && !std::mem::replace(&mut entry.is_open, result.is_open);
        let is_newly_complete = result.is_complete && !std::mem::replace(&mut entry.is_complete, result.is_complete);
        let attempt = entry.attempt;
        if is_newly_open {
            self.connector.attempt_finished();
            self.count_opened(attempt);
        }
        if is_newly_complete {
            self.count_completed();
        }
        if let Some(reason) = result.close {
            self.close(context, key, reason);
        }
        if is_newly_open {
            self.add_connection(context, key);
            self.queue_connector(context);
        }
    }

    fn close(&mut self, context: &mut LoopContext, key: Key, reason: CloseReason) {
        let Some(mut entry) = self.entries.remove(key) else { return };
        let CloseOutcome { failure, is_complete, is_cut_short, done, unsent } =
            self.transport.close(context, key, &mut entry, reason);
        let attempt = entry.attempt;
        self.shared.closed();
        if !entry.is_open {
            self.connector.attempt_finished();
            self.count_attempted(attempt);
            self.queue_connector(context);
        }
        self.take_back(context, unsent);
        if let Some(failure) = failure {
            self.plan.metrics.borrow_mut().failed(self.shared.target_of(attempt.number), failure);
        }
        let reconnects = is_complete && self.shared.config.load.reconnect_every.is_some();
        if (reconnects || is_cut_short) && self.is_replaced(attempt, done) {
            self.connector.reconnect(attempt, done, context.now);
            return self.queue_connector(context);
        }
        if is_complete {
            self.plan.metrics.borrow_mut().completed();
        }
        if !entry.is_complete {
            self.count_completed();
        }
        self.count_ended();
    }

    /// Takes back messages that another connection has to send.
    fn take_back(&mut self, context: &mut LoopContext, unsent: Vec<u64>) {
        if unsent.is_empty() {
            return;
        }
        let mut metrics = self.plan.metrics.borrow_mut();
        for due in &unsent {
            metrics.take_back_due(*due);
        }
        drop(metrics);
        self.unsent.extend(unsent);
        context.precise_timers.arm(DISPATCHER, context.now);
    }

    /// Records a connection that is ready for messages.
    fn count_opened(&self, attempt: ConnectAttempt) {
        if self.shared.config.load.reconnect_every.is_none() && attempt.generation == 0 {
            // With a connect rate, time counts from when the first connect was due. A late first connect does not raise
            // the reported rate.
            let first = self.connector.rate_begin().or(self.first_connect).unwrap_or(attempt.since);
            self.plan.metrics.borrow_mut().opening = Some((first, monotonic_time()));
        }
        self.count_attempted(attempt);
    }

    /// Counts the first connection with this number once it was opened or has failed.
    fn count_attempted(&self, attempt: ConnectAttempt) {
        if attempt.generation == 0 {
            self.shared.count_attempted();
        }
    }

    /// Counts a connection whose exchange is complete or has failed.
    fn count_completed(&self) {
        self.plan.metrics.borrow().progress.done.add(1);
        self.shared.count_completed();
    }

    /// Counts a connection that is closed and not replaced.
    fn count_ended(&self) {
        self.plan.metrics.borrow().progress.ended.add(1);
        self.shared.count_ended();
    }

    /// Whether messages are left for a replacement of a connection that has `done` its share.
    fn is_replaced(&self, attempt: ConnectAttempt, done: u64) -> bool {
        let is_sending = self.plan.phase.get() == LoadPhase::Sending && !self.shared.is_stopped();
        is_sending && attempt.done + done < self.plan.total
    }

    /// Starts the load at `instant`, the same for all workers. Every connection was opened or has failed.
    fn begin_load(&mut self, context: &mut LoopContext, instant: Instant) {
        let load = &self.shared.config.load;
        if self.shared.was_stopped_by(instant) {
            return;
        }
        if !load.has_common_start() {
            return self.begin_hold(context);
        }
        let clock = self.plan.clock;
        let begin = clock.nanos(instant);
        self.plan.metrics.borrow().progress.begin(instant);
        let measured_from = begin.saturating_add(nanos(load.warm_up));
        self.plan.metrics.borrow_mut().begin(measured_from);
        if load.warm_up.is_zero() {
            self.plan.metrics.borrow_mut().begin_publishing();
        } else {
            context.precise_timers.arm(WARM_UP_END, clock.instant(measured_from));
        }
        let end = load.duration.map(|duration| measured_from.saturating_add(nanos(duration)));
        match end {
            Some(end) => context.precise_timers.arm(LOAD_END, clock.instant(end)),
            None => self.begin_hold(context),
        }
        if let Some(curve) = load.rate_curve() {
            let keys = self.entries.keys();
            let schedule = ArrivalSchedule::new(curve, load.arrivals, load.seed, self.share);
            let max_messages = self.plan.total.saturating_mul(self.share.own());
            self.dispatcher = Some(Dispatcher::new(schedule, (begin, end.unwrap_or(u64::MAX)), max_messages, keys));
            context.precise_timers.arm(DISPATCHER, instant);
        }
        self.plan.phase.set(LoadPhase::Sending);
        if self.dispatcher.is_none() {
            self.wake_all(context);
        }
    }

    /// Begins a load that was requested for an instant, unless a connection is not open. Before that instant it waits.
    fn await_start(&mut self, context: &mut LoopContext) {
        let left = self.shared.time_until_preparation().unwrap_or_default();
        if !left.is_zero() {
            return context.precise_timers.arm(START, monotonic_time() + left.min(CLOCK_CHECK));
        }
        // Without it, every worker receives the message to stop.
        let Some(start) = self.shared.start() else { return };
        self.begin_load(context, start);
        self.plan.metrics.borrow_mut().start_late =
            monotonic_time().checked_duration_since(start).or(Some(Duration::ZERO));
    }

    /// Ends the warm-up: from now on everything is measured.
    fn end_warm_up(&self) {
        let mut metrics = self.plan.metrics.borrow_mut();
        metrics.end_warm_up();
        metrics.begin_publishing();
    }

    /// Ends the load at `instant`, before its time is over.
    fn end_load_early(&mut self, context: &mut LoopContext, instant: Instant) {
        let [end, now] = [instant, context.now].map(|instant| self.plan.clock.nanos(instant));
        self.dispatcher.iter_mut().for_each(|dispatcher| dispatcher.end_by(end, now));
        self.load_time_expired(context);
    }

    /// The load's time is over.
    fn load_time_expired(&mut self, context: &mut LoopContext) {
        if self.plan.phase.get() != LoadPhase::Sending || !self.shared.config.load.has_common_start() {
            return;
        }
        let now = self.plan.clock.nanos(context.now);
        if let Some(end) = self.dispatcher.as_mut().map_or(Some(now), |dispatcher| dispatcher.end(now)) {
            self.end_load(context, end);
        }
    }

    /// Ends the load; no message was sent after `end`. Messages in flight may still be answered.
    fn end_load(&mut self, context: &mut LoopContext, end: u64) {
        let now = self.plan.clock.nanos(context.now);
        self.plan.metrics.borrow_mut().end(self.due_until(end), now);
        self.plan.phase.set(LoadPhase::Draining);
        let mut no_connection_left = self.entries.is_empty();
        for attempt in self.connector.stop_reconnecting() {
            if let Some(failure) = attempt.failure {
                // Its pending retry is cancelled.
                self.count_failed(attempt, failure);
            } else {
                no_connection_left = false;
                self.plan.metrics.borrow_mut().completed();
                self.count_ended();
            }
        }
        self.count_unassigned(now, if no_connection_left { Unanswered::Lost } else { Unanswered::Pending });
        self.begin_hold(context);
        self.plan.keeps_open.set(false);
        self.wake_all(context);
    }

    /// Dispatches the messages that are due, and schedules the next turn.
    fn dispatch(&mut self, context: &mut LoopContext) {
        let Some(mut dispatcher) = self.dispatcher.take() else { return };
        let clock = self.plan.clock;
        let (mut now, mut may_look_again) = (clock.nanos(context.now), !T::SENDS_BATCHES);
        for sent in 0..MESSAGES_PER_TURN {
            let taken_back = self.unsent.front().copied();
            let due = taken_back.or_else(|| dispatcher.due_by(now)).or_else(|| {
                // A send takes some microseconds. What became due meanwhile need not wait for the next round.
                now = (sent > 0 && std::mem::take(&mut may_look_again)).then(|| clock.nanos(monotonic_time()))?;
                dispatcher.due_by(now)
            });
            let Some(due) = due else { break };
            let Some(key) = dispatcher.next_connection(|key| self.has_capacity(key)) else { break };
            let blocked_until = if self.unsent.pop_front().is_some() {
                Some(now)
            } else {
                dispatcher.advance(due, now);
                dispatcher.connection_available_at(due)
            };
            self.assign(context, key, DueMessage { due, assigned: now, blocked_until });
        }
        if !self.unsent.is_empty() && !dispatcher.waits_for_connection() {
            context.precise_timers.arm(DISPATCHER, context.now);
        }
        let has_to_end = dispatcher.schedule_next(context, DISPATCHER, clock, now);
        if let Some(end) = dispatcher.exhausted_at() {
            self.plan.metrics.borrow_mut().end(end, now);
        }
        self.dispatcher = Some(dispatcher);
        let mut assigned = std::mem::take(&mut self.assigned);
        for key in assigned.drain(..) {
            self.turn(context, key, Trigger::Wake);
        }
        self.assigned = assigned;
        if has_to_end {
            self.end_load(context, now);
        }
    }

    /// Whether a connection is open and may be assigned more messages. With reconnects it takes only
    /// its own share.
    fn has_capacity(&mut self, key: Key) -> bool {
        let entry = self.entries.get_mut(key).filter(|entry| entry.is_connected);
        entry.is_some_and(|entry| T::has_capacity(&mut entry.connection))
    }

    fn assign(&mut self, context: &mut LoopContext, key: Key, message: DueMessage) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let is_first = T::assign(&mut entry.connection, message);
        self.plan.metrics.borrow_mut().count_due(message.due);
        if !T::SENDS_BATCHES {
            self.turn(context, key, Trigger::Wake);
        } else if is_first {
            self.assigned.push(key);
        }
    }

    /// Adds an opened connection to the dispatcher, and dispatches messages that waited for one.
    fn add_connection(&mut self, context: &mut LoopContext, key: Key) {
        // Otherwise it is assigned messages when they become due.
        let now = self.plan.clock.nanos(context.now);
        if self.dispatcher.as_mut().is_some_and(|dispatcher| dispatcher.add(key, now)) {
            self.dispatch(context);
        }
    }

    /// The earlier of `time` and the end of the last connection of all workers: nothing is due after that. The workers
    /// learn of that end at different times.
    fn due_until(&self, time: u64) -> u64 {
        self.shared.all_ended().map_or(time, |ended| time.min(self.plan.clock.nanos(ended)))
    }

    /// Stops dispatching, and counts messages that were due by `now`, while there were connections, and not assigned.
    fn count_unassigned(&mut self, now: u64, why: Unanswered) {
        let now = self.due_until(now);
        let Some(mut dispatcher) = self.dispatcher.take() else { return };
        let no_connection = dispatcher.waits_for_connection() || self.entries.is_empty();
        let metrics = &mut self.plan.metrics.borrow_mut();
        let taken_back = std::iter::from_fn(|| Some((self.unsent.pop_front()?, 1)));
        for (due, count) in taken_back {
            metrics.count_unassigned(due, now, count, why, no_connection);
        }
        while let Some((due, count)) = dispatcher.take_unassigned(now) {
            metrics.count_unassigned(due, now, count, why, no_connection);
        }
        if let Some(end) = dispatcher.exhausted_at() {
            metrics.end(end, now);
        }
    }

    /// Number of messages due in `second` that no connection was assigned yet.
    #[cold]
    fn undispatched(&self, second: &Range<u64>) -> Undispatched {
        let Some(dispatcher) = &self.dispatcher else { return Undispatched::default() };
        let second = second.start..self.due_until(second.end).max(second.start);
        let taken_back = self.unsent.iter().filter(|due| second.contains(due)).count() as u64;
        Undispatched {
            count: dispatcher.due_before(second.end) - dispatcher.due_before(second.start) + taken_back,
            is_blocked: dispatcher.waits_for_connection() || self.entries.is_empty(),
        }
    }

    /// Starts the hold, once every connection was opened or has failed, or when the load ends.
    fn begin_hold(&mut self, context: &mut LoopContext) {
        if let Some(hold) = self.shared.config.hold {
            context.wheel.arm(&mut self.hold, HOLD, Some(later(context.now, hold)));
        }
    }

    fn end_hold(&mut self, context: &mut LoopContext) {
        self.plan.holding.set(false);
        self.wake_all(context);
    }

    /// Every exchange is complete or has failed: connections that were kept open close.
    fn close_completed(&mut self, context: &mut LoopContext) {
        if self.plan.keeps_open.replace(false) {
            self.wake_all(context);
        }
    }

    fn wake_all(&mut self, context: &mut LoopContext) {
        for key in self.entries.keys() {
            // A connection that is not open yet is served when it opens.
            if self.entries.get_mut(key).is_some_and(|entry| entry.is_connected) {
                self.turn(context, key, Trigger::Wake);
            }
        }
    }

    fn stop(&mut self, context: &mut LoopContext) {
        self.was_told_to_end = true;
        if let Some(interactive) = &self.shared.interactive {
            interactive.abandon();
        }
        self.count_unassigned(self.plan.clock.nanos(context.now), Unanswered::Pending);
        let failure = if self.shared.has_missed_start() { Failure::NotOpenAtStart } else { Failure::Stopped };
        for attempt in self.connector.stop() {
            self.count_failed(attempt, failure);
        }
        for key in self.entries.keys() {
            if self.entries.get_mut(key).is_some_and(|entry| entry.is_connected) {
                self.close(context, key, CloseReason::Stopped);
            } else if let Some(attempt) = self.abort_attempt(context, key) {
                self.count_failed(attempt, failure);
            }
        }
    }
}

impl<'a, T: Transport<'a>> Handler for Driver<'a, T> {
    type Message = Message;

    #[inline(always)]
    fn handle_event(&mut self, context: &mut LoopContext, key: Key, readiness: Readiness) {
        self.turn_inline(context, key, Trigger::Event(readiness));
    }

    fn handle_expired(&mut self, context: &mut LoopContext, due: Expired) {
        match due.key() {
            RETRY => self.retry_postponed(context),
            HOLD => self.end_hold(context),
            BACKOFF => self.backoff_expired(context),
            // The end of the round hands over the counts.
            SECOND => {}
            key => self.turn(context, key, Trigger::Expired),
        }
    }

    fn handle_precise_timer(&mut self, context: &mut LoopContext, key: Key) {
        match key {
            DISPATCHER => self.dispatch(context),
            WARM_UP_END => self.end_warm_up(),
            LOAD_END => self.load_time_expired(context),
            START => self.await_start(context),
            CONNECT_RATE => {
                self.connector.timer_expired();
                self.queue_connector(context);
            }
            _ => self.turn(context, key, Trigger::PreciseTimer),
        }
    }

    fn handle_ready(&mut self, context: &mut LoopContext, key: Key) {
        match key {
            CONNECTOR => self.start_attempts(context),
            DISPATCHER => self.dispatch(context),
            _ => self.turn(context, key, Trigger::Ready),
        }
    }

    fn handle_message(&mut self, context: &mut LoopContext, message: Message) {
        match message {
            Message::AllAttempted(instant) => self.begin_load(context, instant),
            Message::AllCompleted => self.close_completed(context),
            Message::EndLoad(instant) => self.end_load_early(context, instant),
            Message::Wake => self.wake_all(context),
            Message::AllEnded => self.was_told_to_end = true,
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
        let now = monotonic_time();
        let open = self.entries.len() as u64;
        let took = nanos(now.saturating_duration_since(context.now));
        let now = self.plan.clock.nanos(now);
        let mut metrics = self.plan.metrics.borrow_mut();
        metrics.end_round(took, now, open);
        if let Some(second) = metrics.complete_due_second(now) {
            metrics.publish_due_second(self.undispatched(&second));
        }
        if let Some(second_end) = metrics.take_wake() {
            context.wheel.arm(&mut self.second, SECOND, Some(self.plan.clock.instant(second_end)));
        }
    }

    /// A worker without connections stays while others have some, to count its share of the schedule.
    fn is_done(&self) -> bool {
        let is_empty = self.connector.is_done() && self.entries.is_empty();
        is_empty && self.was_told_to_end && self.shared.is_output_done()
    }
}
