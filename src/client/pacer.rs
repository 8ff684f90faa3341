//! Gives the messages of an open loop to the connections of a worker, one after the other, as they become due.

use super::schedule::Schedule;
use crate::event_loop::Key;
use std::collections::VecDeque;

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
    /// Became due while no connection could take it.
    homeless: VecDeque<u64>,
}

impl Pacer {
    /// Gives out `most` messages at most, between `begin` and `end`.
    pub(super) fn new(schedule: Schedule, (begin, end): (u64, u64), most: u64, ring: Vec<Key>) -> Self {
        Self { schedule, begin, end, left: most, ring, next: 0, homeless: VecDeque::new() }
    }

    /// One more connection can take messages.
    pub(super) fn add(&mut self, key: Key) {
        self.ring.push(key);
    }

    /// When the next message is due, in nanoseconds of the run.
    pub(super) fn next_due(&self) -> Option<u64> {
        let due = self.begin + super::clock::nanos(self.schedule.due());
        (self.left > 0 && due < self.end).then_some(due)
    }

    /// The oldest message that is due by `now`, if there is one.
    pub(super) fn take_due(&mut self, now: u64) -> Option<u64> {
        if let Some(due) = self.homeless.pop_front() {
            return Some(due);
        }
        let due = self.next_due().filter(|due| *due <= now)?;
        self.schedule.advance();
        self.left -= 1;
        Some(due)
    }

    /// Whose turn it is, of those that `takes_more`. Who does not now never will.
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
        None
    }

    /// Nobody could take the message that was due at `due`, nor can anybody take what else is due by `now`.
    pub(super) fn put_back(&mut self, due: u64, now: u64) {
        self.homeless.push_front(due);
        while let Some(due) = self.next_due().filter(|due| *due <= now) {
            self.schedule.advance();
            self.left -= 1;
            self.homeless.push_back(due);
        }
    }

    /// Whether messages wait for a connection to be opened.
    pub(super) fn has_homeless(&self) -> bool {
        !self.homeless.is_empty()
    }

    /// Those that nobody ever took.
    pub(super) fn into_homeless(self) -> VecDeque<u64> {
        self.homeless
    }
}
