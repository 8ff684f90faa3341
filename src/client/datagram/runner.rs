//! One worker of the client: a loop that keeps its share of the sockets sending and listening.

use super::flight::{Flight, Verdict};
use super::{Expect, Recorder, Shared, Stop};
use crate::client::Failure;
use crate::event_loop::{Agenda, Due, Handler, Key, Readiness, Slab, Timer};
use crate::repr::BytesRepr;
use crate::socket::{DatagramSocket, Inbox, Outbox, Peer, open_towards};
use std::io::{self, ErrorKind};
use std::iter::StepBy;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The entry of the ready queue that opens sockets.
pub(super) const OPENER: Key = Key::fixed(0);

/// How many sockets are opened before those that are open get their turn.
const OPENED_PER_TURN: usize = 64;

/// How many messages one call sends, and how many such calls one turn makes.
const MESSAGES_PER_CALL: u64 = 64;
const CALLS_PER_TURN: usize = 4;

/// How long a socket listens on when every message has met its fate: what comes twice comes soon.
const LINGER: Duration = Duration::from_millis(100);

/// One socket.
#[derive(Debug)]
struct Entry {
    socket: DatagramSocket,
    flight: Flight,
    timer: Timer,
    /// When it closes, once it is done.
    closes: Option<Instant>,
    is_queued: bool,
}

pub(super) struct Runner<'a> {
    shared: &'a Shared,
    recorder: Recorder,
    numbers: StepBy<RangeInclusive<usize>>,
    /// Or no more are to be opened.
    all_open: bool,
    entries: Slab<Entry>,
    inbox: Inbox,
    outbox: Outbox,
}

impl<'a> Runner<'a> {
    /// The worker that opens every `step`th socket from `first` on.
    pub(super) fn new(shared: &'a Shared, recorder: Recorder, first: usize, step: usize) -> Self {
        let numbers = (first..=shared.config.sockets).step_by(step);
        let (inbox, outbox) = (Inbox::new(), Outbox::default());
        Self { shared, recorder, numbers, all_open: false, entries: Slab::default(), inbox, outbox }
    }

    /// What was written down, when the loop has ended.
    pub(super) fn into_recorder(self) -> Recorder {
        self.recorder
    }

    fn open_some(&mut self, agenda: &mut Agenda) {
        for _ in 0..OPENED_PER_TURN {
            let Some(number) = self.numbers.next().filter(|_| !self.all_open) else {
                self.all_open = true;
                return;
            };
            let key = self.entries.next_key();
            let opened = self.open().and_then(|mut socket| agenda.register(socket.source(), key).map(|()| socket));
            match opened {
                Ok(socket) => {
                    log::debug!("Opened socket {number} to {}", self.shared.config.target);
                    self.recorder.progress.opened.add(1);
                    let config = &self.shared.config;
                    let flight = Flight::new(number as u64, config.total(), config.pipeline);
                    let timer = Timer::default();
                    self.entries.insert(Entry { socket, flight, timer, closes: None, is_queued: false });
                    self.turn(agenda, key);
                }
                Err(error) => {
                    let failure = Failure::of_connect(&error);
                    log::debug!("Socket {number} failed: {failure}");
                    self.recorder.failed(failure);
                }
            }
        }
        agenda.ready.push_back(OPENER);
    }

    /// A socket towards the first of the target's addresses for which that works.
    fn open(&self) -> io::Result<DatagramSocket> {
        let config = &self.shared.config;
        let mut result = Err(ErrorKind::NotFound.into());
        for &address in &self.shared.addresses {
            let is_many = config.broadcast || address.ip().is_multicast();
            let peer = if is_many { Peer::Many(address) } else { Peer::One(address) };
            result = open_towards(peer, &config.multicast, &config.socket);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn turn(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let desk = Desk {
            shared: self.shared,
            recorder: &mut self.recorder,
            inbox: &mut self.inbox,
            outbox: &mut self.outbox,
        };
        let is_blocked = desk.serve(entry);
        let timeout = self.shared.config.reply_timeout;
        if entry.flight.is_done() {
            // The time is the one of this round, which is a little in the past.
            let closes = *entry.closes.get_or_insert(agenda.now + LINGER);
            if closes <= agenda.now || self.shared.config.expect == Expect::Nothing {
                return self.close(agenda, key);
            }
            agenda.wheel.arm(&mut entry.timer, key, Some(closes));
        } else {
            agenda.wheel.arm(&mut entry.timer, key, entry.flight.deadline(timeout));
            let (_, sendable) = entry.flight.sendable();
            if sendable > 0 && !is_blocked && !entry.is_queued {
                entry.is_queued = true;
                agenda.ready.push_back(key);
            }
        }
    }

    fn close(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(mut entry) = self.entries.remove(key) else { return };
        log::debug!("Closing socket {}", entry.flight.socket());
        agenda.deregister(entry.socket.source());
        self.recorder.progress.ended.add(1);
    }
}

/// What a turn needs besides its socket.
struct Desk<'a> {
    shared: &'a Shared,
    recorder: &'a mut Recorder,
    inbox: &'a mut Inbox,
    outbox: &'a mut Outbox,
}

impl Desk<'_> {
    /// Takes what came, gives up what is lost, and sends what may be sent. Returns whether the socket has no room: then an
    /// event will tell.
    fn serve(mut self, entry: &mut Entry) -> bool {
        self.receive(entry);
        let lost = entry.flight.expire(Instant::now(), self.shared.config.reply_timeout);
        if lost > 0 {
            self.recorder.lost += lost;
            self.recorder.note(Instant::now());
        }
        for _ in 0..CALLS_PER_TURN {
            match entry.flight.sendable() {
                (_, 0) => return false,
                (first, count) => {
                    if !self.send(entry, first, count.min(MESSAGES_PER_CALL)) {
                        return true;
                    }
                }
            }
        }
        false
    }

