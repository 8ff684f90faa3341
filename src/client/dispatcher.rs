//! Gives the messages of an open loop to the connections of a worker, one after the other, as they become due.

use super::arrivals::ArrivalSchedule;
use super::clock::{Clock, nanos};
use crate::event_loop::{Key, LoopContext};
use std::time::Duration;

/// How many messages are given out before whatever else has happened gets its turn.
pub(super) const MESSAGES_PER_TURN: usize = 256;

/// For how long after its end a load goes on that is late, in nanoseconds. Longer than a machine pauses that is only busy;
/// one that is asked for more than it can send would else never end.
const GRACE_NANOS: u64 = 1_000_000_000;

/// What is due, and whose turn it is.
#[derive(Debug)]
pub(super) struct Dispatcher {
    schedule: ArrivalSchedule,
    /// When the load begins and when it ends, in nanoseconds of the run.
    begin: u64,
    end: u64,
    /// How many messages there are to be given out, and how many of them are left.
    most: u64,
    left: u64,
    /// Connections that could take messages when they were last looked at.
    ring: Vec<Key>,
    next: usize,
    /// No connection could take the next message when it was due.
    is_stuck: bool,
    /// Until when one was waited for the last time.
    resumed: u64,
    /// When nothing was left, as planned or later.
    exhausted: Option<u64>,
    /// Something is due that was not given out yet: the loop is late.
    is_behind: bool,
    /// Nothing becomes due any more, and what is owed is given out until this time at the latest.
    grace_deadline: Option<u64>,
}

