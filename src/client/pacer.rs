//! Gives the messages of an open loop to the connections of a worker, one after the other, as they become due.

use super::clock::Clock;
use super::schedule::Schedule;
use crate::event_loop::{Agenda, Key};

/// How many messages are given out before whatever else has happened gets its turn.
pub(super) const MESSAGES_PER_TURN: usize = 256;

/// For how long after its end a load goes on that is late, in nanoseconds. Longer than a machine pauses that is only busy;
/// one that is asked for more than it can send would else never end.
const LAST_CALL_NANOS: u64 = 1_000_000_000;

/// What is due, and whose turn it is.
#[derive(Debug)]
pub(super) struct Pacer {
    schedule: Schedule,
    /// When the load begins and when it ends, in nanoseconds of the run.
    begin: u64,
    end: u64,
    /// How many messages are left to be given out.
    left: u64,
    /// Connections that could take messages when they were last looked at.
    ring: Vec<Key>,
    next: usize,
    /// No connection could take the next message when it was due.
    is_stuck: bool,
    /// Until when one was waited for the last time.
    resumed: u64,
    /// Something is due that was not given out yet: the loop is late.
    is_behind: bool,
    /// Nothing becomes due any more, and what is owed is given out until this time at the latest.
    last_call: Option<u64>,
}

impl Pacer {
    /// Gives out `most` messages at most, between `begin` and `end`.
    pub(super) fn new(schedule: Schedule, (begin, end): (u64, u64), most: u64, ring: Vec<Key>) -> Self {
        Self {
            schedule,
            begin,
            end,
            left: most,
            ring,
            next: 0,
            is_stuck: false,
            resumed: 0,
            is_behind: false,
            last_call: None,
        }
    }

    /// One more connection can take messages from `now` on. Whether one was waited for.
    pub(super) fn add(&mut self, key: Key, now: u64) -> bool {
        self.ring.push(key);
        if self.is_stuck {
            self.resumed = now;
        }
        std::mem::take(&mut self.is_stuck)
    }

    /// Until when no connection was there for what was due at `due`, if it waited for one.
    pub(super) fn waited_until(&self, due: u64) -> Option<u64> {
        Some(self.resumed).filter(|resumed| due < *resumed)
    }

    /// When the next message is due, in nanoseconds of the run.
    fn next_due(&self) -> Option<u64> {
        let due = self.begin + super::clock::nanos(self.schedule.due());
        (self.left > 0 && due < self.end).then_some(due)
    }

    /// After so much was given out at `now` as a turn allows: sees to it that `key` comes up for the rest, when that is due or,
    /// what is due already, once answers that came in meanwhile were read. Returns whether the load has to end.
    pub(super) fn go_on(&mut self, agenda: &mut Agenda, key: Key, clock: Clock, now: u64) -> bool {
        // Unless a connection has to come first.
        let next = self.next_due().filter(|_| !self.is_stuck);
        self.is_behind = next.is_some_and(|due| due <= now);
        if self.last_call.is_some_and(|last_call| !self.is_behind || now >= last_call) {
            return true;
        }
        if self.is_behind {
            agenda.ready.push_back(key);
        } else if let Some(due) = next {
            agenda.alarms.arm(key, clock.instant(due));
        }
        false
    }

    /// The time of the load is over at `now`. Returns whether it has to end: a little later when something is owed.
    pub(super) fn end(&mut self, now: u64) -> bool {
        self.last_call = Some(now + LAST_CALL_NANOS);
        !self.is_behind
    }

    /// The oldest message that is due by `now`, and not given out yet.
    pub(super) fn due_by(&self, now: u64) -> Option<u64> {
        self.next_due().filter(|due| *due <= now)
    }

    /// That message is given out, or given up.
    pub(super) fn advance(&mut self) {
        self.schedule.advance();
        self.left -= 1;
    }

    /// Whose turn it is, of those that `takes_more`. Who does not now never will. With none, everything that is due waits
    /// where it stands, in the schedule, for one to be [added](Self::add): that takes no memory, however long it lasts.
    pub(super) fn next_connection(&mut self, mut takes_more: impl FnMut(Key) -> bool) -> Option<Key> {
        while !self.ring.is_empty() {
            self.next %= self.ring.len();
            let key = self.ring[self.next];
            if takes_more(key) {
                self.next += 1;
                return Some(key);
            }
            self.ring.swap_remove(self.next);
        }
        self.is_stuck = true;
        None
    }

    /// Whether a connection is waited for.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }
}
