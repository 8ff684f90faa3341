//! The desk where pages are asked for: its own doors, and a few places for those who ask.
//!
//! Visitors are no connections of the service: they take none of its places, are counted nowhere, and have a patience
//! of their own. Each place has a fixed key, which the next visitor inherits. An event that is left of an earlier one makes
//! a place be looked at once in vain, and nothing worse.

use super::FIRST_KEY;
use super::site::Pages;
use crate::buffer::{LENT_BYTES, Lender, MemoryAccount};
use crate::connection::Limits;
use crate::event_loop::{Agenda, Due, Key, Readiness};
use crate::pump::{Conversation, Observer, Pump};
use crate::server::Shared;
use crate::server::accept::{Door, Knock};
use crate::server::counters::Counters;
use crate::service::HttpPage;
use crate::socket::{Listener, Stream};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many visitors are there at a time; one more takes the place of the one that has waited longest. A few monitoring systems and a load
/// balancer ask every few seconds, and an answer takes a fraction of a millisecond.
pub(in crate::server) const VISITORS: usize = 16;

/// Keys from here on are places of visitors.
const FIRST_VISITOR: u32 = FIRST_KEY + 1;
/// Keys from here on are doors; there is room for more places than there are.
const FIRST_DOOR: u32 = FIRST_KEY + (1 << 8);

/// How long a visitor may take for a whole request, from when it was accepted or from the answer before on. A request is a
/// packet as a rule, and a client that asks seldom connects again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a visitor may take to receive a whole answer: 60 KB at 6 KB/s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

const LINGER: Duration = Duration::from_secs(1);

type Visitor = Conversation<HttpPage<Pages>>;

pub(super) struct Desk {
    shared: Arc<Shared>,
    doors: Vec<Door>,
    visitors: [Option<Visitor>; VISITORS],
    lender: Lender,
    /// Apart from that of the service, so that the pages are served when that is full: there are only a few places, and the
    /// buffers of each are bounded.
    memory: MemoryAccount,
    limits: Limits,
}

impl Desk {
    /// A desk behind `listeners`; none without any.
    pub(super) fn new(shared: &Arc<Shared>, listeners: Vec<Listener>) -> Option<Self> {
        let doors: Vec<_> =
            (FIRST_DOOR..).zip(listeners).map(|(index, listener)| Door::new(listener, Key::fixed(index))).collect();
        let limits = Limits { turn_bytes: LENT_BYTES, linger: LINGER, ..Limits::patient() };
        let visitors = std::array::from_fn(|_| None);
        let (lender, memory) = (Lender::new(), MemoryAccount::unlimited());
        (!doors.is_empty()).then(|| Self { shared: Arc::clone(shared), doors, visitors, lender, memory, limits })
    }

    pub(super) fn open(&mut self, agenda: &Agenda) -> io::Result<()> {
        self.doors.iter_mut().try_for_each(|door| door.open(agenda))
    }

    pub(super) fn doors(&self) -> &[Door] {
        &self.doors
    }

    pub(super) fn close(&mut self, agenda: &mut Agenda) {
        self.doors.iter_mut().for_each(|door| door.close(agenda));
    }

    pub(super) fn handle_event(&mut self, agenda: &mut Agenda, key: Key, readiness: Readiness) {
        let Some(place) = place_of(key) else { return self.let_in(agenda, key) };
        if self.visitors[place].as_mut().is_some_and(|visitor| visitor.handle_event(readiness)) {
            self.turn(agenda, place);
        }
    }

    pub(super) fn handle_ready(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(place) = place_of(key) else { return self.let_in(agenda, key) };
        if self.visitors[place].as_mut().is_some_and(Conversation::handle_ready) {
            self.turn(agenda, place);
        }
    }

    pub(super) fn handle_due(&mut self, agenda: &mut Agenda, due: Due) {
        let Some(place) = place_of(due.key()) else {
            if door_of(&mut self.doors, due.key()).is_some_and(|door| door.is_paused()) {
                self.let_in(agenda, due.key());
            }
            return;
        };
        if self.visitors[place].as_mut().is_some_and(|visitor| visitor.handle_due(&self.limits, agenda.now)) {
            self.turn(agenda, place);
        }
    }

