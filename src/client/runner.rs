//! One worker of the client: a loop that opens its share of the connections and lets each do its work.

use super::dialer::{Dial, Dialer};
use super::relay::Talk;
use super::report::Failure;
use super::secure;
use super::task::Task;
use super::watch::Watch;
use super::workload::{Job, Outcome, Workload, buffer_bytes};
use super::{Message, Recorder, Shared};
use crate::buffer::Lender;
use crate::connection::{CloseReason, Limits};
use crate::event_loop::{Agenda, Due, Handler, Key, Readiness, Slab, Timer};
use crate::pump::{Conversation, Pump};
use crate::socket::{Address, Progress, begin_connect, check_connect};
use crate::units::format_duration;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The entry of the ready queue that opens connections.
pub(super) const DIALER: Key = Key::fixed(0);

/// The entry of the wheel that ends the hold.
const HOLD: Key = Key::fixed(1);

/// The entry of the wheel that tries again those who found a backlog full.
const RETRY: Key = Key::fixed(2);

/// The entry of the wheel that tries again those who were refused.
const BACKOFF: Key = Key::fixed(3);

/// How many connects are begun before the conversations get their turn.
const DIALS_PER_TURN: usize = 64;

/// How long to wait when a Unix socket's backlog is full: there, no event tells when to try again.
const BACKLOG_PAUSE: Duration = Duration::from_millis(2);

/// One connection, from the begin of its connect on.
#[derive(Debug)]
struct Entry {
    dial: Dial,
    connected: bool,
    /// When the connect succeeded.
    since: Instant,
    conversation: Conversation<Task>,
}

pub(super) struct Runner<'a> {
    shared: &'a Shared,
    job: Rc<Job>,
    entries: Slab<Entry>,
    lender: Lender,
    limits: Limits,
    dialer: Dialer,
    backoff: Timer,
}

impl<'a> Runner<'a> {
    /// The worker that opens every `step`th connection from `first` on.
    pub(super) fn new(shared: &'a Shared, recorder: Recorder, first: usize, step: usize) -> Self {
        let config = &shared.config;
        let numbers = (first..=config.connections).step_by(step);
        Self {
            shared,
            job: Rc::new(Job::new(shared, recorder)),
            entries: Slab::default(),
            lender: Lender::new(),
            limits: limits(shared),
            dialer: Dialer::new(numbers, config.max_connecting, config.retry_delay),
            backoff: Timer::default(),
        }
    }

    /// What was written down, when the loop has ended.
    pub(super) fn into_recorder(self) -> Recorder {
        drop(self.entries);
        Rc::into_inner(self.job).expect("no connection is left").into_recorder()
    }

    /// Begins connects, as many as may be in progress, some of them per turn.
    fn dial_some(&mut self, agenda: &mut Agenda) {
        self.dialer.dequeue();
        for _ in 0..DIALS_PER_TURN {
            let Some(dial) = self.dialer.next() else { return };
            self.dial(agenda, dial);
        }
        self.queue_dialer(agenda);
    }

    fn queue_dialer(&mut self, agenda: &mut Agenda) {
        if self.dialer.enqueue() {
            agenda.ready.push_back(DIALER);
        }
    }

    fn dial(&mut self, agenda: &mut Agenda, dial: Dial) {
        log::debug!("Starting connection {} to {}", dial.number, self.addresses(dial)[dial.address]);
        // Nobody overtakes those who wait already.
        let waits = self.dialer.has_postponed() || !self.attempt(agenda, dial);
        if waits && self.dialer.postpone(dial) {
            agenda.wheel.arm(&mut Timer::default(), RETRY, Some(agenda.now + BACKLOG_PAUSE));
        }
    }

    /// Tries to connect; false when the backlog is full.
    fn attempt(&mut self, agenda: &mut Agenda, dial: Dial) -> bool {
        let config = &self.shared.config;
        let key = self.entries.next_key();
        let begun = begin_connect(&self.addresses(dial)[dial.address], &config.socket).and_then(|mut socket| {
            agenda.register(socket.source(), key)?;
            secure::secured(self.shared, dial.number, socket)
        });
        match begun {
            Ok(socket) => {
                let now = Instant::now();
                let mut conversation = Conversation::new(self.task(dial), socket, now);
                conversation.arm(agenda, key, Some(now + config.connect_timeout));
                self.entries.insert(Entry { dial, connected: false, since: now, conversation });
                self.dialer.begun();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => self.dial_next(agenda, dial, &error),
        }
        true
    }

    fn task(&self, dial: Dial) -> Task {
        match &self.shared.relay {
            Some(relay) => Task::Talk(Talk::new(Arc::clone(relay), dial.started)),
            None => Task::Exchange(Workload::new(Rc::clone(&self.job), dial.number, dial.started)),
        }
    }

    /// Tries those who found the backlog full, until it is full again, and gives up those who waited for too long.
    fn retry(&mut self, agenda: &mut Agenda) {
        while let Some(dial) = self.dialer.next_postponed() {
            if dial.started.elapsed() >= self.shared.config.connect_timeout {
                self.dial_again(agenda, dial, Failure::ConnectTimeout);
            } else if !self.attempt(agenda, dial) {
                self.dialer.postpone_again(dial);
                agenda.wheel.arm(&mut Timer::default(), RETRY, Some(agenda.now + BACKLOG_PAUSE));
                break;
            }
        }
        self.queue_dialer(agenda);
    }

    /// The addresses of the target that `dial` goes to.
    fn addresses(&self, dial: Dial) -> &'a [Address] {
        &self.shared.targets[self.shared.target_of(dial.number)]
    }