impl Dispatcher {
    /// Gives out `most` messages at most, between `begin` and `end`.
    pub(super) fn new(schedule: ArrivalSchedule, (begin, end): (u64, u64), most: u64, ring: Vec<Key>) -> Self {
        Self {
            schedule,
            begin,
            end,
            most,
            left: most,
            ring,
            next: 0,
            is_stuck: false,
            resumed: 0,
            exhausted: None,
            is_behind: false,
            grace_deadline: None,
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
        let due = self.begin.saturating_add(nanos(self.schedule.due()));
        (self.left > 0 && due < self.end).then_some(due)
    }

    /// After so much was given out at `now` as a turn allows: sees to it that `key` comes up for the rest, when that is due or,
    /// what is due already, once answers that came in meanwhile were read. Returns whether the load has to end.
    pub(super) fn go_on(&mut self, context: &mut LoopContext, key: Key, clock: Clock, now: u64) -> bool {
        // Unless a connection has to come first.
        let next = self.next_due().filter(|_| !self.is_stuck);
        self.is_behind = next.is_some_and(|due| due <= now);
        if self.grace_deadline.is_some_and(|grace_deadline| !self.is_behind || now >= grace_deadline) {
            return true;
        }
        if self.is_behind {
            context.ready.push_back(key);
        } else if let Some(due) = next {
            context.precise_timers.arm(key, clock.instant(due));
        }
        false
    }

    /// The time of the load is over at `now`. Returns when it has ended, unless something is owed: then it goes on for a little.
    pub(super) fn end(&mut self, now: u64) -> Option<u64> {
        self.grace_deadline = Some(now.saturating_add(GRACE_NANOS));
        (!self.is_behind).then_some(self.end)
    }

    /// The oldest message that is due by `now`, and not given out yet.
    pub(super) fn due_by(&self, now: u64) -> Option<u64> {
        self.next_due().filter(|due| *due <= now)
    }

    /// That message, which was due at `due`, is given out at `now`.
    pub(super) fn advance(&mut self, due: u64, now: u64) {
        // A message that waited for a connection does not show how late the loop is.
        let is_late = self.is_behind && due >= self.resumed;
        self.schedule.advance();
        self.take(1, is_late.then_some(now));
    }

    /// Takes out what is due by `now` and will not be given out any more: when, and how many messages that are. Those of
    /// about the same age come together, so that the whole backlog of any load takes some ten thousand calls.
    pub(super) fn give_up(&mut self, now: u64) -> Option<(u64, u64)> {
        let due = self.due_by(now)?;
        let last = now.min(self.end.saturating_sub(1)).saturating_sub(self.begin);
        let count = self.schedule.near(Duration::from_nanos(last)).min(self.left);
        self.schedule.advance_by(count);
        self.take(count, None);
        Some((due, count))
    }

    fn take(&mut self, count: u64, late: Option<u64>) {
        self.left -= count;
        if self.left == 0 {
            let planned = self.begin.saturating_add(nanos(self.schedule.length(self.most)));
            self.exhausted = Some(late.unwrap_or(planned.min(self.end)));
        }
    }

    /// When the last of all messages was given out, if it was: as planned, unless the loop was late.
    pub(super) fn exhausted(&self) -> Option<u64> {
        self.exhausted
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

#[cfg(test)]
mod tests {
    use super::Dispatcher;
    use crate::client::arrivals::{ArrivalSchedule, Arrivals, Share};

    const SECOND: u64 = 1_000_000_000;

    fn dispatcher(rate: f64, arrivals: Arrivals, (begin, end): (u64, u64), most: u64) -> Dispatcher {
        Dispatcher::new(ArrivalSchedule::new(rate, arrivals, 1, Share::new(0, 1, 1)), (begin, end), most, Vec::new())
    }

    /// The first message is due at once, and the second never: not even at the end of time.
    #[test]
    fn a_rate_can_be_so_low_that_nothing_is_due_any_more() {
        for rate in [1e-11, 2e-10, 6e-11, f64::MIN_POSITIVE, 5e-324] {
            for begin in [0, 1, 5 * SECOND, u64::MAX - 1, u64::MAX] {
                let mut dispatcher = dispatcher(rate, Arrivals::Uniform, (begin, u64::MAX), u64::MAX);
                if begin < u64::MAX {
                    assert_eq!(dispatcher.due_by(begin), Some(begin), "{rate}");
                    dispatcher.advance(begin, begin);
                }
                let later = [begin, begin.saturating_add(SECOND), begin.saturating_add(3_600 * SECOND)];
                assert!(later.iter().all(|now| dispatcher.due_by(*now).is_none()), "{rate} from {begin}");
                assert!(dispatcher.give_up(later[2]).is_none());
            }
        }
    }

    /// What was never given out is counted in the end, whatever it is, in a moment.
    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn any_backlog_is_counted_in_few_steps() {
        let begin = 7 * SECOND;
        for (arrivals, rate, seconds) in [
            (Arrivals::Uniform, 100e6, 3600),
            (Arrivals::Uniform, 333.3, 3600),
            (Arrivals::Uniform, 1e-3, 3600),
            (Arrivals::Poisson, 100e6, 3600),
            (Arrivals::Poisson, 1e5, 10),
        ] {
            let end = begin + seconds * SECOND;
            for now in [end, end + SECOND, u64::MAX] {
                let mut dispatcher = dispatcher(rate, arrivals, (begin, end), u64::MAX);
                let (mut all, mut steps, mut last) = (0, 0, begin);
                while let Some((due, count)) = dispatcher.give_up(now) {
                    assert!((last..end).contains(&due), "{due} after {last}");
                    (all, steps, last) = (all + count, steps + 1, due);
                }
                let expected = rate * seconds as f64;
                let allowed = if arrivals == Arrivals::Uniform { 1.0 } else { 5.0 * expected.sqrt() };
                assert!((all as f64 - expected).abs() <= allowed, "{all} of {expected}, {arrivals:?}");
                assert!(steps < 40_000, "{steps} steps for {all}, {arrivals:?}");
            }
        }
        let mut few = dispatcher(100e6, Arrivals::Uniform, (begin, u64::MAX), 1_000_000);
        let count: u64 = std::iter::from_fn(|| few.give_up(u64::MAX - 1)).map(|(_, count)| count).sum();
        assert_eq!((count, few.exhausted()), (1_000_000, Some(begin + SECOND / 100)));
    }

    #[test]
    fn a_load_is_exhausted_when_that_was_planned_unless_the_loop_was_late() {
        let begin = SECOND;
        let mut punctual = dispatcher(100.0, Arrivals::Uniform, (begin, u64::MAX), 2);
        punctual.advance(begin, begin);
        assert_eq!(punctual.exhausted(), None);
        punctual.advance(begin + SECOND / 100, begin + SECOND / 100 + 70);
        assert_eq!(punctual.exhausted(), Some(begin + SECOND / 50));
        let mut late = Dispatcher { is_behind: true, ..dispatcher(100.0, Arrivals::Uniform, (begin, u64::MAX), 1) };
        late.advance(begin, begin + SECOND);
        assert_eq!(late.exhausted(), Some(begin + SECOND));
        let mut waited = Dispatcher {
            is_behind: true,
            resumed: begin + 1,
            ..dispatcher(1.0, Arrivals::Uniform, (begin, u64::MAX), 1)
        };
        waited.advance(begin, begin + 5 * SECOND);
        assert_eq!(waited.exhausted(), Some(begin + SECOND));
    }
}
