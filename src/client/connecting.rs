//! Connection set-up of a worker: connects, tries the next address, retries after a delay, and gives up.

use super::Shared;
use super::config::Expect;
use super::connector::ConnectAttempt;
use super::failure::Failure;
use super::plan::LoadPhase;
use super::tcp::exchange::Exchange;
use super::tcp::interactive::InteractiveExchange;
use super::tcp::read_only::ReadOnly;
use super::tcp::service::ConnectionService;
use super::tcp::tls_events;
use super::worker::{BACKOFF, CONNECT_RATE, CONNECTOR, ConnectionEntry, RETRY, Worker};
use crate::event_loop::LoopContext;
use crate::pump::Session;
use crate::socket::{Address, begin_connect};
use crate::units::{format_duration, later};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connects started per turn before existing connections are served again.
const ATTEMPTS_PER_TURN: usize = 64;

/// Pause after a Unix socket's backlog was full: there is no event that announces room.
const BACKLOG_PAUSE: Duration = Duration::from_millis(2);

impl<'a> Worker<'a> {
    /// Starts connects up to the limit in progress and the per-turn budget.
    pub(super) fn start_attempts(&mut self, context: &mut LoopContext) {
        self.connector.dequeue();
        for _ in 0..ATTEMPTS_PER_TURN {
            let Some(attempt) = self.connector.next() else { break };
            self.attempt(context, attempt);
        }
        self.queue_connector(context);
    }

    pub(super) fn queue_connector(&mut self, context: &mut LoopContext) {
        if self.connector.enqueue(context.now) {
            context.ready.push_back(CONNECTOR);
        } else if let Some(instant) = self.connector.precise_deadline() {
            context.precise_timers.arm(CONNECT_RATE, instant);
        }
    }

    /// The connect rate's timer has expired: the next connect is due.
    pub(super) fn connect_rate_expired(&mut self, context: &mut LoopContext) {
        self.connector.timer_expired();
        self.queue_connector(context);
    }

    pub(super) fn attempt(&mut self, context: &mut LoopContext, attempt: ConnectAttempt) {
        self.first_connect.get_or_insert(attempt.started);
        log::debug!(
            "Starting connection {} to {}",
            attempt.number,
            self.addresses(attempt)[usize::from(attempt.address)]
        );
        // Postponed attempts come first.
        let waits = self.connector.has_postponed() || !self.try_connect(context, attempt);
        if waits && self.connector.postpone(attempt) {
            context.wheel.arm(&mut self.retry, RETRY, Some(context.now + BACKLOG_PAUSE));
        }
    }

