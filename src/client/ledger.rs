//! The messages of one connection: which are due, which are under way, and since when.
//!
//! Two latencies are made of it: from the instant a message was due, which is what a user would feel, and from the one it
//! was handed to the kernel. They differ by how long the server held the message back, because it owed too many answers
//! or took no more bytes, and by what this client itself was late after that. Times are nanoseconds since the load
//! began, offsets are bytes of the connection's stream.

use super::queue::Queue;
use std::num::NonZeroU64;

/// Not yet.
const NEVER: u64 = u64::MAX;

/// Messages that were written at the same time, and are under way. Of a server that reads and never answers there can be
/// millions, and times for each would be more than the messages themselves.
#[derive(Debug, Clone, Copy)]
struct Batch {
    due: u64,
    /// When this client gave it to the connection.
    given: u64,
    /// When the kernel took the first byte: later, if it did not take all of them at once, than no message was handed over.
    sent: u64,
    begin: u64,
    count: NonZeroU64,
}

/// A message that was not begun yet.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    due: u64,
    given: u64,
}

/// When a message was due and when it was handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// When it should have been sent.
    pub(super) due: u64,
    /// When it was given to the connection.
    pub(super) given: u64,
    /// When it was, if it was.
    pub(super) sent: Option<u64>,
}

/// Messages that were just handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Departure {
    /// When they should have been.
    pub(super) due: u64,
    /// For how long of that the server left no room for them.
    pub(super) held: u64,
    /// When they were.
    pub(super) sent: u64,
    /// How many they are.
    pub(super) count: u64,
}

/// The messages of one connection, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    waiting: Queue<Waiting>,
    under_way: Queue<Batch>,
    /// How many of the last batches were not handed over.
    held_back: usize,
    /// How many messages are under way.
    count: u64,
    /// Until when the server held back whatever was due.
    held_until: u64,
}

impl Ledger {
    /// A message that was due at `due` is given to the connection at `given`.
    pub(super) fn add(&mut self, due: u64, given: u64) {
        self.waiting.push_back(Waiting { due, given });
    }

    /// A message that was due at `due` is given to the connection, after there was none for it until `instant`.
    pub(super) fn add_held(&mut self, due: u64, instant: u64) {
        self.held_until = self.held_until.max(instant);
        self.add(due, due);
    }

    /// How many messages wait to be written.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// The oldest message that waits is being written, to the stream from `offset` on. Whether there is one.
    pub(super) fn begin_next(&mut self, offset: u64) -> bool {
        let next = self.waiting.pop_front();
        next.inspect(|next| self.begin(next.due, next.given, offset)).is_some()
    }

    /// A message that was due at `due` and given at `given` is being written, to the stream from `offset` on.
    pub(super) fn begin(&mut self, due: u64, given: u64, offset: u64) {
        self.count += 1;
        match self.under_way.back_mut() {
            Some(batch) if batch.due == due && batch.sent == NEVER => batch.count = batch.count.saturating_add(1),
            _ => {
                self.under_way.push_back(Batch { due, given, sent: NEVER, begin: offset, count: NonZeroU64::MIN });
                self.held_back += 1;
            }
        }
    }

    /// The kernel takes no more until the server does.
    pub(super) fn block(&mut self) {
        self.held_until = NEVER;
    }

    /// The kernel has taken `taken` bytes of the stream by `now`. Tells `sent` of the messages that went with them.
    pub(super) fn handed_over(&mut self, taken: u64, now: u64, mut sent: impl FnMut(Departure)) {
        if self.held_until == NEVER {
            self.held_until = now;
        }
        let first = self.under_way.len() - self.held_back;
        for batch in self.under_way.iter_mut_from(first) {
            if batch.begin >= taken {
                break;
            }
            batch.sent = now;
            self.held_back -= 1;
            sent(Departure {
                due: batch.due,
                held: self.held_until.saturating_sub(batch.given),
                sent: now,
                count: batch.count.get(),
            });
        }
    }

    /// The oldest message under way was answered at `now`; `pipeline` of them may be under way.
    pub(super) fn answered(&mut self, now: u64, pipeline: u64) -> Option<Times> {
        let batch = self.under_way.front_mut()?;
        let times = batch.times();
        if self.count >= pipeline {
            self.held_until = self.held_until.max(now);
        }
        self.count -= 1;
        if let Some(rest) = NonZeroU64::new(batch.count.get() - 1) {
            batch.count = rest;
        } else {
            self.held_back -= usize::from(batch.sent == NEVER);
            self.under_way.pop_front();
        }
        Some(times)
    }

    /// The oldest message under way.
    pub(super) fn oldest(&self) -> Option<Times> {
        self.under_way.front().map(Batch::times)
    }

    /// How many messages are under way.
    #[inline]
    pub(super) fn under_way(&self) -> u64 {
        self.count
    }

