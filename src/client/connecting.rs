//! How connections come to be: dialled, tried again at the next address, and later, and given up in the end.

use super::Shared;
use super::connection_service::ConnectionService;
use super::connector::ConnectAttempt;
use super::exchange::{Exchange, LoadPhase};
use super::expect::Expect;
use super::failure::Failure;
use super::interactive::InteractiveExchange;
use super::read_only::ReadOnly;
use super::tls_events;
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

/// How many connects are begun before the conversations get their turn.
const ATTEMPTS_PER_TURN: usize = 64;

/// How long to wait when a Unix socket's backlog is full: there, no event tells when to try again.
const BACKLOG_PAUSE: Duration = Duration::from_millis(2);

impl<'a> Worker<'a> {
    /// Begins connects, as many as may be in progress, some of them per turn.
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

    /// It is time for the next connect.
    pub(super) fn end_connect_rate(&mut self, context: &mut LoopContext) {
        self.connector.end_timer();
        self.queue_connector(context);
    }

    pub(super) fn attempt(&mut self, context: &mut LoopContext, attempt: ConnectAttempt) {
        self.first_connect.get_or_insert(attempt.started);
        log::debug!(
            "Starting connection {} to {}",
            attempt.number,
            self.addresses(attempt)[usize::from(attempt.address)]
        );
        // Nobody overtakes those who wait already.
        let waits = self.connector.has_postponed() || !self.try_connect(context, attempt);
        if waits && self.connector.postpone(attempt) {
            context.wheel.arm(&mut self.retry, RETRY, Some(context.now + BACKLOG_PAUSE));
        }
    }

    /// Tries to connect; false when the backlog is full.
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
                let mut session = Session::new(self.task(attempt), socket, now);
                session.arm(context, key, Some(later(now, config.connect_timeout)));
                self.entries.insert(ConnectionEntry { attempt, opened: None, is_done: false, session });
                self.connector.begun();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => self.try_next_address(context, attempt, &error),
        }
        true
    }

    pub(super) fn task(&self, attempt: ConnectAttempt) -> ConnectionService {
        if let Some(interactive) = &self.shared.interactive {
            return ConnectionService::InteractiveExchange(InteractiveExchange::new(
                Arc::clone(interactive),
                attempt.started,
            ));
        }
        let config = &self.shared.config;
        if config.expect == Expect::ReadOnly {
            return ConnectionService::Read(ReadOnly::new(Rc::clone(&self.plan)));
        }
        let total = (self.plan.total - attempt.done).min(config.load.reconnect_every.unwrap_or(u64::MAX));
        let stream = attempt.number as u64 + attempt.round * config.connections as u64;
        ConnectionService::Exchange(Exchange::new(Rc::clone(&self.plan), attempt.number, stream, (attempt.done, total)))
    }

    /// Tries those who found the backlog full, until it is full again, and gives up those who waited for too long.
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

    /// The addresses of the target that `attempt` goes to.
    pub(super) fn addresses(&self, attempt: ConnectAttempt) -> &'a [Address] {
        &self.shared.targets[self.shared.target_of(attempt.number)]
    }

    /// Where the connection of `attempt` comes from: towards each target, the sources have their turns.
    fn source(&self, attempt: ConnectAttempt) -> Option<IpAddr> {
        let Shared { config, targets, .. } = self.shared;
        let turn = (attempt.number as u64 - 1 + attempt.round * config.connections as u64) / targets.len() as u64;
        config.sources.nth(&self.addresses(attempt)[usize::from(attempt.address)], turn)
    }

    /// An address refused or did not answer: try the next one; after the last one, later again.
    pub(super) fn try_next_address(&mut self, context: &mut LoopContext, attempt: ConnectAttempt, error: &io::Error) {
        if usize::from(attempt.address) + 1 < self.addresses(attempt).len() {
            self.attempt(context, ConnectAttempt { address: attempt.address + 1, ..attempt });
        } else {
            self.retry_attempt(context, attempt, Failure::of_connect(error));
        }
    }

    /// No address could be connected to: try them again later, or give up. After the end of the load nobody is tried again.
    pub(super) fn retry_attempt(&mut self, context: &mut LoopContext, attempt: ConnectAttempt, failure: Failure) {
        let is_over = self.plan.phase.get() == LoadPhase::HalfClose;
        if is_over || attempt.retries >= self.shared.config.retries || !failure.may_pass() {
            return self.fail(attempt, failure);
        }
        let (next, delay) = self.connector.back_off(attempt, failure, Instant::now());
        log::debug!("Connection {}: {failure}; trying again in {}", attempt.number, format_duration(delay));
        self.plan.metrics.borrow_mut().retries += 1;
        context.wheel.arm(&mut self.backoff, BACKOFF, next);
    }

    pub(super) fn end_backoff(&mut self, context: &mut LoopContext) {
        let next = self.connector.end_backoff(context.now);
        context.wheel.arm(&mut self.backoff, BACKOFF, next);
        self.queue_connector(context);
    }

    /// A connection that was never opened is over.
    pub(super) fn fail(&mut self, attempt: ConnectAttempt, failure: Failure) {
        let number = attempt.number;
        log::debug!("Connection {number} failed: {failure}");
        let mut metrics = self.plan.metrics.borrow_mut();
        metrics.failed(self.shared.target_of(number), failure);
        drop(metrics);
        self.settle(attempt);
        self.note_done();
        self.note_end();
    }

    /// A connection can be used.
    pub(super) fn note_opened(&self, attempt: ConnectAttempt) {
        if self.shared.config.load.reconnect_every.is_none() {
            let first = self.first_connect.unwrap_or(attempt.started);
            self.plan.metrics.borrow_mut().opening = Some((first, Instant::now()));
        }
        self.settle(attempt);
    }

    /// The first connection with its number was opened, or has failed.
    pub(super) fn settle(&self, attempt: ConnectAttempt) {
        if attempt.round == 0 {
            self.shared.settle();
        }
    }
}
