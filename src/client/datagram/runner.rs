//! One worker of the client: a loop that keeps its share of the sockets sending and listening.

use super::desk::Desk;
use super::flight::Flight;
use super::{Expect, Message, Recorder, Shared};
use crate::client::Failure;
use crate::client::clock::nanos;
use crate::client::ends_run;
use crate::client::pacer::Pacer;
use crate::client::schedule::Share;
use crate::error::ErrorBackoff;
use crate::event_loop::{Agenda, Due, Handler, Key, Readiness, Slab, Timer};
use crate::socket::{DatagramSocket, Peer, needs_broadcast, open_towards};
use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::iter::StepBy;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The entry of the ready queue that opens sockets.
pub(super) const OPENER: Key = Key::fixed(0);

/// The alarm for the next message of an open loop, and the entry of the ready queue for those that are late.
pub(super) const PACER: Key = Key::fixed(1);

/// The alarm at the end of the warm-up.
pub(super) const WARM: Key = Key::fixed(2);

/// The alarm at the end of the load.
pub(super) const END: Key = Key::fixed(3);

/// How many sockets are opened before those that are open get their turn.
const OPENED_PER_TURN: usize = 64;

/// How long a socket listens on when every message has met its fate: what comes twice comes soon.
const LINGER: Duration = Duration::from_millis(100);

/// One socket.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) socket: DatagramSocket,
    /// Where its messages go to, if anybody may answer them.
    pub(super) to: Option<SocketAddr>,
    pub(super) flight: Flight,
    timer: Timer,
    /// When it closes, once it is done.
    closes: Option<Instant>,
    is_queued: bool,
    pub(super) receiving: ErrorBackoff,
    pub(super) sending: ErrorBackoff,
    /// Why calls failed the last time that one was followed by a pause.
    pub(super) failure: Option<Failure>,
}

impl Entry {
    fn new(socket: DatagramSocket, to: Option<SocketAddr>, flight: Flight) -> Self {
        Self {
            socket,
            to,
            flight,
            timer: Timer::default(),
            closes: None,
            is_queued: false,
            receiving: ErrorBackoff::default(),
            sending: ErrorBackoff::default(),
            failure: None,
        }
    }
}

pub(super) struct Runner<'a> {
    pub(super) shared: &'a Shared,
    pub(super) desk: Desk<'a>,
    pub(super) entries: Slab<Entry>,
    /// Which of the sockets are its own.
    pub(super) share: Share,
    pub(super) pacer: Option<Pacer>,
    /// The sockets that have got something to send; room that is used again.
    pub(super) sending: Vec<Key>,
    numbers: StepBy<RangeInclusive<usize>>,
    /// Or no more are to be opened.
    all_open: bool,
}

impl<'a> Runner<'a> {
    /// The worker that opens every `step`th socket from `first` on.
    pub(super) fn new(shared: &'a Shared, recorder: Recorder, first: usize, step: usize) -> Self {
        Self {
            shared,
            desk: Desk::new(shared, recorder),
            entries: Slab::default(),
            share: Share::new(first - 1, step, shared.config.sockets),
            pacer: None,
            sending: Vec::new(),
            numbers: (first..=shared.config.sockets).step_by(step),
            all_open: false,
        }
    }

    /// What was written down, when the loop has ended.
    pub(super) fn into_recorder(mut self) -> Recorder {
        let now = self.desk.now();
        self.count_homeless(now);
        self.desk.recorder.close(now, self.shared.handle.is_stopped());
        self.desk.recorder
    }

    fn open_some(&mut self, agenda: &mut Agenda) {
        for _ in 0..OPENED_PER_TURN {
            let Some(number) = self.numbers.next().filter(|_| !self.all_open) else {
                self.all_open = true;
                return;
            };
            let key = self.entries.next_key();
            let opened = self.open(number).and_then(|mut opened| {
                agenda.register(opened.0.source(), key).map_err(|error| Failure::of_connect(&error))?;
                Ok(opened)
            });
            match opened {
                Ok((socket, to)) => {
                    log::debug!("Opened socket {number} to {}", self.shared.target_of(number).0);
                    self.desk.recorder.progress.opened.add(1);
                    let flight = Flight::new(number as u64, self.shared.config.plan());
                    self.entries.insert(Entry::new(socket, to, flight));
                    self.turn(agenda, key);
                }
                Err(failure) => {
                    log::debug!("Socket {number} failed: {failure}");
                    self.desk.recorder.not_opened(failure);
                    self.shared.note_end();
                }
            }
            self.shared.settle();
        }
        agenda.ready.push_back(OPENER);
    }