    /// Everything that was never answered: when it was due, when it was sent, and how many messages that were.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (Times, u64)> {
        let unsent =
            self.waiting.iter().map(|waiting| (Times { due: waiting.due, given: waiting.given, sent: None }, 1));
        self.under_way.iter().map(|batch| (batch.times(), batch.count.get())).chain(unsent)
    }
}

impl Batch {
    fn times(&self) -> Times {
        Times { due: self.due, given: self.given, sent: (self.sent != NEVER).then_some(self.sent) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Departure, Ledger, Times};

    /// No limit to what may be under way.
    const ANY: u64 = u64::MAX;

    /// Which messages went, by their due time, and how many.
    fn handed_over(ledger: &mut Ledger, taken: u64, now: u64) -> Vec<(u64, u64)> {
        departures(ledger, taken, now).into_iter().map(|departure| (departure.due, departure.count)).collect()
    }

    fn departures(ledger: &mut Ledger, taken: u64, now: u64) -> Vec<Departure> {
        let mut departures = Vec::new();
        ledger.handed_over(taken, now, |departure| departures.push(departure));
        departures
    }

    #[test]
    fn a_message_has_the_time_at_which_its_first_byte_was_taken() {
        let mut ledger = Ledger::default();
        ledger.add(10, 11);
        ledger.add(20, 21);
        assert!(ledger.begin_next(0) && ledger.begin_next(64));
        assert!(!ledger.begin_next(128), "no other one is due");
        assert_eq!(ledger.under_way(), 2);
        assert_eq!(handed_over(&mut ledger, 64, 30), [(10, 1)], "not a byte of the second was taken");
        assert_eq!(handed_over(&mut ledger, 65, 40), [(20, 1)]);
        assert_eq!(handed_over(&mut ledger, 128, 50), [], "each is handed over once");
        assert_eq!(ledger.answered(60, ANY), Some(Times { due: 10, given: 11, sent: Some(30) }));
        assert_eq!(ledger.answered(60, ANY), Some(Times { due: 20, given: 21, sent: Some(40) }));
        assert_eq!(ledger.answered(60, ANY), None, "nobody asked for that");
    }

    #[test]
    fn messages_written_together_are_one_entry() {
        let mut ledger = Ledger::default();
        (0..1000).for_each(|number| ledger.begin(7, 7, number * 22));
        assert_eq!(ledger.under_way.len(), 1);
        assert_eq!(handed_over(&mut ledger, 1, 8), [(7, 1000)]);
        ledger.begin(9, 9, 22_000);
        assert_eq!(ledger.answered(10, ANY), Some(Times { due: 7, given: 7, sent: Some(8) }));
        let unanswered: Vec<_> = ledger.unanswered().collect();
        let [sent, unsent] = [(7, Some(8)), (9, None)].map(|(due, sent)| Times { due, given: due, sent });
        assert_eq!(unanswered, [(sent, 999), (unsent, 1)]);
    }

    #[test]
    fn an_answer_before_the_question_does_no_harm() {
        let mut ledger = Ledger::default();
        ledger.begin(1, 1, 0);
        assert_eq!(ledger.answered(2, ANY), Some(Times { due: 1, given: 1, sent: None }));
        assert_eq!(handed_over(&mut ledger, 99, 2), []);
        ledger.begin(3, 3, 99);
        assert_eq!(handed_over(&mut ledger, 100, 4), [(3, 1)]);
    }

    #[test]
    fn a_message_that_waits_for_an_answer_is_held_back_by_the_server() {
        let mut ledger = Ledger::default();
        ledger.add(10, 10);
        ledger.begin_next(0);
        assert_eq!(departures(&mut ledger, 64, 11), [Departure { due: 10, held: 0, sent: 11, count: 1 }]);
        // Of what this client gave out late, the time before is its own.
        ledger.add(20, 25);
        assert!(ledger.answered(100, 1).is_some());
        ledger.begin_next(64);
        assert_eq!(departures(&mut ledger, 128, 101), [Departure { due: 20, held: 75, sent: 101, count: 1 }]);
    }

    #[test]
    fn a_message_without_a_connection_was_held_back_until_there_was_one() {
        let mut ledger = Ledger::default();
        ledger.add_held(10, 50);
        ledger.begin_next(0);
        assert_eq!(departures(&mut ledger, 64, 51), [Departure { due: 10, held: 40, sent: 51, count: 1 }]);
    }

    #[test]
    fn a_message_that_the_kernel_does_not_take_is_held_back_by_the_server() {
        let mut ledger = Ledger::default();
        ledger.add(10, 10);
        ledger.begin_next(0);
        ledger.block();
        ledger.add(20, 20);
        ledger.begin_next(64);
        let held = |due, held| Departure { due, held, sent: 50, count: 1 };
        assert_eq!(departures(&mut ledger, 128, 50), [held(10, 40), held(20, 30)]);
        ledger.add(60, 60);
        ledger.begin_next(128);
        assert_eq!(departures(&mut ledger, 192, 61), [Departure { due: 60, held: 0, sent: 61, count: 1 }]);
    }
}
