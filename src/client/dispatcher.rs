//! Dispatcher of an open loop: assigns messages that are due to the connections of a worker, round robin.

use super::arrivals::ArrivalSchedule;
use super::clock::{Clock, nanos};
use crate::event_loop::{Key, LoopContext};
use std::time::Duration;

/// Messages dispatched per turn before other events are handled.
pub(super) const MESSAGES_PER_TURN: usize = 256;

/// How long a late load may continue after its scheduled end, in nanoseconds. Longer than the pauses of a busy machine;
/// without the limit, a load beyond the client's capacity would never end.
const GRACE_NANOS: u64 = 1_000_000_000;

/// Assigns due messages to connections.
#[derive(Debug)]
pub(super) struct Dispatcher {
    schedule: ArrivalSchedule,
    /// Begin and end of the load, in nanoseconds of the run.
    begin: u64,
    end: u64,
    /// Maximum number of messages, and how many of them remain.
    max_messages: u64,
    remaining: u64,
    /// Connections that had room for messages when they were last checked.
    ring: Vec<Key>,
    next: usize,
    /// No connection had room for the next message when it was due.
    waits_for_connection: bool,
    /// When the last wait for a connection ended.
    wait_ended: u64,
    /// When no message remained: the planned time, or later if the loop was late.
    exhausted_at: Option<u64>,
    /// A message that is due was not dispatched yet: the loop is late.
    is_behind: bool,
    /// Set at the end of the load: overdue messages are dispatched until then.
    grace_deadline: Option<u64>,
}

impl Dispatcher {
    /// Dispatches at most `max_messages` messages, due between `begin` and `end`.
    pub(super) fn new(schedule: ArrivalSchedule, (begin, end): (u64, u64), max_messages: u64, ring: Vec<Key>) -> Self {
        Self {
            schedule,
            begin,
            end,
            max_messages,
            remaining: max_messages,
            ring,
            next: 0,
            waits_for_connection: false,
            wait_ended: 0,
            exhausted_at: None,
            is_behind: false,
            grace_deadline: None,
        }
    }

    /// Adds a connection that has room from `now` on. Returns whether a message waited for one.
    pub(super) fn add(&mut self, key: Key, now: u64) -> bool {
        self.ring.push(key);
        if self.waits_for_connection {
            self.wait_ended = now;
        }
        std::mem::take(&mut self.waits_for_connection)
    }

    /// When a connection became available for a message that was due at `due`, if it had to wait for one.
    pub(super) fn connection_available_at(&self, due: u64) -> Option<u64> {
        Some(self.wait_ended).filter(|wait_ended| due < *wait_ended)
    }

    /// When the next message is due, in nanoseconds of the run.
    fn next_due(&self) -> Option<u64> {
        let due = self.begin.saturating_add(nanos(self.schedule.due()));
        (self.remaining > 0 && due < self.end).then_some(due)
    }

