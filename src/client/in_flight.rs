//! The messages of one connection: which are due, which are under way, and since when.
//!
//! Two latencies are made of it: from the instant a message was due, which is what a user would feel, and from the one it
//! was handed to the kernel. They differ by how long the server held the message back, because it owed too many answers
//! or took no more bytes, and by what this client itself was late after that. Times are nanoseconds since the load
//! began, offsets are bytes of the connection's stream.

use super::inline_queue::InlineQueue;
use std::num::NonZeroU32;

/// Not yet.
const NEVER: u64 = u64::MAX;

/// Messages that were written at the same time, and are under way. Of a server that reads and never answers there can be
/// millions, and times for each would be more than the messages themselves.
#[derive(Debug, Clone, Copy)]
struct Batch {
    due: u64,
    /// When this client gave it to the connection. Since the kernel has taken the first byte: for how long the server had left
    /// no room by then.
    given_or_held: u64,
    /// When the kernel took the first byte.
    sent: u64,
    /// Where the first message begins in the stream that the kernel has not taken whole.
    begin: u64,
    count: NonZeroU32,
    /// How many messages the kernel has not taken whole: the last ones.
    unsent: u32,
}

/// A message that was not begun yet.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    due: u64,
    given: u64,
}

/// When a message was due and when it was handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageTimes {
    /// When it should have been sent.
    pub(super) due: u64,
    /// When it was given to the connection.
    pub(super) given: u64,
    /// When the kernel took its first byte, if it did. Of an unanswered message: if it took every byte.
    pub(super) sent: Option<u64>,
}

/// Messages of which the kernel has taken the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentBatch {
    /// When they should have been sent.
    pub(super) due: u64,
    /// For how long of that the server left no room for them.
    pub(super) held: u64,
    /// When the kernel took the first byte.
    pub(super) sent: u64,
    /// How many they are.
    pub(super) count: u64,
}

/// The messages of one connection, oldest first.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    waiting: InlineQueue<Waiting>,
    under_way: InlineQueue<Batch>,
    /// How many of the last batches hold messages that the kernel has not taken whole.
    held_back: u32,
    /// The kernel takes no more.
    is_blocked: bool,
    /// How many messages are under way.
    count: u64,
    /// Until when the server held back whatever was due; while the kernel takes no more: since when.
    held_until: u64,
}

impl InFlight {
    /// A message that was due at `due` is given to the connection at `given`.
    pub(super) fn add(&mut self, due: u64, given: u64) {
        self.waiting.push_back(Waiting { due, given });
    }

