//! Counts of messages per second by the instant they were due, for a search that judges a load while it lasts.
//!
//! Counted by their arrival, late replies would fall into later seconds, and replies that never come into none. By the
//! instant a message was due, each message belongs to one second. That second is complete once its last message can no
//! longer be answered within the limit.

use crate::client::progress::DueSecond;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Maximum send delay of a message that counts as on schedule, and time by which counts are published later because of
/// such delays. A busy machine delays its programs for some ten milliseconds.
const MAX_SEND_DELAY: Duration = Duration::from_millis(100);

/// Counts of the seconds that are not published yet.
#[derive(Debug, Default)]
pub(in crate::client) struct DueSeconds {
    /// In nanoseconds.
    limits: Vec<u64>,
    /// Start of the first second; the end of time until that is known.
    from: u64,
    /// Number of seconds that were published.
    published: u64,
    seconds: VecDeque<Counts>,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    due: u64,
    late: u64,
    /// Messages answered within each limit, by the response time and by its floor.
    within: Vec<(u64, u64)>,
}

/// Messages that are due and wait in the schedule.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::client) struct Undispatched {
    pub(in crate::client) count: u64,
    /// The server left no connection for them. Otherwise the client is late.
    pub(in crate::client) is_blocked: bool,
}

impl DueSeconds {
    /// Counts for these limits; `None` without any.
    pub(super) fn new(limits: &[Duration]) -> Option<Box<Self>> {
        let limits: Vec<_> = limits.iter().copied().map(crate::units::nanos).collect();
        (!limits.is_empty()).then(|| Box::new(Self { limits, from: u64::MAX, ..Self::default() }))
    }

    /// The first second begins at `from`.
    pub(super) fn begin(&mut self, from: u64) {
        (self.from, self.published) = (from, 0);
        self.seconds.clear();
    }

    /// The second of a message that was due at `due`; none if it was published, or is before the first one. No message
    /// is counted before it is due, so the number of seconds is limited by the time until they are complete.
    #[inline]
    fn second(&mut self, due: u64) -> Option<&mut Counts> {
        let index = due.checked_sub(self.from)? / NANOS_PER_SECOND;
        let index = usize::try_from(index.checked_sub(self.published)?).ok()?;
        if index >= self.seconds.len() {
            let empty = Counts { within: vec![(0, 0); self.limits.len()], ..Counts::default() };
            self.seconds.resize(index + 1, empty);
        }
        self.seconds.get_mut(index)
    }

    /// Counts messages that were due at `due`.
    #[inline]
    pub(super) fn add_due(&mut self, due: u64, count: u64) {
        if let Some(second) = self.second(due) {
            second.due += count;
        }
    }

    /// A message that was due at `due` will be assigned again.
    pub(super) fn take_back(&mut self, due: u64) {
        if let Some(second) = self.second(due) {
            second.due = second.due.saturating_sub(1);
        }
    }

    /// Counts messages that will never be assigned.
    pub(super) fn add_undispatched(&mut self, due: u64, Undispatched { count, is_blocked }: Undispatched) {
        if let Some(second) = self.second(due) {
            second.due += count;
            second.late += if is_blocked { 0 } else { count };
        }
    }

    /// Counts messages that the client sent with a delay of its own.
    #[inline]
    pub(super) fn sent(&mut self, due: u64, delay: u64, count: u64) {
        if delay > crate::units::nanos(MAX_SEND_DELAY)
            && let Some(second) = self.second(due)
        {
            second.late += count;
        }
    }

    /// Counts a message that was answered, by its response time and the floor of it.
    #[inline]
    pub(super) fn answered(&mut self, due: u64, response_time: u64, floor: u64) {
        let index = due.checked_sub(self.from).map(|time| time / NANOS_PER_SECOND);
        let index = index.and_then(|index| index.checked_sub(self.published));
        // Its second exists since it was due.
        let second = index.and_then(|index| self.seconds.get_mut(usize::try_from(index).ok()?));
        let Some(second) = second else { return };
        for (limit, within) in self.limits.iter().zip(&mut second.within) {
            within.0 += u64::from(response_time < *limit);
            within.1 += u64::from(floor < *limit);
        }
    }

    /// The oldest second that is not published, if it is complete at `now`.
    #[inline]
    pub(super) fn complete_at(&self, now: u64) -> Option<Range<u64>> {
        let begin = self.from.saturating_add(self.published.saturating_mul(NANOS_PER_SECOND));
        let end = begin.saturating_add(NANOS_PER_SECOND);
        let longest = self.limits.iter().copied().max().unwrap_or_default();
        let lag = longest.saturating_add(crate::units::nanos(MAX_SEND_DELAY));
        (now >= end.saturating_add(lag)).then_some(begin..end)
    }

