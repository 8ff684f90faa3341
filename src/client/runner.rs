//! One worker of the client: a loop that opens its share of the connections and lets each do its work.

use super::clock::nanos;
use super::dialer::{Dial, Dialer};
use super::failure::Failure;
use super::measured::Unanswered;
use super::pacer::Pacer;
use super::schedule::Share;
use super::secure;
use super::spacing::Spacing;
use super::task::Task;
use super::watch::Watch;
use super::workload::{Job, Outcome, Phase, buffer_bytes};
use super::{Message, Recorder, Shared, ends_run};
use crate::buffer::{Lender, MemoryAccount};
use crate::connection::{CloseReason, Limits};
use crate::event_loop::{Agenda, Due, Handler, Key, Readiness, Slab, Timer};
use crate::pump::{Conversation, Pump};
use crate::socket::{Progress, check_connect};
use crate::units::later;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The entry of the ready queue that opens connections.
pub(super) const DIALER: Key = Key::fixed(0);

/// The entry of the wheel that ends the hold.
const HOLD: Key = Key::fixed(1);

/// The entry of the wheel that tries again those who found a backlog full.
pub(super) const RETRY: Key = Key::fixed(2);

/// The entry of the wheel that tries again those who were refused.
pub(super) const BACKOFF: Key = Key::fixed(3);

/// The alarm for the next message of an open loop.
pub(super) const PACER: Key = Key::fixed(4);

/// The alarm at the end of the warm-up.
pub(super) const WARM: Key = Key::fixed(5);

/// The alarm at the end of the load.
pub(super) const END: Key = Key::fixed(6);

/// The alarm for the next connect of those that follow each other evenly.
pub(super) const DIAL: Key = Key::fixed(7);

/// One connection, from the begin of its connect on.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dial: Dial,
    /// When the connect succeeded, if it has.
    pub(super) opened: Option<Instant>,
    /// Its exchange is complete, and counted as such.
    pub(super) is_done: bool,
    pub(super) conversation: Conversation<Task>,
}

pub(super) struct Runner<'a> {
    pub(super) shared: &'a Shared,
    pub(super) job: Rc<Job>,
    pub(super) entries: Slab<Entry>,
    lender: Lender,
    memory: MemoryAccount,
    limits: Limits,
    pub(super) dialer: Dialer,
    hold: Timer,
    pub(super) retry: Timer,
    pub(super) backoff: Timer,
    /// Which of the connections are its own.
    pub(super) share: Share,
    pub(super) pacer: Option<Pacer>,
    /// When the first connect began.
    pub(super) first_connect: Option<Instant>,
}

impl<'a> Runner<'a> {
    /// The worker that opens every `step`th connection from `first` on, in a run that began at `started`.
    pub(super) fn new(shared: &'a Shared, mut recorder: Recorder, first: usize, step: usize, started: Instant) -> Self {
        let config = &shared.config;
        recorder.book.begin(shared.clock.nanos(started));
        let numbers = (first..=config.connections).step_by(step);
        let share = Share::new(first - 1, step, config.connections);
        let spacing = config.connect_rate.map(|rate| Spacing::new(rate, started, share));
        Self {
            shared,
            job: Rc::new(Job::new(shared, recorder)),
            entries: Slab::default(),
            lender: Lender::new(),
            memory: MemoryAccount::unlimited(),
            limits: limits(shared),
            dialer: Dialer::new(numbers, spacing, config.max_connecting, config.retry_delay),
            hold: Timer::default(),
            retry: Timer::default(),
            backoff: Timer::default(),
            share,
            pacer: None,
            first_connect: None,
        }
    }

    /// What was written down, when the loop has ended.
    pub(super) fn into_recorder(mut self, now: Instant) -> Recorder {
        let now = self.job.clock.nanos(now);
        let is_stopped = self.shared.handle.is_stopped();
        self.give_up_due(now, if is_stopped { Unanswered::Pending } else { Unanswered::Lost });
        drop(self.entries);
        let mut recorder = Rc::into_inner(self.job).expect("no connection is left").into_recorder();
        recorder.book.close(now, is_stopped);
        recorder
    }

