//! One worker of the client: a loop that opens its share of the connections and lets each do its work.

use super::report::Failure;
use super::workload::{Job, Outcome, Workload};
use super::{Message, Recorder, Shared};
use crate::buffer::Lender;
use crate::connection::{CloseReason, Connection, Limits};
use crate::event_loop::{Agenda, Due, Handler, Key, Readiness, Slab, Timer};
use crate::pump::{Observer, Pump, Turn};
use crate::repr::BytesRepr;
use crate::socket::{Progress, Stream, begin_connect, check_connect};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The entry of the ready queue that opens connections.
pub(super) const DIALER: Key = Key::fixed(0);

/// The entry of the wheel that ends the hold.
const HOLD: Key = Key::fixed(1);

/// How many connects are begun before the conversations get their turn.
const DIALS_PER_TURN: usize = 64;

/// How long to wait when a Unix socket's backlog is full: there, no event tells when to try again.
const BACKLOG_PAUSE: Duration = Duration::from_millis(2);

/// One attempt to connect.
#[derive(Debug, Clone, Copy)]
struct Dial {
    number: usize,
    /// Which of the target's addresses is tried.
    address: usize,
    started: Instant,
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every entry is open, and a box would be one more miss per message"
)]
enum Stage {
    Connecting,
    Open(Connection<Workload>),
}

#[derive(Debug)]
struct Entry {
    dial: Dial,
    socket: Stream,
    stage: Stage,
    timer: Timer,
    /// In the ready queue already.
    queued: bool,
}

pub(super) struct Runner<'a> {
    shared: &'a Shared,
    job: Rc<Job>,
    entries: Slab<Entry>,
    lender: Lender,
    limits: Limits,
    /// The numbers of the connections still to be opened.
    numbers: std::iter::StepBy<std::ops::RangeInclusive<usize>>,
    /// Has to be tried again after a pause.
    postponed: Option<Dial>,
    connecting: usize,
    dialer_queued: bool,
    has_more: bool,
}

impl<'a> Runner<'a> {
    /// The worker that opens every `step`th connection from `first` on.
    pub(super) fn new(shared: &'a Shared, recorder: Recorder, first: usize, step: usize) -> Self {
        Self {
            shared,
            job: Rc::new(Job::new(&shared.config, recorder)),
            entries: Slab::default(),
            lender: Lender::new(),
            // The workload keeps its own time: a held connection may be silent for long.
            limits: Limits { idle: None, ..Limits::default() },
            numbers: (first..=shared.config.connections).step_by(step),
            postponed: None,
            connecting: 0,
            dialer_queued: true,
            has_more: true,
        }
    }

    /// What was written down, when the loop has ended.
    pub(super) fn into_recorder(self) -> Recorder {
        drop(self.entries);
        Rc::into_inner(self.job).expect("no connection is left").recorder.into_inner()
    }

    /// Begins connects, as many as may be in progress, some of them per turn.
    fn dial_some(&mut self, agenda: &mut Agenda) {
        for _ in 0..DIALS_PER_TURN {
            if self.connecting >= self.shared.config.max_connecting || !self.has_more {
                return;
            }
            let fresh = |number| Dial { number, address: 0, started: Instant::now() };
            match self.postponed.take().or_else(|| self.numbers.next().map(fresh)) {
                Some(dial) => self.dial(agenda, dial),
                None => self.has_more = false,
            }
            if self.postponed.is_some() {
                let again = agenda.now + BACKLOG_PAUSE;
                return agenda.wheel.arm(&mut Timer::default(), DIALER, Some(again));
            }
        }
        self.queue_dialer(agenda);
    }

    fn queue_dialer(&mut self, agenda: &mut Agenda) {
        if !self.dialer_queued && self.has_more && self.postponed.is_none() {
            self.dialer_queued = true;
            agenda.ready.push_back(DIALER);
        }
    }