    /// Schedules the next turn of `key`, after a turn at `now`. If a message is overdue, that is behind the ready
    /// events, so that replies received meanwhile are read first. Otherwise it is when the next message is due. Returns
    /// whether the load has to end now.
    pub(super) fn schedule_next(&mut self, context: &mut LoopContext, key: Key, clock: Clock, now: u64) -> bool {
        // While a message waits for a connection, the connection triggers the next turn.
        let next = self.next_due().filter(|_| !self.waits_for_connection);
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

    /// The load ends at `end`, which is noticed at `now`, if that is before its scheduled end. Messages due later are not
    /// dispatched. If some were by now, it ends after them: otherwise more messages than the rate requires would be counted.
    pub(super) fn end_by(&mut self, end: u64, now: u64) {
        let dispatched_until = self.begin.saturating_add(nanos(self.schedule.due())).min(now);
        self.end = self.end.min(end.max(dispatched_until));
    }

    /// The load's time is over at `now`. Returns the end of the load, or `None` while overdue messages are still
    /// dispatched.
    pub(super) fn end(&mut self, now: u64) -> Option<u64> {
        self.grace_deadline = Some(now.saturating_add(GRACE_NANOS));
        (!self.is_behind).then_some(self.end)
    }

    /// Due time of the oldest message that is due by `now` and not dispatched.
    pub(super) fn due_by(&self, now: u64) -> Option<u64> {
        self.next_due().filter(|due| *due <= now)
    }

    /// Number of messages that are due before `end` and were not dispatched.
    pub(super) fn due_before(&self, end: u64) -> u64 {
        let mut rest = Self { schedule: self.schedule.clone(), ring: Vec::new(), ..*self };
        let counts = std::iter::from_fn(|| rest.take_unassigned(end.checked_sub(1)?));
        counts.map(|(_, count)| count).sum()
    }

    /// Marks this message as dispatched at `now`; it was due at `due`.
    pub(super) fn advance(&mut self, due: u64, now: u64) {
        // A message that waited for a connection does not show that the loop was late.
        let is_late = self.is_behind && due >= self.wait_ended;
        self.schedule.advance();
        self.count_taken((due, 1), is_late.then_some(now));
    }

    /// Removes messages due by `now` that will not be dispatched; returns their due time and count. Messages of about
    /// the same age are returned together, so that the backlog of any load takes some ten thousand calls.
    pub(super) fn take_unassigned(&mut self, now: u64) -> Option<(u64, u64)> {
        let due = self.due_by(now)?;
        let last = now.min(self.end.saturating_sub(1)).saturating_sub(self.begin);
        let count = self.schedule.count_of_same_age(Duration::from_nanos(last)).min(self.remaining);
        self.schedule.advance_by(count);
        self.count_taken((due, count), None);
        Some((due, count))
    }

    /// Counts messages that were due from `due` on. Random arrivals can last longer than planned.
    fn count_taken(&mut self, (due, count): (u64, u64), late: Option<u64>) {
        self.remaining -= count;
        if self.remaining == 0 {
            let planned = self.begin.saturating_add(nanos(self.schedule.mean_duration(self.max_messages)));
            self.exhausted_at = Some(late.unwrap_or(planned.max(due.saturating_add(1)).min(self.end)));
        }
    }

    /// When the last message was dispatched, if it was: the planned time, or later if that was after it or the loop was late.
    pub(super) fn exhausted_at(&self) -> Option<u64> {
        self.exhausted_at
    }

    /// Next connection in the ring for which `has_room` returns true. A connection without room is removed from the
    /// ring for good.
    ///
    /// If there is none, due messages stay in the schedule until a connection is [added](Self::add). They take no
    /// memory, however long that lasts.
    pub(super) fn next_connection(&mut self, mut has_room: impl FnMut(Key) -> bool) -> Option<Key> {
        while !self.ring.is_empty() {
            self.next %= self.ring.len();
            let key = self.ring[self.next];
            if has_room(key) {
                self.next += 1;
                return Some(key);
            }
            self.ring.swap_remove(self.next);
        }
        self.waits_for_connection = true;
        None
    }

    /// Whether a message waits for a connection.
    pub(super) fn waits_for_connection(&self) -> bool {
        self.waits_for_connection
    }
}

#[cfg(test)]
mod tests {
    use super::Dispatcher;
    use crate::client::arrivals::{ArrivalSchedule, Arrivals, Share};
    use crate::client::rate_curve::RateCurve;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn dispatcher(
        rate: impl Into<RateCurve>,
        arrivals: Arrivals,
        (begin, end): (u64, u64),
        max_messages: u64,
    ) -> Dispatcher {
        Dispatcher::new(
            ArrivalSchedule::new(rate, arrivals, 1, Share::new(0, 1, 1)),
            (begin, end),
            max_messages,
            Vec::new(),
        )
    }

    /// The first message is due at once, the second one never.
    #[test]
    fn at_very_low_rates_no_second_message_is_due() {
        for rate in [1e-11, 2e-10, 6e-11, f64::MIN_POSITIVE, 5e-324] {
            for begin in [0, 1, 5 * SECOND, u64::MAX - 1, u64::MAX] {
                let mut dispatcher = dispatcher(rate, Arrivals::Uniform, (begin, u64::MAX), u64::MAX);
                if begin < u64::MAX {
                    assert_eq!(dispatcher.due_by(begin), Some(begin), "{rate}");
                    dispatcher.advance(begin, begin);
                }
                let later = [begin, begin.saturating_add(SECOND), begin.saturating_add(3_600 * SECOND)];
                assert!(later.iter().all(|now| dispatcher.due_by(*now).is_none()), "{rate} from {begin}");
                assert!(dispatcher.take_unassigned(later[2]).is_none());
            }
        }
    }