    /// Something happened to a connect in progress.
    fn handle_connecting(&mut self, agenda: &mut Agenda, key: Key, readiness: Readiness) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match check_connect(&entry.conversation.socket) {
            Ok(Progress::Pending) => {}
            Ok(Progress::Connected) => {
                self.job.recorder.borrow_mut().connected(entry.dial.started.elapsed());
                entry.opened = Some(Instant::now());
                entry.conversation.handle_event(readiness);
                let (dial, is_complete) = (entry.dial, !entry.conversation.connection.is_handshaking());
                self.shared.opened();
                if is_complete {
                    self.dialer.ended();
                    self.note_opened(dial);
                }
                self.turn(agenda, key);
                if is_complete {
                    self.welcome(agenda, key);
                }
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
        entry.conversation.deregister(agenda, key, &self.memory);
        self.dialer.ended();
        self.queue_dialer(agenda);
        Some(entry.dial)
    }

    #[inline]
    pub(super) fn turn(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let mut watch = Watch::new(entry.dial.number, &self.job, entry.opened);
        let (lender, memory) = (&mut self.lender, &self.memory);
        let mut pump = Pump { lender, memory, limits: &self.limits, observer: &mut watch };
        let was_handshaking = entry.conversation.connection.is_handshaking();
        let closed = entry.conversation.turn(&mut pump, agenda, key);
        if let Some(workload) = entry.conversation.connection.service_mut().exchange() {
            workload.end_turn();
        }
        // The connect of a connection that begins with a handshake ends with that, well or badly.
        let has_ended_connect = was_handshaking && !entry.conversation.connection.is_handshaking();
        if has_ended_connect {
            self.dialer.ended();
        }
        let service = entry.conversation.connection.service();
        let is_over = service.is_over();
        let is_newly_done = !entry.is_done && service.is_complete();
        entry.is_done |= is_newly_done;
        let dial = entry.dial;
        if is_newly_done {
            self.note_done();
        }
        let is_usable = closed.is_none();
        if let Some(reason) = closed.or(is_over.then_some(CloseReason::Completed)) {
            self.close(agenda, key, reason);
        }
        if has_ended_connect {
            // Not before: nothing can be sent until then, and that is not the client's lag.
            if is_usable {
                self.note_opened(dial);
            } else {
                self.settle(dial);
            }
            self.welcome(agenda, key);
            self.queue_dialer(agenda);
        }
    }

    fn close(&mut self, agenda: &mut Agenda, key: Key, reason: CloseReason) {
        let Some(mut entry) = self.entries.remove(key) else { return };
        entry.conversation.deregister(agenda, key, &self.memory);
        let (number, connection, is_done) = (entry.dial.number, &entry.conversation.connection, entry.is_done);
        let outcome = secure::outcome(connection.service().outcome_after(reason), &entry.conversation.socket);
        let mut recorder = self.job.recorder.borrow_mut();
        recorder.sent_bytes += connection.sent_bytes();
        let now = self.job.clock.nanos(Instant::now());
        connection.service().give_up(outcome, now, &mut recorder.book);
        let answered = connection.service().answered_count();
        match outcome {
            Outcome::Verified if self.is_followed(entry.dial, answered) => {
                log::debug!("Closing connection {number}; another one follows");
                drop(recorder);
                self.shared.closed();
                self.dialer.follow(entry.dial, answered, agenda.now);
                return self.queue_dialer(agenda);
            }
            Outcome::Verified => {
                log::debug!("Closing connection {number}");
                recorder.verified += 1;
            }
            Outcome::Failed(failure) => {
                log::debug!("Closing connection {number}: {failure}");
                recorder.failed(self.shared.target_of(number), failure);
            }
        }
        drop(recorder);
        self.shared.closed();
        if !is_done {
            self.note_done();
        }
        self.note_end();
    }

    /// The exchange of a connection is complete, or has failed.
    pub(super) fn note_done(&self) {
        self.job.recorder.borrow().progress.done.add(1);
        self.shared.note_done();
    }

    /// A connection is over, and none follows.
    pub(super) fn note_end(&self) {
        self.job.recorder.borrow().progress.ended.add(1);
        self.shared.note_end();
    }

    /// Whether a connection that ends well after so many messages leaves some to another one.
    fn is_followed(&self, dial: Dial, answered: u64) -> bool {
        let is_wanted = self.shared.config.load.reconnect_every.is_some() && !self.shared.handle.is_stopped();
        is_wanted && self.job.phase.get() == Phase::Sending && dial.done + answered < self.job.total
    }

    /// Every connection was opened or has failed: from now on they are held, then told that they may end.
    pub(super) fn begin_hold(&mut self, agenda: &mut Agenda) {
        if let Some(hold) = self.shared.config.hold {
            agenda.wheel.arm(&mut self.hold, HOLD, Some(later(agenda.now, hold)));
        }
    }

    fn end_hold(&mut self, agenda: &mut Agenda) {
        self.job.holding.set(false);
        self.wake_all(agenda);
    }

    /// Nothing is left to wait for: connections that are done close.
    pub(super) fn close_done(&mut self, agenda: &mut Agenda) {
        if self.job.keeps_open.replace(false) {
            self.wake_all(agenda);
        }
    }

    pub(super) fn wake_all(&mut self, agenda: &mut Agenda) {
        for key in self.entries.keys() {
            // Whoever is not connected yet will be served then.
            let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.opened.is_some()) else { continue };
            entry.conversation.connection.handle_wake();
            self.turn(agenda, key);
        }
    }