    /// An address refused or did not answer: try the next one; after the last one, later again.
    fn dial_next(&mut self, agenda: &mut Agenda, dial: Dial, error: &io::Error) {
        if dial.address + 1 < self.addresses(dial).len() {
            self.dial(agenda, Dial { address: dial.address + 1, ..dial });
        } else {
            self.dial_again(agenda, dial, Failure::of_connect(error));
        }
    }

    /// No address could be connected to: try them again later, or give up.
    fn dial_again(&mut self, agenda: &mut Agenda, dial: Dial, failure: Failure) {
        if dial.retries >= self.shared.config.retries || !failure.may_pass() {
            return self.fail(dial.number, failure);
        }
        let (next, delay) = self.dialer.back_off(dial, Instant::now());
        log::debug!("Connection {}: {failure}; trying again in {}", dial.number, format_duration(delay));
        self.job.recorder.borrow_mut().retries += 1;
        agenda.wheel.arm(&mut self.backoff, BACKOFF, next);
    }

    fn end_backoff(&mut self, agenda: &mut Agenda) {
        let next = self.dialer.end_backoff(agenda.now);
        agenda.wheel.arm(&mut self.backoff, BACKOFF, next);
        self.queue_dialer(agenda);
    }

    /// A connection that was never opened is over.
    fn fail(&mut self, number: usize, failure: Failure) {
        log::debug!("Connection {number} failed: {failure}");
        let mut recorder = self.job.recorder.borrow_mut();
        recorder.failed(self.shared.target_of(number), failure);
        recorder.progress.ended.add(1);
        self.shared.hang_up();
        self.shared.settle();
    }

    /// Something happened to a connect in progress.
    fn handle_connecting(&mut self, agenda: &mut Agenda, key: Key, readiness: Readiness) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match check_connect(&entry.conversation.socket) {
            Ok(Progress::Pending) => {}
            Ok(Progress::Connected) => {
                self.job.recorder.borrow_mut().connected(entry.dial.started.elapsed());
                entry.connected = true;
                entry.since = Instant::now();
                entry.conversation.handle_event(readiness);
                if !entry.conversation.connection.is_handshaking() {
                    self.dialer.ended();
                }
                self.shared.opened();
                self.shared.settle();
                self.turn(agenda, key);
                self.queue_dialer(agenda);
            }
            Err(error) => {
                if let Some(dial) = self.hang_up(agenda, key) {
                    self.dial_next(agenda, dial, &error);
                }
            }
        }
    }

    /// Ends a connect in progress.
    fn hang_up(&mut self, agenda: &mut Agenda, key: Key) -> Option<Dial> {
        let mut entry = self.entries.remove(key)?;
        agenda.deregister(entry.conversation.socket.source());
        self.dialer.ended();
        self.queue_dialer(agenda);
        Some(entry.dial)
    }

    #[inline]
    fn turn(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let mut watch = Watch { number: entry.dial.number };
        let mut pump = Pump { lender: &mut self.lender, limits: &self.limits, observer: &mut watch };
        let was_handshaking = entry.conversation.connection.is_handshaking();
        let closed = entry.conversation.turn(&mut pump, agenda, key);
        // The connect of a connection that begins with a handshake ends with that, well or badly.
        let has_ended_connect = was_handshaking && !entry.conversation.connection.is_handshaking();
        if has_ended_connect {
            self.dialer.ended();
            secure::note_secured(&entry.conversation.socket, entry.dial.number, entry.since, &self.job.recorder);
        }
        // Nothing that a failed conversation still has to say matters.
        let failed = matches!(entry.conversation.connection.service().outcome(), Some(Outcome::Failed(_)));
        if let Some(reason) = closed.or(failed.then_some(CloseReason::Completed)) {
            self.close(agenda, key, reason);
        }
        if has_ended_connect {
            self.queue_dialer(agenda);
        }
    }

    fn close(&mut self, agenda: &mut Agenda, key: Key, reason: CloseReason) {
        let Some(mut entry) = self.entries.remove(key) else { return };
        agenda.deregister(entry.conversation.socket.source());
        let (number, connection) = (entry.dial.number, &entry.conversation.connection);
        let outcome = secure::outcome(connection.service().outcome_after(reason), &entry.conversation.socket);
        self.lender.hold(connection.storage_bytes(), 0);
        let mut recorder = self.job.recorder.borrow_mut();
        recorder.sent_bytes += connection.sent_bytes();
        match outcome {
            Outcome::Verified => {
                log::debug!("Closing connection {number}");
                recorder.verified += 1;
            }
            Outcome::Failed(failure) => {
                log::debug!("Closing connection {number}: {failure}");
                recorder.failed(self.shared.target_of(number), failure);
            }
        }
        recorder.progress.ended.add(1);
        self.shared.hang_up();
        self.shared.closed();
    }

    /// Every connection was opened or has failed: from now on they are held, then told that they may end.
    fn begin_hold(&mut self, agenda: &mut Agenda) {
        if let Some(hold) = self.shared.config.hold {
            agenda.wheel.arm(&mut Timer::default(), HOLD, Some(agenda.now + hold));
        }
    }

    fn end_hold(&mut self, agenda: &mut Agenda) {
        self.job.holding.set(false);
        self.wake_all(agenda);
    }

    fn wake_all(&mut self, agenda: &mut Agenda) {
        for key in self.entries.keys() {
            // Whoever is not connected yet will be served then.
            let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.connected) else { continue };
            entry.conversation.connection.handle_wake();
            self.turn(agenda, key);
        }
    }

    fn stop(&mut self, agenda: &mut Agenda) {
        if let Some(relay) = &self.shared.relay {
            relay.abandon();
        }
        for dial in self.dialer.stop() {
            self.fail(dial.number, Failure::Stopped);
        }
        for key in self.entries.keys() {
            if self.entries.get_mut(key).is_some_and(|entry| entry.connected) {
                self.close(agenda, key, CloseReason::Stopped);
            } else if let Some(dial) = self.hang_up(agenda, key) {
                self.fail(dial.number, Failure::Stopped);
            }
        }
    }
}