    /// Messages that were never dispatched are counted quickly, however many there are.
    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn any_backlog_is_counted_in_few_calls() {
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
                while let Some((due, count)) = dispatcher.take_unassigned(now) {
                    assert!((last..end).contains(&due), "{due} after {last}");
                    (all, steps, last) = (all + count, steps + 1, due);
                }
                let expected = rate * seconds as f64;
                let allowed = if arrivals == Arrivals::Uniform { 1.0 } else { 5.0 * expected.sqrt() };
                assert!((all as f64 - expected).abs() <= allowed, "{all} of {expected}, {arrivals:?}");
                assert!(steps < 40_000, "{steps} steps for {all}, {arrivals:?}");
            }
        }
        for (from, to) in [(1e-3, 100e6), (100e6, 1e-3), (1e3, 1e4)] {
            let curve = RateCurve::ramp(from, to, Duration::ZERO, Duration::from_secs(3600));
            let mut dispatcher = dispatcher(curve, Arrivals::Uniform, (begin, begin + 3600 * SECOND), u64::MAX);
            let steps: Vec<_> = std::iter::from_fn(|| dispatcher.take_unassigned(u64::MAX)).collect();
            let all: u64 = steps.iter().map(|(_, count)| count).sum();
            assert!((all as f64 - (from + to) * 1800.0).abs() <= 1.0, "{all} from {from} to {to}");
            assert!(steps.len() < 40_000, "{} steps for {all}, from {from} to {to}", steps.len());
        }
        let waiting = dispatcher(250.0, Arrivals::Uniform, (begin, u64::MAX), u64::MAX);
        let counts = [0, 1, 3600].map(|seconds| waiting.due_before(begin + seconds * SECOND));
        assert_eq!((counts, waiting.due_before(0)), ([0, 250, 900_000], 0), "each counts once");
        let mut few = dispatcher(100e6, Arrivals::Uniform, (begin, u64::MAX), 1_000_000);
        let count: u64 = std::iter::from_fn(|| few.take_unassigned(u64::MAX - 1)).map(|(_, count)| count).sum();
        assert_eq!((count, few.exhausted_at()), (1_000_000, Some(begin + SECOND / 100)));
    }

    /// A message that is due after the planned time, and that the server leaves no room for, is part of the load.
    #[test]
    fn a_random_load_ends_after_its_last_message_is_due() {
        let begin = SECOND;
        let mut is_longer = [false; 2];
        for count in 1..100 {
            let mut dispatcher = dispatcher(1000.0, Arrivals::Poisson, (begin, u64::MAX), count);
            let mut last = 0;
            while let Some(due) = dispatcher.due_by(u64::MAX) {
                dispatcher.advance(due, due);
                last = due;
            }
            let planned = begin + count * SECOND / 1000;
            assert_eq!(dispatcher.exhausted_at(), Some(planned.max(last + 1)), "{count} messages");
            is_longer[usize::from(last >= planned)] = true;
        }
        assert_eq!(is_longer, [true; 2], "both occur");
    }

    #[test]
    fn an_early_end_comes_after_the_messages_that_were_dispatched() {
        let begin = SECOND;
        let at = |millis: u64| begin + millis * 1_000_000;
        // Messages are due every 10 ms; those at 0 and 10 ms were dispatched.
        for (end, now, ends) in [(5, 15, 15), (12, 15, 15), (5, 60, 20), (40, 60, 40)] {
            let mut dispatcher = dispatcher(100.0, Arrivals::Uniform, (begin, at(1000)), u64::MAX);
            dispatcher.advance(at(0), at(0));
            dispatcher.advance(at(10), at(10));
            dispatcher.end_by(at(end), at(now));
            assert_eq!(dispatcher.end(at(now)), Some(at(ends)), "{end} ms, noticed after {now} ms");
        }
    }

    #[test]
    fn the_load_ends_as_planned_unless_the_loop_was_late() {
        let begin = SECOND;
        let mut punctual = dispatcher(100.0, Arrivals::Uniform, (begin, u64::MAX), 2);
        punctual.advance(begin, begin);
        assert_eq!(punctual.exhausted_at(), None);
        punctual.advance(begin + SECOND / 100, begin + SECOND / 100 + 70);
        assert_eq!(punctual.exhausted_at(), Some(begin + SECOND / 50));
        let mut late = Dispatcher { is_behind: true, ..dispatcher(100.0, Arrivals::Uniform, (begin, u64::MAX), 1) };
        late.advance(begin, begin + SECOND);
        assert_eq!(late.exhausted_at(), Some(begin + SECOND));
        let mut waited = Dispatcher {
            is_behind: true,
            wait_ended: begin + 1,
            ..dispatcher(1.0, Arrivals::Uniform, (begin, u64::MAX), 1)
        };
        waited.advance(begin, begin + 5 * SECOND);
        assert_eq!(waited.exhausted_at(), Some(begin + SECOND));
    }
}