    /// Whether a second was counted and not published.
    pub(super) fn has_more(&self) -> bool {
        !self.seconds.is_empty()
    }

    /// Removes the oldest second, of which `undispatched` messages still wait in the schedule.
    pub(super) fn take(&mut self, undispatched: Undispatched) -> DueSecond {
        let mut counts = self.seconds.pop_front().unwrap_or_default();
        counts.within.resize(self.limits.len(), (0, 0));
        counts.due += undispatched.count;
        counts.late += if undispatched.is_blocked { 0 } else { undispatched.count };
        let Counts { due, late, within } = counts;
        let index = self.published;
        self.published += 1;
        DueSecond {
            index,
            due,
            missed: late,
            over: within.iter().map(|(response_time, _)| due.saturating_sub(*response_time)).collect(),
            // Of the messages that were sent late the reply may come after the second was published.
            over_floor: within.iter().map(|(_, floor)| due.saturating_sub(floor + late)).collect(),
            median: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DueSeconds, NANOS_PER_SECOND, Undispatched};
    use std::time::Duration;

    const MS: u64 = 1_000_000;

    fn counting(limits: &[u64]) -> DueSeconds {
        let limits: Vec<_> = limits.iter().copied().map(Duration::from_nanos).collect();
        let mut seconds = *DueSeconds::new(&limits).expect("there are limits");
        seconds.begin(NANOS_PER_SECOND);
        seconds
    }

    #[test]
    fn messages_count_in_the_second_in_which_they_were_due() {
        let mut seconds = counting(&[10 * MS, 500 * MS]);
        // Before the first second.
        seconds.add_due(NANOS_PER_SECOND - 1, 1);
        for due in [NANOS_PER_SECOND, NANOS_PER_SECOND + 5 * MS, 2 * NANOS_PER_SECOND - 1, 2 * NANOS_PER_SECOND] {
            seconds.add_due(due, 1);
        }
        seconds.answered(NANOS_PER_SECOND, 10 * MS, 9 * MS);
        seconds.answered(NANOS_PER_SECOND + 5 * MS, 10 * MS - 1, 0);
        seconds.answered(2 * NANOS_PER_SECOND - 1, 600 * MS, 499 * MS);
        // The longest limit and the longest delay on schedule.
        let complete = 2 * NANOS_PER_SECOND + 600 * MS;
        assert_eq!(seconds.complete_at(complete - 1), None);
        assert_eq!(seconds.complete_at(complete), Some(NANOS_PER_SECOND..2 * NANOS_PER_SECOND));
        let second = seconds.take(Undispatched::default());
        assert_eq!((second.index, second.due, second.missed), (0, 3, 0));
        assert_eq!((second.over, second.over_floor), (vec![2, 1], vec![1, 0]));
        // Too late.
        seconds.answered(NANOS_PER_SECOND, 1, 1);
        let second = seconds.take(Undispatched::default());
        assert_eq!((second.index, second.due, second.over), (1, 1, vec![1, 1]));
        assert!(!seconds.has_more());
        assert_eq!(seconds.take(Undispatched::default()).due, 0, "a second without messages");
    }

    #[test]
    fn late_messages_are_missed_and_not_the_fault_of_the_server() {
        let mut seconds = counting(&[10 * MS]);
        seconds.add_due(NANOS_PER_SECOND, 10);
        seconds.sent(NANOS_PER_SECOND, 100 * MS, 1);
        seconds.sent(NANOS_PER_SECOND, 100 * MS + 1, 2);
        (0..7).for_each(|_| seconds.answered(NANOS_PER_SECOND, MS, MS));
        let second = seconds.take(Undispatched { count: 5, is_blocked: false });
        assert_eq!((second.due, second.missed, &second.over[..], &second.over_floor[..]), (15, 7, &[8][..], &[1][..]));
        seconds.add_due(2 * NANOS_PER_SECOND, 10);
        seconds.take_back(2 * NANOS_PER_SECOND);
        seconds.add_undispatched(2 * NANOS_PER_SECOND, Undispatched { count: 3, is_blocked: true });
        let second = seconds.take(Undispatched { count: 5, is_blocked: true });
        assert_eq!(
            (second.due, second.missed, &second.over[..], &second.over_floor[..]),
            (17, 0, &[17][..], &[17][..])
        );
    }
}
