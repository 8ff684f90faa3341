//! Gives the messages of an open loop to the connections of a worker, one after the other, as they become due.

use super::schedule::Schedule;
use crate::event_loop::Key;

/// How many messages are given out before whatever else has happened gets its turn.
pub(super) const MESSAGES_PER_TURN: usize = 256;

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
}

impl Pacer {
    /// Gives out `most` messages at most, between `begin` and `end`.
    pub(super) fn new(schedule: Schedule, (begin, end): (u64, u64), most: u64, ring: Vec<Key>) -> Self {
        Self { schedule, begin, end, left: most, ring, next: 0, is_stuck: false }
    }

    /// One more connection can take messages. Whether one was waited for.
    pub(super) fn add(&mut self, key: Key) -> bool {
        self.ring.push(key);
        std::mem::take(&mut self.is_stuck)
    }

    /// When the next message is due, in nanoseconds of the run.
    fn next_due(&self) -> Option<u64> {
        let due = self.begin + super::clock::nanos(self.schedule.due());
        (self.left > 0 && due < self.end).then_some(due)
    }

    /// When there is something to be given out, unless a connection has to come first.
    pub(super) fn alarm(&self) -> Option<u64> {
        self.next_due().filter(|_| !self.is_stuck)
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