    fn stop(&mut self, agenda: &mut Agenda) {
        if let Some(relay) = &self.shared.relay {
            relay.abandon();
        }
        self.give_up_due(self.job.clock.nanos(agenda.now), Unanswered::Pending);
        for dial in self.dialer.stop() {
            self.fail(dial, Failure::Stopped);
        }
        for key in self.entries.keys() {
            if self.entries.get_mut(key).is_some_and(|entry| entry.opened.is_some()) {
                self.close(agenda, key, CloseReason::Stopped);
            } else if let Some(dial) = self.hang_up(agenda, key) {
                self.fail(dial, Failure::Stopped);
            }
        }
    }
}

impl Handler for Runner<'_> {
    type Message = Message;

    #[inline]
    fn handle_event(&mut self, agenda: &mut Agenda, key: Key, readiness: Readiness) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.opened.is_none() {
            self.handle_connecting(agenda, key, readiness);
        } else if entry.conversation.handle_event(readiness) {
            self.turn(agenda, key);
        }
    }

    fn handle_due(&mut self, agenda: &mut Agenda, due: Due) {
        let key = due.key();
        match key {
            RETRY => return self.dial_postponed(agenda),
            HOLD => return self.end_hold(agenda),
            BACKOFF => return self.end_backoff(agenda),
            _ => {}
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !entry.conversation.handle_due(&self.limits, agenda.now) {
            return;
        }
        if entry.opened.is_some() {
            self.turn(agenda, key);
        } else if let Some(dial) = self.hang_up(agenda, key) {
            self.dial_next(agenda, dial, &ErrorKind::TimedOut.into());
        }
    }

    fn handle_alarm(&mut self, agenda: &mut Agenda, key: Key) {
        match key {
            PACER => return self.pace(agenda),
            WARM => return self.end_warm_up(),
            END => return self.end_time(agenda),
            DIAL => return self.end_spacing(agenda),
            _ => {}
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.opened.is_some() && entry.conversation.handle_alarm(agenda.now) {
            self.turn(agenda, key);
        }
    }

    fn handle_ready(&mut self, agenda: &mut Agenda, key: Key) {
        match key {
            DIALER => return self.dial_some(agenda),
            PACER => return self.pace(agenda),
            _ => {}
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.conversation.handle_ready() {
            self.turn(agenda, key);
        }
    }

    fn handle_message(&mut self, agenda: &mut Agenda, message: Message) {
        match message {
            Message::AllSettled(instant) => self.begin_load(agenda, instant),
            Message::AllDone => self.close_done(agenda),
            Message::Wake => self.wake_all(agenda),
            // That is seen at the end of the round.
            Message::AllOver => {}
            Message::Stop => self.stop(agenda),
        }
    }

    fn handle_signal(&mut self, _agenda: &mut Agenda, signal: i32) {
        if ends_run(signal) {
            self.shared.handle.stop();
        }
    }

    #[inline]
    fn handle_round(&mut self, agenda: &mut Agenda) {
        let now = Instant::now();
        let open = self.entries.len() as u64;
        let took = nanos(now.saturating_duration_since(agenda.now));
        self.job.recorder.borrow_mut().turned(took, self.job.clock.nanos(now), open);
    }

    /// Whoever has no connection left stays while others have: its part of the schedule is still due.
    fn is_done(&self) -> bool {
        self.dialer.is_done() && self.entries.is_empty() && self.shared.is_over()
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
        ..Limits::patient()
    };
    match shared.relay {
        Some(_) => Limits { linger: Duration::ZERO, write: Some(shared.config.reply_timeout), ..patient },
        None => patient,
    }
}
