//! How connections come to be: dialled, tried again at the next address, and later, and given up in the end.

use super::Shared;
use super::dialer::Dial;
use super::expect::Expect;
use super::failure::Failure;
use super::read_only::ReadOnly;
use super::relay::Talk;
use super::runner::{BACKOFF, DIAL, DIALER, Entry, RETRY, Runner};
use super::secure;
use super::task::Task;
use super::workload::{Phase, Workload};
use crate::event_loop::Agenda;
use crate::pump::Conversation;
use crate::socket::{Address, begin_connect};
use crate::units::{format_duration, later};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many connects are begun before the conversations get their turn.
const DIALS_PER_TURN: usize = 64;

/// How long to wait when a Unix socket's backlog is full: there, no event tells when to try again.
const BACKLOG_PAUSE: Duration = Duration::from_millis(2);

impl<'a> Runner<'a> {
    /// Begins connects, as many as may be in progress, some of them per turn.
    pub(super) fn dial_some(&mut self, agenda: &mut Agenda) {
        self.dialer.dequeue();
        for _ in 0..DIALS_PER_TURN {
            let Some(dial) = self.dialer.next() else { break };
            self.dial(agenda, dial);
        }
        self.queue_dialer(agenda);
    }

    pub(super) fn queue_dialer(&mut self, agenda: &mut Agenda) {
        if self.dialer.enqueue(agenda.now) {
            agenda.ready.push_back(DIALER);
        } else if let Some(instant) = self.dialer.alarm() {
            agenda.alarms.arm(DIAL, instant);
        }
    }

    /// It is time for the next connect.
    pub(super) fn end_spacing(&mut self, agenda: &mut Agenda) {
        self.dialer.end_alarm();
        self.queue_dialer(agenda);
    }

    pub(super) fn dial(&mut self, agenda: &mut Agenda, dial: Dial) {
        self.first_connect.get_or_insert(dial.started);
        log::debug!("Starting connection {} to {}", dial.number, self.addresses(dial)[usize::from(dial.address)]);
        // Nobody overtakes those who wait already.
        let waits = self.dialer.has_postponed() || !self.attempt(agenda, dial);
        if waits && self.dialer.postpone(dial) {
            agenda.wheel.arm(&mut self.retry, RETRY, Some(agenda.now + BACKLOG_PAUSE));
        }
    }

    /// Tries to connect; false when the backlog is full.
    pub(super) fn attempt(&mut self, agenda: &mut Agenda, dial: Dial) -> bool {
        let config = &self.shared.config;
        let key = self.entries.next_key();
        let address = &self.addresses(dial)[usize::from(dial.address)];
        let begun = begin_connect(address, &config.socket, self.source(dial)).and_then(|mut socket| {
            agenda.register(socket.source(), key)?;
            secure::secured(self.shared, dial.number, socket)
        });
        match begun {
            Ok(socket) => {
                let now = Instant::now();
                let mut conversation = Conversation::new(self.task(dial), socket, now);
                conversation.arm(agenda, key, Some(later(now, config.connect_timeout)));
                self.entries.insert(Entry { dial, opened: None, is_done: false, conversation });
                self.dialer.begun();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => self.dial_next(agenda, dial, &error),
        }
        true
    }

    pub(super) fn task(&self, dial: Dial) -> Task {
        if let Some(relay) = &self.shared.relay {
            return Task::Talk(Talk::new(Arc::clone(relay), dial.started));
        }
        let config = &self.shared.config;
        if config.expect == Expect::ReadOnly {
            return Task::Read(ReadOnly::new(Rc::clone(&self.job)));
        }
        let total = (self.job.total - dial.done).min(config.load.reconnect_every.unwrap_or(u64::MAX));
        let stream = dial.number as u64 + dial.round * config.connections as u64;
        Task::Exchange(Workload::new(Rc::clone(&self.job), dial.number, stream, (dial.done, total)))
    }

    /// Tries those who found the backlog full, until it is full again, and gives up those who waited for too long.
    pub(super) fn dial_postponed(&mut self, agenda: &mut Agenda) {
        while let Some(dial) = self.dialer.next_postponed() {
            if dial.started.elapsed() >= self.shared.config.connect_timeout {
                self.dial_again(agenda, dial, Failure::ConnectTimeout);
            } else if !self.attempt(agenda, dial) {
                self.dialer.postpone_again(dial);
                agenda.wheel.arm(&mut self.retry, RETRY, Some(agenda.now + BACKLOG_PAUSE));
                break;
            }
        }
        self.queue_dialer(agenda);
    }

    /// The addresses of the target that `dial` goes to.
    pub(super) fn addresses(&self, dial: Dial) -> &'a [Address] {
        &self.shared.targets[self.shared.target_of(dial.number)]
    }

    /// Where the connection of `dial` comes from: towards each target, the sources have their turns.
    fn source(&self, dial: Dial) -> Option<IpAddr> {
        let Shared { config, targets, .. } = self.shared;
        let turn = (dial.number as u64 - 1 + dial.round * config.connections as u64) / targets.len() as u64;
        config.sources.nth(&self.addresses(dial)[usize::from(dial.address)], turn)
    }

    /// An address refused or did not answer: try the next one; after the last one, later again.
    pub(super) fn dial_next(&mut self, agenda: &mut Agenda, dial: Dial, error: &io::Error) {
        if usize::from(dial.address) + 1 < self.addresses(dial).len() {
            self.dial(agenda, Dial { address: dial.address + 1, ..dial });
        } else {
            self.dial_again(agenda, dial, Failure::of_connect(error));
        }
    }

    /// No address could be connected to: try them again later, or give up. After the end of the load nobody is tried again.
    pub(super) fn dial_again(&mut self, agenda: &mut Agenda, dial: Dial, failure: Failure) {
        let is_over = self.job.phase.get() == Phase::Ending;
        if is_over || dial.retries >= self.shared.config.retries || !failure.may_pass() {
            return self.fail(dial, failure);
        }
        let (next, delay) = self.dialer.back_off(dial, failure, Instant::now());
        log::debug!("Connection {}: {failure}; trying again in {}", dial.number, format_duration(delay));
        self.job.recorder.borrow_mut().retries += 1;
        agenda.wheel.arm(&mut self.backoff, BACKOFF, next);
    }

    pub(super) fn end_backoff(&mut self, agenda: &mut Agenda) {
        let next = self.dialer.end_backoff(agenda.now);
        agenda.wheel.arm(&mut self.backoff, BACKOFF, next);
        self.queue_dialer(agenda);
    }

    /// A connection that was never opened is over.
    pub(super) fn fail(&mut self, dial: Dial, failure: Failure) {
        let number = dial.number;
        log::debug!("Connection {number} failed: {failure}");
        let mut recorder = self.job.recorder.borrow_mut();
        recorder.failed(self.shared.target_of(number), failure);
        drop(recorder);
        self.settle(dial);
        self.note_done();
        self.note_end();
    }

    /// A connection can be used.
    pub(super) fn note_opened(&self, dial: Dial) {
        if self.shared.config.load.reconnect_every.is_none() {
            let first = self.first_connect.unwrap_or(dial.started);
            self.job.recorder.borrow_mut().opening = Some((first, Instant::now()));
        }
        self.settle(dial);
    }

    /// The first connection with its number was opened, or has failed.
    pub(super) fn settle(&self, dial: Dial) {
        if dial.round == 0 {
            self.shared.settle();
        }
    }
}