impl Handler for Runner<'_> {
    type Message = Message;

    #[inline]
    fn handle_event(&mut self, agenda: &mut Agenda, key: Key, readiness: Readiness) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !entry.connected {
            self.handle_connecting(agenda, key, readiness);
        } else if entry.conversation.handle_event(readiness) {
            self.turn(agenda, key);
        }
    }

    fn handle_due(&mut self, agenda: &mut Agenda, due: Due) {
        let key = due.key();
        match key {
            RETRY => return self.retry(agenda),
            HOLD => return self.end_hold(agenda),
            BACKOFF if agenda.wheel.accept(&mut self.backoff, due) => return self.end_backoff(agenda),
            _ => {}
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !entry.conversation.handle_due(agenda, due, &self.limits) {
            return;
        }
        if entry.connected {
            self.turn(agenda, key);
        } else if let Some(dial) = self.hang_up(agenda, key) {
            self.dial_next(agenda, dial, &ErrorKind::TimedOut.into());
        }
    }

    fn handle_alarm(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.connected && entry.conversation.handle_alarm(agenda.now) {
            self.turn(agenda, key);
        }
    }

    fn handle_ready(&mut self, agenda: &mut Agenda, key: Key) {
        if key == DIALER {
            return self.dial_some(agenda);
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.conversation.handle_ready() {
            self.turn(agenda, key);
        }
    }

    fn handle_message(&mut self, agenda: &mut Agenda, message: Message) {
        match message {
            Message::AllSettled => self.begin_hold(agenda),
            Message::Wake => self.wake_all(agenda),
            Message::Stop => self.stop(agenda),
        }
    }

    fn handle_signal(&mut self, _agenda: &mut Agenda, _signal: i32) {
        self.shared.handle.stop();
    }

    fn is_done(&self) -> bool {
        self.dialer.is_done() && self.entries.is_empty() && self.shared.is_settled()
    }
}

/// The workload keeps its own time: a held connection may be silent for long. A whole answer must fit the buffer. Whoever
/// passes on what the server says wants to hear no more once there is nobody to pass it on to.
fn limits(shared: &Shared) -> Limits {
    let answers = if shared.requests.is_empty() { 0 } else { buffer_bytes(&shared.requests) };
    let patient = Limits {
        buffer_bytes: answers.max(shared.config.buffer_bytes),
        handshake: Some(shared.config.connect_timeout),
        ..Limits::patient()
    };
    if shared.relay.is_some() { Limits { linger: Duration::ZERO, ..patient } } else { patient }
}