    /// A message that was due at `due` is given to the connection, after there was none for it until `instant`.
    pub(super) fn add_held(&mut self, due: u64, instant: u64) {
        self.hold_until(instant);
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
            Some(batch) if batch.due == due && batch.sent == NEVER && batch.count < NonZeroU32::MAX => {
                batch.count = batch.count.saturating_add(1);
                batch.unsent += 1;
            }
            _ => {
                let (given_or_held, begin, count) = (given, offset, NonZeroU32::MIN);
                self.under_way.push_back(Batch { due, given_or_held, sent: NEVER, begin, count, unsent: 1 });
                self.held_back += 1;
            }
        }
    }

    /// The kernel takes no more until the server does; `since` says when that began.
    pub(super) fn block(&mut self, since: impl FnOnce() -> u64) {
        if !self.is_blocked {
            (self.is_blocked, self.held_until) = (true, since());
        }
    }

    /// Since when the kernel takes no more, if that is so.
    pub(super) fn blocked_since(&self) -> Option<u64> {
        self.is_blocked.then_some(self.held_until)
    }

    /// The server held back whatever was due until `instant`.
    fn hold_until(&mut self, instant: u64) {
        if !self.is_blocked {
            self.held_until = self.held_until.max(instant);
        }
    }

    /// The kernel has taken `taken` bytes of the stream by `now`. Tells `sent` of the messages that are whole with them. Of the
    /// stream `begun` messages are written, and `size_of` says how long message `number` is, in bytes.
    pub(super) fn handed_over(
        &mut self,
        (taken, now): (u64, u64),
        begun: u64,
        size_of: impl Fn(u64) -> usize,
        mut sent: impl FnMut(SentBatch),
    ) {
        if self.is_blocked {
            (self.is_blocked, self.held_until) = (false, now);
        }
        let mut number = begun - self.unsent();
        let first = self.under_way.len() - self.held_back as usize;
        for batch in self.under_way.iter_mut_from(first) {
            if batch.begin >= taken {
                break;
            }
            batch.start(now, self.held_until);
            let unsent = batch.unsent;
            while batch.unsent > 0 && batch.begin + size_of(number) as u64 <= taken {
                batch.pass(size_of(number));
                number += 1;
            }
            if unsent > batch.unsent {
                sent(batch.departure(unsent - batch.unsent));
            }
            if batch.unsent > 0 {
                break;
            }
            self.held_back -= 1;
        }
    }

    /// The oldest message under way was answered at `now`; `pipeline` may be under way. It counts as sent even if the kernel
    /// has not taken it whole: the server needs no more of it. The rest is as with [`handed_over`](Self::handed_over).
    pub(super) fn answered(
        &mut self,
        (now, pipeline): (u64, u64),
        begun: u64,
        size_of: impl Fn(u64) -> usize,
        sent: impl FnOnce(SentBatch),
    ) -> Option<MessageTimes> {
        let unsent = if self.is_oldest_sent()? { 0 } else { self.unsent() };
        let batch = self.under_way.front_mut()?;
        let times = batch.times();
        if unsent > 0 {
            batch.start(now, if self.is_blocked { now } else { self.held_until });
            batch.pass(size_of(begun - unsent));
            self.held_back -= u32::from(batch.unsent == 0);
            sent(batch.departure(1));
        }
        match NonZeroU32::new(batch.count.get() - 1) {
            Some(rest) => batch.count = rest,
            None => drop(self.under_way.pop_front()),
        }
        if self.count >= pipeline {
            self.hold_until(now);
        }
        self.count -= 1;
        Some(times)
    }

    /// How many messages the kernel has not taken whole.
    fn unsent(&mut self) -> u64 {
        let first = self.under_way.len() - self.held_back as usize;
        self.under_way.iter_mut_from(first).map(|batch| u64::from(batch.unsent)).sum()
    }

    /// The oldest message under way.
    pub(super) fn oldest(&self) -> Option<MessageTimes> {
        self.under_way.front().map(Batch::times)
    }

    /// Whether the kernel has taken the oldest message under way whole; none is under way if it is none.
    #[inline]
    pub(super) fn is_oldest_sent(&self) -> Option<bool> {
        self.under_way.front().map(Batch::is_oldest_sent)
    }

    /// How many messages are under way.
    #[inline]
    pub(super) fn under_way(&self) -> u64 {
        self.count
    }

    /// Everything that was never answered: when it was due, when it was sent, and how many messages that were.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (MessageTimes, u64)> {
        let unsent =
            self.waiting.iter().map(|waiting| (MessageTimes { due: waiting.due, given: waiting.given, sent: None }, 1));
        let under_way = self.under_way.iter().flat_map(|batch| {
            let (times, unsent) = (batch.times(), u64::from(batch.unsent));
            [(times, u64::from(batch.count.get()) - unsent), (MessageTimes { sent: None, ..times }, unsent)]
        });
        under_way.filter(|(_, count)| *count > 0).chain(unsent)
    }
}

impl Batch {
    fn times(&self) -> MessageTimes {
        let is_begun = self.sent != NEVER;
        // What the kernel has begun to take was given in time.
        let given = if is_begun { self.due } else { self.given_or_held };
        MessageTimes { due: self.due, given, sent: is_begun.then_some(self.sent) }
    }

    /// The kernel has taken the first byte by `now`, unless it had already; the server left no room until `held_until`.
    fn start(&mut self, now: u64, held_until: u64) {
        if self.sent == NEVER {
            (self.sent, self.given_or_held) = (now, held_until.saturating_sub(self.given_or_held));
        }
    }