    fn dial(&mut self, agenda: &mut Agenda, dial: Dial) {
        let config = &self.shared.config;
        let address = &self.shared.addresses[dial.address];
        log::debug!("Starting connection {} to {address}", dial.number);
        let key = self.entries.next_key();
        let begun = begin_connect(address, &config.socket).and_then(|mut socket| {
            agenda.register(&mut socket, key)?;
            Ok(socket)
        });
        match begun {
            Ok(socket) => {
                let mut timer = Timer::default();
                agenda.wheel.arm(&mut timer, key, Some(dial.started + config.connect_timeout));
                self.entries.insert(Entry { dial, socket, stage: Stage::Connecting, timer, queued: false });
                self.connecting += 1;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if dial.started.elapsed() < config.connect_timeout {
                    self.postponed = Some(dial);
                } else {
                    self.fail(dial.number, Failure::ConnectTimeout);
                }
            }
            Err(error) => self.dial_next(agenda, dial, &error),
        }
    }

    /// An address refused: try the next one, or give up.
    fn dial_next(&mut self, agenda: &mut Agenda, dial: Dial, error: &io::Error) {
        if dial.address + 1 < self.shared.addresses.len() {
            self.dial(agenda, Dial { address: dial.address + 1, ..dial });
        } else {
            self.fail(dial.number, Failure::of_connect(error));
        }
    }

    /// A connection that was never opened is over.
    fn fail(&mut self, number: usize, failure: Failure) {
        log::debug!("Connection {number} failed: {failure}");
        let mut recorder = self.job.recorder.borrow_mut();
        recorder.failed(failure);
        recorder.progress.ended.add(1);
        self.shared.settle();
    }

    fn handle_connecting(&mut self, agenda: &mut Agenda, key: Key, readiness: Readiness) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match check_connect(&entry.socket) {
            Ok(Progress::Pending) => return,
            Ok(Progress::Connected) => {
                let now = Instant::now();
                self.job.recorder.borrow_mut().connected(now - entry.dial.started);
                let workload = Workload::new(Rc::clone(&self.job), entry.dial.number, now);
                let mut connection = Connection::new(workload, now);
                connection.handle_read_blocked();
                connection.handle_event(readiness.readable, readiness.writable, readiness.hang_up);
                entry.stage = Stage::Open(connection);
                self.connecting -= 1;
                self.shared.opened();
                self.shared.settle();
                self.turn(agenda, key);
            }
            Err(error) => {
                if let Some(mut entry) = self.entries.remove(key) {
                    agenda.deregister(&mut entry.socket);
                    self.connecting -= 1;
                    self.dial_next(agenda, entry.dial, &error);
                }
            }
        }
        self.queue_dialer(agenda);
    }

    #[inline]
    fn turn(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Stage::Open(connection) = &mut entry.stage else { return };
        let mut watch = Watch { number: entry.dial.number };
        let mut pump = Pump { lender: &mut self.lender, limits: &self.limits, observer: &mut watch };
        let turn = pump.turn(connection, &mut entry.socket);
        // Nothing that a failed conversation still has to say matters.
        let failed = matches!(connection.service().outcome(), Some(Outcome::Failed(_)));
        match turn {
            Turn::Closed(reason) => return self.close(agenda, key, reason),
            _ if failed => return self.close(agenda, key, CloseReason::Completed),
            Turn::Yielded if !entry.queued => {
                entry.queued = true;
                agenda.ready.push_back(key);
            }
            Turn::Yielded | Turn::Blocked => {}
        }
        agenda.wheel.arm(&mut entry.timer, key, connection.next_deadline(&self.limits));
    }

    fn close(&mut self, agenda: &mut Agenda, key: Key, reason: CloseReason) {
        let Some(mut entry) = self.entries.remove(key) else { return };
        agenda.deregister(&mut entry.socket);
        let number = entry.dial.number;
        match entry.stage {
            Stage::Connecting => {
                self.connecting -= 1;
                self.fail(number, Failure::of_close(reason));
            }
            Stage::Open(connection) => {
                let outcome = connection.service().outcome().unwrap_or(Outcome::Failed(Failure::of_close(reason)));
                let mut recorder = self.job.recorder.borrow_mut();
                recorder.sent_bytes += connection.sent_bytes();
                match outcome {
                    Outcome::Verified => {
                        log::debug!("Closing connection {number}");
                        recorder.verified += 1;
                    }
                    Outcome::Failed(failure) => {
                        log::debug!("Closing connection {number}: {failure}");
                        recorder.failed(failure);
                    }
                }
                recorder.progress.ended.add(1);
                self.shared.closed();
            }
        }
        self.queue_dialer(agenda);
    }

    /// Every connection was opened or has failed: from now on they are held, then told that they may end.
    fn begin_hold(&mut self, agenda: &mut Agenda) {
        if let Some(hold) = self.shared.config.hold {
            agenda.wheel.arm(&mut Timer::default(), HOLD, Some(agenda.now + hold));
        }
    }

    fn end_hold(&mut self, agenda: &mut Agenda) {
        self.job.holding.set(false);
        for key in self.entries.keys() {
            if let Some(Entry { stage: Stage::Open(connection), .. }) = self.entries.get_mut(key) {
                connection.handle_wake();
            }
            self.turn(agenda, key);
        }
    }

    fn stop(&mut self, agenda: &mut Agenda) {
        self.has_more = false;
        self.postponed = None;
        for key in self.entries.keys() {
            self.close(agenda, key, CloseReason::Stopped);
        }
    }
}