    /// Starts a connect. Returns false when the backlog is full.
    pub(super) fn try_connect(&mut self, context: &mut LoopContext, attempt: ConnectAttempt) -> bool {
        let config = &self.shared.config;
        let key = self.entries.next_key();
        let address = &self.addresses(attempt)[usize::from(attempt.address)];
        let begun = begin_connect(address, &config.socket, self.source(attempt)).and_then(|mut socket| {
            context.register(socket.source(), key)?;
            tls_events::secured(self.shared, attempt.number, socket)
        });
        match begun {
            Ok(socket) => {
                let now = Instant::now();
                let mut session = Session::new(self.new_service(attempt), socket, now);
                session.arm(context, key, Some(later(now, config.connect_timeout)));
                self.entries.insert(ConnectionEntry { attempt, opened: None, is_done: false, session });
                self.connector.begun();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => self.try_next_address(context, attempt, &error),
        }
        true
    }

    pub(super) fn new_service(&self, attempt: ConnectAttempt) -> ConnectionService {
        if let Some(interactive) = &self.shared.interactive {
            return ConnectionService::Interactive(InteractiveExchange::new(Arc::clone(interactive), attempt.started));
        }
        let config = &self.shared.config;
        if config.expect == Expect::ReadOnly {
            return ConnectionService::ReadOnly(ReadOnly::new(Rc::clone(&self.plan)));
        }
        let total = (self.plan.total - attempt.done).min(config.load.reconnect_every.unwrap_or(u64::MAX));
        let stream = attempt.number as u64 + attempt.round * config.connections as u64;
        ConnectionService::Exchange(Exchange::new(Rc::clone(&self.plan), attempt.number, stream, (attempt.done, total)))
    }

    /// Retries postponed attempts until the backlog is full again. Attempts past the connect timeout fail.
    pub(super) fn retry_postponed(&mut self, context: &mut LoopContext) {
        while let Some(attempt) = self.connector.next_postponed() {
            if attempt.started.elapsed() >= self.shared.config.connect_timeout {
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
    pub(super) fn addresses(&self, attempt: ConnectAttempt) -> &'a [Address] {
        &self.shared.targets[self.shared.target_of(attempt.number)]
    }

    /// Source address of the connection of `attempt`. The source addresses are used in turn for each target.
    fn source(&self, attempt: ConnectAttempt) -> Option<IpAddr> {
        let Shared { config, targets, .. } = self.shared;
        let turn = (attempt.number as u64 - 1 + attempt.round * config.connections as u64) / targets.len() as u64;
        config.sources.nth(&self.addresses(attempt)[usize::from(attempt.address)], turn)
    }

    /// An address refused or timed out: tries the next one, and after the last one schedules a retry.
    pub(super) fn try_next_address(&mut self, context: &mut LoopContext, attempt: ConnectAttempt, error: &io::Error) {
        if usize::from(attempt.address) + 1 < self.addresses(attempt).len() {
            self.attempt(context, ConnectAttempt { address: attempt.address + 1, ..attempt });
        } else {
            self.retry_attempt(context, attempt, Failure::of_connect(error));
        }
    }

    /// All addresses have failed: schedules a retry, or gives up. There are no retries after the end of the load.
    pub(super) fn retry_attempt(&mut self, context: &mut LoopContext, attempt: ConnectAttempt, failure: Failure) {
        let is_over = self.plan.phase.get() == LoadPhase::Draining;
        if is_over || attempt.retries >= self.shared.config.retries || !failure.is_transient() {
            return self.fail(attempt, failure);
        }
        let (next, delay) = self.connector.back_off(attempt, failure, Instant::now());
        log::debug!("Connection {}: {failure}; trying again in {}", attempt.number, format_duration(delay));
        self.plan.metrics.borrow_mut().retries += 1;
        context.wheel.arm(&mut self.backoff, BACKOFF, next);
    }

    pub(super) fn backoff_expired(&mut self, context: &mut LoopContext) {
        let next = self.connector.backoff_expired(context.now);
        context.wheel.arm(&mut self.backoff, BACKOFF, next);
        self.queue_connector(context);
    }

    /// Counts a connection that could not be opened.
    pub(super) fn fail(&mut self, attempt: ConnectAttempt, failure: Failure) {
        let number = attempt.number;
        log::debug!("Connection {number} failed: {failure}");
        let mut metrics = self.plan.metrics.borrow_mut();
        metrics.failed(self.shared.target_of(number), failure);
        drop(metrics);
        self.note_attempted(attempt);
        self.note_completed();
        self.note_ended();
    }

    /// Records a connection that is ready for messages.
    pub(super) fn note_opened(&self, attempt: ConnectAttempt) {
        if self.shared.config.load.reconnect_every.is_none() {
            // With a connect rate, time counts from when the first connect was due. A late first connect does not raise
            // the reported rate.
            let first = self.connector.rate_begin().or(self.first_connect).unwrap_or(attempt.started);
            self.plan.metrics.borrow_mut().opening = Some((first, Instant::now()));
        }
        self.note_attempted(attempt);
    }

    /// Counts the first connection with this number once it was opened or has failed.
    pub(super) fn note_attempted(&self, attempt: ConnectAttempt) {
        if attempt.round == 0 {
            self.shared.note_attempted();
        }
    }
}