    /// The first message that is not whole, of so many bytes, counts as sent.
    fn pass(&mut self, bytes: usize) {
        self.begin += bytes as u64;
        self.unsent -= 1;
    }

    fn is_oldest_sent(&self) -> bool {
        self.unsent < self.count.get()
    }

    /// `count` messages of it are whole.
    fn departure(&self, count: u32) -> SentBatch {
        SentBatch { due: self.due, held: self.given_or_held, sent: self.sent, count: count.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::{InFlight, MessageTimes, SentBatch};

    /// No limit to what may be under way.
    const ANY: u64 = u64::MAX;

    /// How long each message here is, in bytes.
    const SIZE: usize = 64;

    /// Which messages went, by their due time, and how many.
    fn handed_over(in_flight: &mut InFlight, taken: u64, now: u64) -> Vec<(u64, u64)> {
        departures(in_flight, taken, now).into_iter().map(|departure| (departure.due, departure.count)).collect()
    }

    fn departures(in_flight: &mut InFlight, taken: u64, now: u64) -> Vec<SentBatch> {
        let mut departures = Vec::new();
        let begun = begun(in_flight);
        in_flight.handed_over((taken, now), begun, |_| SIZE, |departure| departures.push(departure));
        departures
    }

    /// How many there were does not matter to messages of one size.
    fn begun(in_flight: &InFlight) -> u64 {
        in_flight.under_way()
    }

    fn answered(in_flight: &mut InFlight, now: u64, pipeline: u64) -> (Option<MessageTimes>, Option<SentBatch>) {
        let mut departure = None;
        let begun = begun(in_flight);
        let times = in_flight.answered((now, pipeline), begun, |_| SIZE, |early| departure = Some(early));
        (times, departure)
    }

    #[test]
    fn a_message_has_the_time_at_which_its_first_byte_was_taken() {
        let mut in_flight = InFlight::default();
        in_flight.add(10, 11);
        in_flight.add(20, 21);
        assert!(in_flight.begin_next(0) && in_flight.begin_next(64));
        assert!(!in_flight.begin_next(128), "no other one is due");
        assert_eq!(in_flight.under_way(), 2);
        assert_eq!(handed_over(&mut in_flight, 64, 30), [(10, 1)], "not a byte of the second was taken");
        assert_eq!(handed_over(&mut in_flight, 65, 40), [], "one byte is no message");
        assert_eq!(handed_over(&mut in_flight, 128, 45), [(20, 1)]);
        assert_eq!(handed_over(&mut in_flight, 128, 50), [], "each is handed over once");
        let times = |due, sent| Some(MessageTimes { due, given: due, sent: Some(sent) });
        assert_eq!(answered(&mut in_flight, 60, ANY), (times(10, 30), None));
        assert_eq!(answered(&mut in_flight, 60, ANY), (times(20, 40), None));
        assert_eq!(answered(&mut in_flight, 60, ANY), (None, None), "nobody asked for that");
    }

    #[test]
    fn messages_written_together_are_one_entry() {
        let mut in_flight = InFlight::default();
        (0..1000).for_each(|number| in_flight.begin(7, 7, number * 64));
        assert_eq!(in_flight.under_way.len(), 1);
        assert_eq!(handed_over(&mut in_flight, 64_000, 8), [(7, 1000)]);
        in_flight.begin(9, 9, 64_000);
        assert_eq!(answered(&mut in_flight, 10, ANY).0, Some(MessageTimes { due: 7, given: 7, sent: Some(8) }));
        let unanswered: Vec<_> = in_flight.unanswered().collect();
        let [sent, unsent] = [(7, Some(8)), (9, None)].map(|(due, sent)| MessageTimes { due, given: due, sent });
        assert_eq!(unanswered, [(sent, 999), (unsent, 1)]);
    }

    /// The socket's buffer takes a part of what was written together.
    #[test]
    fn messages_are_sent_that_were_taken_to_the_last_byte() {
        let mut in_flight = InFlight::default();
        (0..1000).for_each(|number| in_flight.begin(7, 7, number * 64));
        assert_eq!(handed_over(&mut in_flight, 63, 8), []);
        assert_eq!(in_flight.is_oldest_sent(), Some(false));
        assert_eq!(handed_over(&mut in_flight, 64 * 10 + 5, 9), [(7, 10)]);
        assert_eq!(in_flight.is_oldest_sent(), Some(true));
        let times = MessageTimes { due: 7, given: 7, sent: Some(8) };
        let unsent = MessageTimes { sent: None, ..times };
        assert_eq!(in_flight.unanswered().collect::<Vec<_>>(), [(times, 10), (unsent, 990)]);
        for _ in 0..10 {
            assert_eq!(answered(&mut in_flight, 10, ANY), (Some(times), None));
        }
        in_flight.begin(20, 20, 64 * 1000);
        assert_eq!(in_flight.unanswered().map(|(_, count)| count).collect::<Vec<_>>(), [990, 1]);
        assert_eq!(handed_over(&mut in_flight, 64 * 1001, 30), [(7, 990), (20, 1)]);
        assert_eq!(in_flight.unanswered().filter(|(times, _)| times.sent.is_none()).count(), 0);
    }

    #[test]
    fn an_answer_before_the_question_does_no_harm() {
        let mut in_flight = InFlight::default();
        (0..3).for_each(|number| in_flight.begin(1, 1, number * 64));
        let early = SentBatch { due: 1, held: 0, sent: 2, count: 1 };
        let times = |sent| Some(MessageTimes { due: 1, given: 1, sent });
        assert_eq!(answered(&mut in_flight, 2, ANY), (times(None), Some(early)));
        assert_eq!(handed_over(&mut in_flight, 128, 3), [(1, 1)]);
        assert_eq!(answered(&mut in_flight, 4, ANY), (times(Some(2)), None));
        assert_eq!(answered(&mut in_flight, 4, ANY).1, Some(early), "of the third nothing was taken");
        assert_eq!(handed_over(&mut in_flight, 192, 5), []);
        in_flight.begin(3, 3, 192);
        assert_eq!(handed_over(&mut in_flight, 256, 6), [(3, 1)]);
    }

    #[test]
    fn a_message_that_waits_for_an_answer_is_held_back_by_the_server() {
        let mut in_flight = InFlight::default();
        in_flight.add(10, 10);
        in_flight.begin_next(0);
        assert_eq!(departures(&mut in_flight, 64, 11), [SentBatch { due: 10, held: 0, sent: 11, count: 1 }]);
        // Of what this client gave out late, the time before is its own.
        in_flight.add(20, 25);
        assert!(answered(&mut in_flight, 100, 1).0.is_some());
        in_flight.begin_next(64);
        assert_eq!(departures(&mut in_flight, 128, 101), [SentBatch { due: 20, held: 75, sent: 101, count: 1 }]);
    }

    #[test]
    fn a_message_without_a_connection_was_held_back_until_there_was_one() {
        let mut in_flight = InFlight::default();
        in_flight.add_held(10, 50);
        in_flight.begin_next(0);
        assert_eq!(departures(&mut in_flight, 64, 51), [SentBatch { due: 10, held: 40, sent: 51, count: 1 }]);
    }

    #[test]
    fn a_message_that_the_kernel_does_not_take_is_held_back_by_the_server() {
        let mut in_flight = InFlight::default();
        in_flight.add(10, 10);
        in_flight.begin_next(0);
        in_flight.block(|| 11);
        in_flight.add(20, 20);
        in_flight.begin_next(64);
        let held = |due, held| SentBatch { due, held, sent: 50, count: 1 };
        assert_eq!(departures(&mut in_flight, 128, 50), [held(10, 40), held(20, 30)]);
        in_flight.add(60, 60);
        in_flight.begin_next(128);
        assert_eq!(departures(&mut in_flight, 192, 61), [SentBatch { due: 60, held: 0, sent: 61, count: 1 }]);
    }
}