impl Handler for Runner<'_> {
    type Message = Message;

    #[inline]
    fn handle_event(&mut self, agenda: &mut Agenda, key: Key, readiness: Readiness) {
        match self.entries.get_mut(key) {
            Some(Entry { stage: Stage::Open(connection), queued, .. }) => {
                connection.handle_event(readiness.readable, readiness.writable, readiness.hang_up);
                // Who yielded has a turn to come in this round: not one more before the others.
                if !*queued {
                    self.turn(agenda, key);
                }
            }
            Some(_) => self.handle_connecting(agenda, key, readiness),
            None => {}
        }
    }

    fn handle_due(&mut self, agenda: &mut Agenda, due: Due) {
        match due.key() {
            DIALER => return self.dial_some(agenda),
            HOLD => return self.end_hold(agenda),
            _ => {}
        }
        let Some(entry) = self.entries.get_mut(due.key()) else { return };
        if !agenda.wheel.accept(&mut entry.timer, due) {
            return;
        }
        match &mut entry.stage {
            Stage::Open(connection) => {
                connection.handle_deadline(&self.limits, agenda.now);
                self.turn(agenda, due.key());
            }
            Stage::Connecting => {
                if let Some(mut entry) = self.entries.remove(due.key()) {
                    agenda.deregister(&mut entry.socket);
                    self.connecting -= 1;
                    self.fail(entry.dial.number, Failure::ConnectTimeout);
                    self.queue_dialer(agenda);
                }
            }
        }
    }

    fn handle_ready(&mut self, agenda: &mut Agenda, key: Key) {
        if key == DIALER {
            self.dialer_queued = false;
            return self.dial_some(agenda);
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.queued = false;
        self.turn(agenda, key);
    }

    fn handle_message(&mut self, agenda: &mut Agenda, message: Message) {
        match message {
            Message::AllSettled => self.begin_hold(agenda),
            Message::Stop => self.stop(agenda),
        }
    }

    fn handle_signal(&mut self, _agenda: &mut Agenda, _signal: i32) {
        self.shared.handle.stop();
    }

    fn is_done(&self) -> bool {
        !self.has_more && self.postponed.is_none() && self.entries.is_empty()
    }
}

/// Tells the story of the bytes. The time is read when it matters: latencies are made from it.
struct Watch {
    number: usize,
}

impl Observer for Watch {
    #[inline]
    fn now(&mut self) -> Instant {
        Instant::now()
    }

    #[inline]
    fn received(&mut self, bytes: &[u8]) {
        log::trace!("Received {} from connection {}", BytesRepr(bytes), self.number);
    }

    #[inline]
    fn sent(&mut self, bytes: &[u8]) {
        log::trace!("Sending {} to connection {}", BytesRepr(bytes), self.number);
    }
}

impl Shared {
    /// One more connection is open.
    fn opened(&self) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
    }

    /// One connection fewer is open.
    fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// One more connection was opened or has failed; after the last one, every worker learns it.
    fn settle(&self) {
        if self.settled.fetch_add(1, Ordering::Relaxed) + 1 == self.config.connections {
            self.handle.send(|| Message::AllSettled);
        }
    }
}