    /// Closes the connections of visitors that have taken too long. Called once a second.
    pub(super) fn close_overdue(&mut self, agenda: &mut Agenda) {
        for place in 0..VISITORS {
            let Some(visitor) = &self.visitors[place] else { continue };
            let (is_answering, since) = waiting(visitor);
            let timeout = if is_answering { ANSWER_TIMEOUT } else { REQUEST_TIMEOUT };
            if agenda.now >= since + timeout {
                self.dismiss(agenda, place);
            }
        }
    }

    fn let_in(&mut self, agenda: &mut Agenda, key: Key) {
        let Some(door) = door_of(&mut self.doors, key) else { return };
        door.begin_turn(VISITORS);
        loop {
            let Some(door) = door_of(&mut self.doors, key) else { return };
            match door.knock(agenda, own_counters(&self.shared)) {
                Knock::Came(stream, _) => {
                    let place = self.free_place(agenda);
                    self.receive(agenda, place, stream);
                }
                Knock::Nobody | Knock::TurnOver | Knock::Paused | Knock::Failed => return,
            }
        }
    }

    /// A place for one more visitor. If there is none, the one that has waited longest is closed; those that have sent a
    /// whole request come last.
    fn free_place(&mut self, agenda: &mut Agenda) -> usize {
        if let Some(free) = self.visitors.iter().position(Option::is_none) {
            return free;
        }
        let place = (0..VISITORS).min_by_key(|place| self.visitors[*place].as_ref().map(waiting)).unwrap_or_default();
        self.dismiss(agenda, place);
        place
    }

    fn receive(&mut self, agenda: &mut Agenda, place: usize, mut socket: Stream) {
        if let Err(error) = agenda.register(socket.source(), key_of(place)) {
            own_counters(&self.shared).accept_failed(&error);
            return;
        }
        let service = HttpPage::new(Pages::new(&self.shared));
        let mut visitor = Conversation::new(service, socket, agenda.now);
        // Its request may be here already: it is answered before another visitor needs the place.
        visitor.handle_event(Readiness { readable: true, writable: true, hang_up: false });
        self.visitors[place] = Some(visitor);
        self.turn(agenda, place);
    }

    fn turn(&mut self, agenda: &mut Agenda, place: usize) {
        let Some(visitor) = &mut self.visitors[place] else { return };
        let mut clock = Clock(agenda.now);
        let (lender, memory) = (&mut self.lender, &self.memory);
        let mut pump = Pump { lender, memory, limits: &self.limits, observer: &mut clock };
        if visitor.turn(&mut pump, agenda, key_of(place)).is_some() {
            self.dismiss(agenda, place);
        }
    }

    fn dismiss(&mut self, agenda: &mut Agenda, place: usize) {
        let Some(mut visitor) = self.visitors[place].take() else { return };
        visitor.deregister(agenda, key_of(place), &self.memory);
        drop(visitor);
        for (index, door) in (FIRST_DOOR..).zip(&mut self.doors) {
            if door.is_paused() {
                agenda.ready.push_back(Key::fixed(index));
                door.end_pause();
            }
        }
    }
}

/// Whether a visitor owes room for an answer, and not a whole request; and since when.
fn waiting(visitor: &Visitor) -> (bool, Instant) {
    let page = visitor.connection.service();
    (page.is_answering(), page.waiting_since().unwrap_or_else(|| visitor.connection.opened()))
}

/// A visitor that cannot be let in is an accept that failed, like any other. The desk is on the first worker.
fn own_counters(shared: &Shared) -> &Counters {
    &shared.counters[0]
}

fn place_of(key: Key) -> Option<usize> {
    let place = key.as_fixed()?.checked_sub(FIRST_VISITOR)? as usize;
    (place < VISITORS).then_some(place)
}

fn key_of(place: usize) -> Key {
    // There are only a few places.
    #[allow(clippy::cast_possible_truncation)]
    Key::fixed(FIRST_VISITOR + place as u32)
}

fn door_of(doors: &mut [Door], key: Key) -> Option<&mut Door> {
    doors.get_mut(key.as_fixed()?.checked_sub(FIRST_DOOR)? as usize)
}

/// Watches nothing: what is asked here is no part of the story.
struct Clock(Instant);

impl Observer for Clock {
    fn now(&mut self) -> Instant {
        self.0
    }

    fn received(&mut self, _bytes: &[u8]) {}

    fn sent(&mut self, _bytes: &[u8]) {}
}