    fn receive(&mut self, entry: &mut Entry) {
        // What the system tells of each message can be as many errors.
        for _ in 0..CALLS_PER_TURN * 64 {
            match self.inbox.receive(&entry.socket) {
                // Even a short batch may have been ended by an error, which the next call tells.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    log::debug!("Socket {}: {}", entry.flight.socket(), crate::error::in_words(&error));
                    self.recorder.refused += entry.flight.refuse();
                    self.recorder.note(Instant::now());
                    continue;
                }
            }
            let now = Instant::now();
            let Entry { flight, .. } = entry;
            for arrival in self.inbox.arrivals() {
                let (bytes, socket) = (arrival.bytes, flight.socket());
                log::trace!("Received {} on socket {socket} from {}", BytesRepr(bytes), arrival.peer);
                match flight.received(&self.shared.payload, bytes, now) {
                    Verdict::Answer { latency, is_reordered } => {
                        self.recorder.answered(bytes.len(), latency, is_reordered);
                        self.recorder.note(now);
                    }
                    Verdict::Late => self.recorder.late += 1,
                    Verdict::Duplicate => self.recorder.duplicated += 1,
                    Verdict::Corrupt => self.recorder.corrupt(socket, bytes),
                }
                if self.shared.hears_many() {
                    self.recorder.answered_by(arrival.peer);
                }
            }
        }
    }

    /// Sends `count` messages from number `first` on, as far as the socket takes them; returns whether it took all.
    fn send(&mut self, entry: &mut Entry, first: u64, count: u64) -> bool {
        let (shared, socket) = (self.shared, entry.flight.socket());
        let to = shared.hears_many().then(|| shared.addresses[0]);
        self.outbox.clear();
        for number in first..first + count {
            self.outbox.add(to, None, |bytes| {
                shared.payload.write(socket, number, bytes);
                true
            });
        }
        let now = Instant::now();
        let Entry { socket: descriptor, flight, .. } = entry;
        let (outbox, recorder) = (&*self.outbox, &mut *self.recorder);
        recorder.note(now);
        let done = outbox.send(descriptor, |letter, result| match result {
            Ok(()) => {
                log::trace!("Sending {} on socket {socket}", BytesRepr(outbox.bytes(letter)));
                recorder.sent_bytes += letter.len() as u64;
                recorder.progress.messages_sent.add(1);
                flight.sent(now, shared.config.expect != Expect::Nothing);
            }
            Err(error) => {
                // What the system heard of those before.
                recorder.refused += flight.refuse();
                recorder.not_sent(Failure::of_connect(&error));
                flight.skipped();
            }
        });
        done == outbox.letters().len()
    }
}

impl Shared {
    /// Whether the messages go to many, so that anybody may answer.
    fn hears_many(&self) -> bool {
        self.config.broadcast || self.addresses[0].ip().is_multicast()
    }
}

impl Handler for Runner<'_> {
    type Message = Stop;

    fn handle_event(&mut self, agenda: &mut Agenda, key: Key, _readiness: Readiness) {
        self.turn(agenda, key);
    }

    fn handle_due(&mut self, agenda: &mut Agenda, due: Due) {
        let key = due.key();
        let Some(entry) = self.entries.get_mut(key) else { return };
        if agenda.wheel.accept(&mut entry.timer, due) {
            self.turn(agenda, key);
        }
    }

    fn handle_ready(&mut self, agenda: &mut Agenda, key: Key) {
        if key == OPENER {
            return self.open_some(agenda);
        }
        if let Some(entry) = self.entries.get_mut(key) {
            entry.is_queued = false;
            self.turn(agenda, key);
        }
    }

    fn handle_message(&mut self, agenda: &mut Agenda, _stop: Stop) {
        self.all_open = true;
        for key in self.entries.keys() {
            self.close(agenda, key);
        }
    }

    fn handle_signal(&mut self, _agenda: &mut Agenda, _signal: i32) {
        self.shared.handle.stop();
    }

    fn is_done(&self) -> bool {
        self.all_open && self.entries.is_empty()
    }
}