    /// A socket towards the first of its target's addresses for which that works, and the address if that is not just one
    /// peer's.
    fn open(&self, number: usize) -> Result<(DatagramSocket, Option<SocketAddr>), Failure> {
        let config = &self.shared.config;
        let mut result = Err(Failure::System(ErrorKind::NotFound));
        for &address in self.shared.target_of(number).1 {
            let is_many = config.broadcast || address.ip().is_multicast();
            let peer = if is_many { Peer::Many(address) } else { Peer::One(address) };
            let opened = open_towards(peer, &config.multicast, &config.socket);
            result = match opened {
                Ok(socket) => Ok((socket, is_many.then_some(address))),
                Err(error) => Err(open_failure(&error, address)),
            };
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Everything that a socket can do now.
    pub(super) fn turn(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let has_more = self.desk.receive(entry, agenda.now);
        self.desk.expire(entry);
        self.send(agenda, key, has_more);
    }

    pub(super) fn turn_all(&mut self, agenda: &mut Agenda) {
        for key in self.entries.keys() {
            self.turn(agenda, key);
        }
    }

    /// Sends what may be sent, and sees to it that the socket gets its next turn: soon, if it `wants_turn`.
    pub(super) fn send(&mut self, agenda: &mut Agenda, key: Key, wants_turn: bool) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let is_blocked = self.desk.send(entry, agenda.now);
        if let Some(failure) = self.desk.hopeless(entry, agenda.now) {
            log::debug!("Socket {} failed: {failure}", entry.flight.socket());
            self.desk.recorder.failed(failure);
            return self.close(agenda, key);
        }
        let flight = &entry.flight;
        let is_done = self.desk.is_done(flight);
        if is_done {
            // The time is the one of this round, which is a little in the past.
            let closes = *entry.closes.get_or_insert(agenda.now + LINGER);
            if closes <= agenda.now || self.shared.config.expect == Expect::Nothing {
                return self.close(agenda, key);
            }
            agenda.wheel.arm(&mut entry.timer, key, Some(closes));
        } else {
            agenda.wheel.arm(&mut entry.timer, key, self.desk.deadline(flight));
        }
        for backoff in [&entry.receiving, &entry.sending] {
            agenda.wheel.arm(&mut entry.timer, key, backoff.pauses_until(agenda.now));
        }
        let may_send = !is_blocked && self.desk.sendable(flight) > 0;
        if (wants_turn || may_send) && !entry.is_queued {
            entry.is_queued = true;
            agenda.ready.push_back(key);
        }
    }

    fn close(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(mut entry) = self.entries.remove(key) else { return };
        log::debug!("Closing socket {}", entry.flight.socket());
        agenda.deregister(entry.socket.source());
        agenda.wheel.cancel(&mut entry.timer);
        let now = self.desk.now();
        self.desk.recorder.closed(&entry.flight, now);
        self.shared.note_end();
    }
}

/// Why no socket could be opened towards `address`.
fn open_failure(error: &io::Error, address: SocketAddr) -> Failure {
    match Errno::from_io_error(error) {
        // connect(2) and bind(2) say that no port is left.
        Some(Errno::AGAIN | Errno::ADDRINUSE) => Failure::OutOfPorts,
        Some(Errno::ACCESS) if needs_broadcast(address) => Failure::NeedsBroadcast,
        _ => Failure::of_connect(error),
    }
}

impl Handler for Runner<'_> {
    type Message = Message;

    fn handle_event(&mut self, agenda: &mut Agenda, key: Key, _readiness: Readiness) {
        self.turn(agenda, key);
    }

    fn handle_due(&mut self, agenda: &mut Agenda, due: Due) {
        self.turn(agenda, due.key());
    }

    fn handle_alarm(&mut self, agenda: &mut Agenda, key: Key) {
        match key {
            PACER => self.pace(agenda),
            WARM => self.end_warm_up(),
            END => self.end_time(agenda),
            _ => {}
        }
    }

    fn handle_ready(&mut self, agenda: &mut Agenda, key: Key) {
        match key {
            OPENER => return self.open_some(agenda),
            PACER => return self.pace(agenda),
            _ => {}
        }
        if let Some(entry) = self.entries.get_mut(key) {
            entry.is_queued = false;
            self.turn(agenda, key);
        }
    }

    fn handle_message(&mut self, agenda: &mut Agenda, message: Message) {
        match message {
            Message::AllSettled(instant) => self.begin_load(agenda, instant),
            // That is seen at the end of the round.
            Message::AllOver => {}
            Message::Stop => {
                self.all_open = true;
                for key in self.entries.keys() {
                    self.close(agenda, key);
                }
            }
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
        let took = nanos(now.saturating_duration_since(agenda.now));
        let now = self.shared.clock.nanos(now);
        self.desk.recorder.turned(took, now, self.entries.len() as u64);
    }

    /// Whoever has no socket stays while others have: its part of the schedule is still due.
    fn is_done(&self) -> bool {
        self.all_open && self.entries.is_empty() && self.shared.is_over()
    }
}
