//! The messages of one connection: which are due, which are under way, and since when.
//!
//! Two latencies are made of it: from the instant a message was due, which is what a user would feel, and from the one it
//! was handed to the kernel. They differ by what this client itself was late. Times are nanoseconds since the load began,
//! offsets are bytes of the connection's stream.

use std::collections::VecDeque;

/// Not handed over yet.
const NEVER: u64 = u64::MAX;

/// Messages that were written at the same time, and are under way. Of a server that reads and never answers there can be
/// millions, and times for each would be more than the messages themselves.
#[derive(Debug, Clone, Copy)]
struct Batch {
    due: u64,
    /// When the kernel took the first byte: later, if it did not take all of them at once, than no message was handed over.
    sent: u64,
    begin: u64,
    count: u64,
}

/// When a message was due and when it was handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// When it should have been sent.
    pub(super) due: u64,
    /// When it was, if it was.
    pub(super) sent: Option<u64>,
}

/// The messages of one connection, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    waiting: VecDeque<u64>,
    under_way: VecDeque<Batch>,
    /// How many of the last batches were not handed over.
    held_back: usize,
    /// How many messages are under way.
    count: u64,
}

impl Ledger {
    /// A message is due from this time on.
    pub(super) fn add(&mut self, due: u64) {
        self.waiting.push_back(due);
    }

    /// How many messages wait to be written.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// The oldest message that waits is being written, to the stream from `offset` on. Whether there is one.
    pub(super) fn begin_next(&mut self, offset: u64) -> bool {
        let due = self.waiting.pop_front();
        due.inspect(|due| self.begin(*due, offset)).is_some()
    }

    /// A message that was due at `due` is being written, to the stream from `offset` on.
    pub(super) fn begin(&mut self, due: u64, offset: u64) {
        self.count += 1;
        match self.under_way.back_mut() {
            Some(batch) if batch.due == due && batch.sent == NEVER => batch.count += 1,
            _ => {
                self.under_way.push_back(Batch { due, sent: NEVER, begin: offset, count: 1 });
                self.held_back += 1;
            }
        }
    }

    /// The kernel has taken `taken` bytes of the stream by `now`. Calls `sent` with each message's due time.
    pub(super) fn handed_over(&mut self, taken: u64, now: u64, mut sent: impl FnMut(u64, u64)) {
        let first = self.under_way.len() - self.held_back;
        for batch in self.under_way.range_mut(first..) {
            if batch.begin >= taken {
                break;
            }
            batch.sent = now;
            self.held_back -= 1;
            sent(batch.due, batch.count);
        }
    }

    /// The oldest message under way was answered.
    pub(super) fn answered(&mut self) -> Option<Times> {
        let batch = self.under_way.front_mut()?;
        let times = batch.times();
        self.count -= 1;
        batch.count -= 1;
        if batch.count == 0 {
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
        let unsent = self.waiting.iter().map(|due| (Times { due: *due, sent: None }, 1));
        self.under_way.iter().map(|batch| (batch.times(), batch.count)).chain(unsent)
    }
}

impl Batch {
    fn times(&self) -> Times {
        Times { due: self.due, sent: (self.sent != NEVER).then_some(self.sent) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Times};

    fn handed_over(ledger: &mut Ledger, taken: u64, now: u64) -> Vec<(u64, u64)> {
        let mut sent = Vec::new();
        ledger.handed_over(taken, now, |due, count| sent.push((due, count)));
        sent
    }

    #[test]
    fn a_message_has_the_time_at_which_its_first_byte_was_taken() {
        let mut ledger = Ledger::default();
        ledger.add(10);
        ledger.add(20);
        assert!(ledger.begin_next(0) && ledger.begin_next(64));
        assert!(!ledger.begin_next(128), "no other one is due");
        assert_eq!(ledger.under_way(), 2);
        assert_eq!(handed_over(&mut ledger, 64, 30), [(10, 1)], "not a byte of the second was taken");
        assert_eq!(handed_over(&mut ledger, 65, 40), [(20, 1)]);
        assert_eq!(handed_over(&mut ledger, 128, 50), [], "each is handed over once");
        assert_eq!(ledger.answered(), Some(Times { due: 10, sent: Some(30) }));
        assert_eq!(ledger.answered(), Some(Times { due: 20, sent: Some(40) }));
        assert_eq!(ledger.answered(), None, "nobody asked for that");
    }

    #[test]
    fn messages_written_together_are_one_entry() {
        let mut ledger = Ledger::default();
        (0..1000).for_each(|number| ledger.begin(7, number * 22));
        assert_eq!(ledger.under_way.len(), 1);
        assert_eq!(handed_over(&mut ledger, 1, 8), [(7, 1000)]);
        ledger.begin(9, 22_000);
        assert_eq!(ledger.answered(), Some(Times { due: 7, sent: Some(8) }));
        let unanswered: Vec<_> = ledger.unanswered().collect();
        assert_eq!(unanswered, [(Times { due: 7, sent: Some(8) }, 999), (Times { due: 9, sent: None }, 1)]);
    }

    #[test]
    fn an_answer_before_the_question_does_no_harm() {
        let mut ledger = Ledger::default();
        ledger.begin(1, 0);
        assert_eq!(ledger.answered(), Some(Times { due: 1, sent: None }));
        assert_eq!(handed_over(&mut ledger, 99, 2), []);
        ledger.begin(3, 99);
        assert_eq!(handed_over(&mut ledger, 100, 4), [(3, 1)]);
    }
}
