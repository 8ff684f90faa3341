//! Messages of one connection that are queued or in flight, with their times.
//!
//! The response time counts from the instant a message was due, the service time from its send. They differ by the time
//! blocked by the server and by this client's send delay. Times are nanoseconds since the client was created, offsets
//! are bytes of the connection's stream.

use super::inline_queue::InlineQueue;
use crate::client::debt::BatchId;
use std::num::{NonZeroU32, NonZeroU64};

/// Not sent yet.
const NEVER: u64 = u64::MAX;

/// Messages in flight that were written at the same time. A server that reads and never answers can have millions in
/// flight; separate times for each would take more memory than the messages.
#[derive(Debug, Clone, Copy)]
struct WriteGroup {
    due: u64,
    /// When this client assigned it to the connection. Once the kernel has accepted the first byte: how long the
    /// message had been blocked by then.
    assigned_at_or_blocked_for: u64,
    /// When the kernel accepted the first byte.
    sent: u64,
    count: NonZeroU32,
    /// Number of messages that the kernel has not accepted completely: the last ones of the group.
    unsent: u32,
    /// Its batch, once the kernel has accepted the first byte, if debts are tracked.
    batch: Option<BatchId>,
}

/// A message that is not written yet.
#[derive(Debug, Clone, Copy)]
struct QueuedMessage {
    /// Not zero, so that `Option<QueuedMessage>` takes no more memory.
    due: NonZeroU64,
    assigned: u64,
}

/// When a message was due, assigned and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct MessageTimes {
    /// Scheduled send time, in nanoseconds of the run clock.
    pub(in crate::client) due: u64,
    /// When it was assigned to the connection.
    pub(in crate::client) assigned: u64,
    /// How long after it was due it was blocked by the server; known once it is sent.
    pub(in crate::client) blocked: u64,
    /// When the kernel accepted its first byte. If unanswered: only set if the kernel accepted all of it.
    pub(in crate::client) sent: Option<u64>,
    /// Its batch, from the first byte on, if debts are tracked.
    pub(in crate::client) batch: Option<BatchId>,
}

/// When a complete reply arrived, and when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct Arrival {
    /// The kernel's receive timestamp; without one, same as `read`. In nanoseconds of the run clock.
    pub(in crate::client) arrived: u64,
    /// The time after the read.
    pub(in crate::client) read: u64,
    /// Whether `arrived` is a timestamp of the kernel.
    pub(in crate::client) is_stamped: bool,
}

impl Arrival {
    /// An arrival without a usable timestamp: the time of the read counts.
    pub(in crate::client) fn unstamped(read: u64) -> Self {
        Self { arrived: read, read, is_stamped: false }
    }

    /// The arrival of the reply to a message that was sent at `sent`. A timestamp before that cannot be used.
    #[inline]
    pub(in crate::client) fn of_reply_to(self, sent: Option<u64>) -> Self {
        if sent.is_none_or(|sent| sent <= self.arrived) { self } else { Self::unstamped(self.read) }
    }
}

/// A complete reply, right or wrong.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Reply {
    /// Times of its message, which is no longer in flight.
    pub(in crate::client) times: MessageTimes,
    pub(in crate::client) arrival: Arrival,
    /// How much earlier it might have arrived without the lateness of this client, at most; `u64::MAX` if unknown.
    pub(in crate::client) debt: u64,
}

/// Messages that the kernel has accepted completely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct SentGroup {
    /// Scheduled send time, in nanoseconds of the run clock.
    pub(in crate::client) due: u64,
    /// How long after that they were blocked by the server.
    pub(in crate::client) blocked: u64,
    /// When the kernel accepted the first byte.
    pub(in crate::client) sent: u64,
    /// Number of messages.
    pub(in crate::client) count: u64,
}

/// Records messages as they are sent.
pub(in crate::client) trait SendRecorder {
    /// The kernel has accepted the first byte of these messages. `was_full` says that the socket buffer had no room before.
    fn begin_group(&mut self, group: SentGroup, was_full: bool) -> Option<BatchId>;

    /// The kernel has accepted these messages completely.
    fn complete_group(&mut self, group: SentGroup);
}

/// Messages of one connection, oldest first.
#[derive(Debug, Default)]
pub(in crate::client) struct InFlight {
    queued: InlineQueue<QueuedMessage>,
    groups: InlineQueue<WriteGroup>,
    /// Number of groups with messages that the kernel has not accepted completely: the last ones.
    unsent_groups: u32,
    /// The kernel accepts no more bytes.
    is_blocked: bool,
    /// Until when the server blocked messages that were due; while the kernel accepts no bytes: since when.
    blocked_until: u64,
}

impl InFlight {
    /// Queues a message that was due at `due`, assigned to the connection at `assigned`. `is_full` says that the pipeline is
    /// full. If the server leaves no room, the assignment is not late: the message is blocked from when it was due, or
    /// from when there was no room.
    pub(in crate::client) fn add(&mut self, due: u64, assigned: u64, is_full: bool) {
        let full_since = match self.groups.back_mut() {
            _ if self.is_blocked => Some(self.blocked_until),
            Some(last) if is_full && last.sent != NEVER => Some(last.sent),
            _ => None,
        };
        let assigned = full_since.map_or(assigned, |since| assigned.min(since.max(due)));
        self.queued.push_back(QueuedMessage { due: NonZeroU64::new(due).unwrap_or(NonZeroU64::MIN), assigned });
    }

    /// Queues a message that was due at `due` and had to wait for a connection until `instant`.
    pub(in crate::client) fn add_blocked(&mut self, due: u64, instant: u64) {
        self.block_until(instant);
        self.add(due, due, false);
    }

    /// Removes the messages that wait to be written. Returns when they were due.
    pub(in crate::client) fn take_queued(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.queued.pop_front()).map(|message| message.due.get()).collect()
    }

    /// Number of messages that wait to be written.
    pub(in crate::client) fn queued(&self) -> u64 {
        self.queued.len() as u64
    }

    /// Starts writing the oldest queued message. Returns when it was due, if there was one.
    pub(in crate::client) fn begin_queued(&mut self) -> Option<u64> {
        let QueuedMessage { due, assigned } = self.queued.pop_front()?;
        self.begin(due.get(), assigned);
        Some(due.get())
    }

    /// Starts writing a message that was due at `due` and assigned at `assigned`.
    pub(in crate::client) fn begin(&mut self, due: u64, assigned: u64) {
        match self.groups.back_mut() {
            Some(batch) if batch.due == due && batch.sent == NEVER && batch.count < NonZeroU32::MAX => {
                batch.count = batch.count.saturating_add(1);
                batch.unsent += 1;
            }
            _ => {
                let (assigned_at_or_blocked_for, sent, count, unsent, batch) =
                    (assigned, NEVER, NonZeroU32::MIN, 1, None);
                self.groups.push_back(WriteGroup { due, assigned_at_or_blocked_for, sent, count, unsent, batch });
                self.unsent_groups += 1;
            }
        }
    }

    /// The kernel accepts no more bytes until the server reads; `since` returns when that began.
    pub(in crate::client) fn block(&mut self, since: impl FnOnce() -> u64) {
        if !self.is_blocked {
            (self.is_blocked, self.blocked_until) = (true, since());
        }
    }

    /// Since when the kernel has accepted no bytes, if it does not.
    pub(in crate::client) fn blocked_since(&self) -> Option<u64> {
        self.is_blocked.then_some(self.blocked_until)
    }

    /// The server blocked messages that were due until `instant`.
    fn block_until(&mut self, instant: u64) {
        if !self.is_blocked {
            self.blocked_until = self.blocked_until.max(instant);
        }
    }

    /// Records that the kernel has accepted `taken` bytes of the stream by `now`, with `recorder`. `begun` counts the
    /// messages written to the stream; `offset_of` returns the stream offset of a message in bytes.
    pub(in crate::client) fn kernel_accepted(
        &mut self,
        (taken, now): (u64, u64),
        begun: u64,
        offset_of: impl Fn(u64) -> u64,
        recorder: &mut impl SendRecorder,
    ) {
        let was_full = self.is_blocked;
        if was_full {
            (self.is_blocked, self.blocked_until) = (false, now);
        }
        let mut number = begun - self.unsent();
        let first = self.groups.len() - self.unsent_groups as usize;
        for batch in self.groups.iter_mut_from(first) {
            if offset_of(number) >= taken {
                break;
            }
            if batch.sent == NEVER {
                batch.start(now, self.blocked_until);
                batch.batch = recorder.begin_group(batch.sent_group(batch.count.get()), was_full);
            }
            let unsent = batch.unsent;
            while batch.unsent > 0 && offset_of(number + 1) <= taken {
                batch.unsent -= 1;
                number += 1;
            }
            if unsent > batch.unsent {
                recorder.complete_group(batch.sent_group(unsent - batch.unsent));
            }
            if batch.unsent > 0 {
                break;
            }
            self.unsent_groups -= 1;
        }
    }

    /// Records that the oldest message in flight was answered at `now`, which ends a wait for room in the pipeline if
    /// `was_full`. It counts as sent even if the kernel has not accepted all of it: the server needs no more.
    pub(in crate::client) fn answered(
        &mut self,
        now: u64,
        was_full: bool,
        recorder: &mut impl SendRecorder,
    ) -> Option<MessageTimes> {
        let batch = self.groups.front_mut()?;
        let times = batch.times();
        if !batch.is_oldest_sent() {
            batch.start(now, if self.is_blocked { now } else { self.blocked_until });
            batch.unsent -= 1;
            self.unsent_groups -= u32::from(batch.unsent == 0);
            recorder.complete_group(batch.sent_group(1));
        }
        match NonZeroU32::new(batch.count.get() - 1) {
            Some(rest) => batch.count = rest,
            None => drop(self.groups.pop_front()),
        }
        if was_full {
            self.block_until(now);
        }
        Some(times)
    }

    /// Number of messages that the kernel has not accepted completely.
    fn unsent(&mut self) -> u64 {
        let first = self.groups.len() - self.unsent_groups as usize;
        self.groups.iter_mut_from(first).map(|batch| u64::from(batch.unsent)).sum()
    }

    /// Times of the oldest message in flight.
    pub(in crate::client) fn oldest(&self) -> Option<MessageTimes> {
        self.groups.front().map(WriteGroup::times)
    }

    /// Whether the kernel has accepted all of the oldest message in flight; `None` if none is in flight.
    #[inline]
    pub(in crate::client) fn is_oldest_sent(&self) -> Option<bool> {
        self.groups.front().map(WriteGroup::is_oldest_sent)
    }

    /// All messages without a reply, as their times and the number of messages that share them.
    pub(in crate::client) fn unanswered(&self) -> impl Iterator<Item = (MessageTimes, u64)> {
        let times = |message: &QueuedMessage| MessageTimes {
            due: message.due.get(),
            assigned: message.assigned,
            blocked: 0,
            sent: None,
            batch: None,
        };
        let queued = self.queued.iter().map(move |message| (times(message), 1));
        let batches = self.groups.iter().flat_map(|batch| {
            let (times, unsent) = (batch.times(), u64::from(batch.unsent));
            [(times, u64::from(batch.count.get()) - unsent), (MessageTimes { sent: None, ..times }, unsent)]
        });
        batches.filter(|(_, count)| *count > 0).chain(queued)
    }
}

impl WriteGroup {
    fn times(&self) -> MessageTimes {
        let is_begun = self.sent != NEVER;
        // Once the kernel has accepted the first byte, the assignment was in time.
        let (assigned, blocked) =
            if is_begun { (self.due, self.assigned_at_or_blocked_for) } else { (self.assigned_at_or_blocked_for, 0) };
        MessageTimes { due: self.due, assigned, blocked, sent: is_begun.then_some(self.sent), batch: self.batch }
    }

    /// The kernel has accepted the first byte by `now`, if not before; the server blocked until `blocked_until`.
    fn start(&mut self, now: u64, blocked_until: u64) {
        if self.sent == NEVER {
            (self.sent, self.assigned_at_or_blocked_for) =
                (now, blocked_until.saturating_sub(self.assigned_at_or_blocked_for));
        }
    }

    fn is_oldest_sent(&self) -> bool {
        self.unsent < self.count.get()
    }

    /// The last `count` messages that were sent, with the batch's times.
    fn sent_group(&self, count: u32) -> SentGroup {
        SentGroup { due: self.due, blocked: self.assigned_at_or_blocked_for, sent: self.sent, count: count.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::{InFlight, MessageTimes, SendRecorder, SentGroup};
    use crate::client::debt::BatchId;
    use std::ops::{Deref, DerefMut};

    /// Size of every message here, in bytes.
    const SIZE: u64 = 64;

    /// Messages in flight, and the number of messages begun.
    #[derive(Default)]
    struct Stream {
        in_flight: InFlight,
        begun: u64,
    }

    impl Stream {
        fn begin(&mut self, due: u64) {
            self.begun += 1;
            self.in_flight.begin(due, due);
        }

        fn begin_queued(&mut self) -> bool {
            let has_begun = self.in_flight.begin_queued().is_some();
            self.begun += u64::from(has_begun);
            has_begun
        }
    }

    impl Deref for Stream {
        type Target = InFlight;

        fn deref(&self) -> &InFlight {
            &self.in_flight
        }
    }

    impl DerefMut for Stream {
        fn deref_mut(&mut self) -> &mut InFlight {
            &mut self.in_flight
        }
    }

    /// Due times and numbers of the messages sent.
    fn kernel_accepted(in_flight: &mut Stream, taken: u64, now: u64) -> Vec<(u64, u64)> {
        batches(in_flight, taken, now).into_iter().map(|batch| (batch.due, batch.count)).collect()
    }

    fn batches(in_flight: &mut Stream, taken: u64, now: u64) -> Vec<SentGroup> {
        let mut batches = Vec::new();
        let begun = in_flight.begun;
        in_flight.kernel_accepted((taken, now), begun, |number| number * SIZE, &mut batches);
        batches
    }

    fn answered(in_flight: &mut Stream, now: u64, was_full: bool) -> (Option<MessageTimes>, Option<SentGroup>) {
        let mut sent_groups = Vec::new();
        let times = in_flight.answered(now, was_full, &mut sent_groups);
        (times, sent_groups.pop())
    }

    impl SendRecorder for Vec<SentGroup> {
        fn begin_group(&mut self, _group: SentGroup, _was_full: bool) -> Option<BatchId> {
            None
        }

        fn complete_group(&mut self, group: SentGroup) {
            self.push(group);
        }
    }

    #[test]
    fn a_message_is_sent_when_its_first_byte_was_accepted() {
        let mut in_flight = Stream::default();
        in_flight.add(10, 11, false);
        in_flight.add(20, 21, false);
        assert!(in_flight.begin_queued() && in_flight.begin_queued());
        assert!(!in_flight.begin_queued(), "no other message is due");
        assert_eq!(kernel_accepted(&mut in_flight, 64, 30), [(10, 1)], "no byte of the second was accepted");
        assert_eq!(kernel_accepted(&mut in_flight, 65, 40), [], "one byte does not complete a message");
        assert_eq!(kernel_accepted(&mut in_flight, 128, 45), [(20, 1)]);
        assert_eq!(kernel_accepted(&mut in_flight, 128, 50), [], "each is reported once");
        let times = |due, sent| Some(MessageTimes { due, assigned: due, blocked: 0, sent: Some(sent), batch: None });
        assert_eq!(answered(&mut in_flight, 60, false), (times(10, 30), None));
        assert_eq!(answered(&mut in_flight, 60, false), (times(20, 40), None));
        assert_eq!(answered(&mut in_flight, 60, false), (None, None), "no message is in flight");
    }

    #[test]
    fn messages_written_together_are_one_entry() {
        let mut in_flight = Stream::default();
        (0..1000).for_each(|_| in_flight.begin(7));
        assert_eq!(in_flight.groups.len(), 1);
        assert_eq!(kernel_accepted(&mut in_flight, 64_000, 8), [(7, 1000)]);
        in_flight.begin(9);
        assert_eq!(
            answered(&mut in_flight, 10, false).0,
            Some(MessageTimes { due: 7, assigned: 7, blocked: 0, sent: Some(8), batch: None })
        );
        let unanswered: Vec<_> = in_flight.unanswered().collect();
        let [sent, unsent] = [(7, Some(8)), (9, None)].map(|(due, sent)| MessageTimes {
            due,
            assigned: due,
            blocked: 0,
            sent,
            batch: None,
        });
        assert_eq!(unanswered, [(sent, 999), (unsent, 1)]);
    }

    /// The socket buffer accepts a part of the messages written together.
    #[test]
    fn messages_count_as_sent_after_their_last_byte() {
        let mut in_flight = Stream::default();
        (0..1000).for_each(|_| in_flight.begin(7));
        assert_eq!(kernel_accepted(&mut in_flight, 63, 8), []);
        assert_eq!(in_flight.is_oldest_sent(), Some(false));
        assert_eq!(kernel_accepted(&mut in_flight, 64 * 10 + 5, 9), [(7, 10)]);
        assert_eq!(in_flight.is_oldest_sent(), Some(true));
        let times = MessageTimes { due: 7, assigned: 7, blocked: 0, sent: Some(8), batch: None };
        let unsent = MessageTimes { sent: None, ..times };
        assert_eq!(in_flight.unanswered().collect::<Vec<_>>(), [(times, 10), (unsent, 990)]);
        for _ in 0..10 {
            assert_eq!(answered(&mut in_flight, 10, false), (Some(times), None));
        }
        in_flight.begin(20);
        assert_eq!(in_flight.unanswered().map(|(_, count)| count).collect::<Vec<_>>(), [990, 1]);
        assert_eq!(kernel_accepted(&mut in_flight, 64 * 1001, 30), [(7, 990), (20, 1)]);
        assert_eq!(in_flight.unanswered().filter(|(times, _)| times.sent.is_none()).count(), 0);
    }

    #[test]
    fn a_reply_before_its_message_was_sent_is_tolerated() {
        let mut in_flight = Stream::default();
        (0..3).for_each(|_| in_flight.begin(1));
        let early = SentGroup { due: 1, blocked: 0, sent: 2, count: 1 };
        let times = |sent| Some(MessageTimes { due: 1, assigned: 1, blocked: 0, sent, batch: None });
        assert_eq!(answered(&mut in_flight, 2, false), (times(None), Some(early)));
        assert_eq!(kernel_accepted(&mut in_flight, 128, 3), [(1, 1)]);
        assert_eq!(answered(&mut in_flight, 4, false), (times(Some(2)), None));
        assert_eq!(answered(&mut in_flight, 4, false).1, Some(early), "the kernel accepted no byte of the third");
        assert_eq!(kernel_accepted(&mut in_flight, 192, 5), []);
        in_flight.begin(3);
        assert_eq!(kernel_accepted(&mut in_flight, 256, 6), [(3, 1)]);
    }

    #[test]
    fn a_message_beyond_the_pipeline_limit_is_blocked() {
        let mut in_flight = Stream::default();
        in_flight.add(10, 10, false);
        in_flight.begin_queued();
        assert_eq!(batches(&mut in_flight, 64, 11), [SentGroup { due: 10, blocked: 0, sent: 11, count: 1 }]);
        // It was full before the second message was due: that it was assigned late made no difference.
        in_flight.add(20, 25, true);
        assert!(answered(&mut in_flight, 100, true).0.is_some());
        in_flight.begin_queued();
        assert_eq!(batches(&mut in_flight, 128, 101), [SentGroup { due: 20, blocked: 80, sent: 101, count: 1 }]);
    }

    /// The client was late with both messages. Until it has sent the first one, there is room.
    #[test]
    fn a_message_is_not_blocked_before_the_pipeline_is_full() {
        let mut in_flight = Stream::default();
        in_flight.add(10, 50, false);
        in_flight.begin_queued();
        assert_eq!(batches(&mut in_flight, 64, 51), [SentGroup { due: 10, blocked: 0, sent: 51, count: 1 }]);
        in_flight.add(20, 55, true);
        assert!(answered(&mut in_flight, 100, true).0.is_some());
        in_flight.begin_queued();
        assert_eq!(batches(&mut in_flight, 128, 101), [SentGroup { due: 20, blocked: 49, sent: 101, count: 1 }]);
    }

    #[test]
    fn a_message_without_a_connection_is_blocked() {
        let mut in_flight = Stream::default();
        in_flight.add_blocked(10, 50);
        in_flight.begin_queued();
        assert_eq!(batches(&mut in_flight, 64, 51), [SentGroup { due: 10, blocked: 40, sent: 51, count: 1 }]);
    }

    #[test]
    fn a_message_that_the_kernel_does_not_accept_is_blocked() {
        let mut in_flight = Stream::default();
        in_flight.add(10, 10, false);
        in_flight.begin_queued();
        in_flight.block(|| 11);
        in_flight.add(20, 20, false);
        in_flight.begin_queued();
        let blocked = |due, blocked| SentGroup { due, blocked, sent: 50, count: 1 };
        assert_eq!(batches(&mut in_flight, 128, 50), [blocked(10, 40), blocked(20, 30)]);
        in_flight.add(60, 60, false);
        in_flight.begin_queued();
        assert_eq!(batches(&mut in_flight, 192, 61), [SentGroup { due: 60, blocked: 0, sent: 61, count: 1 }]);
    }
}
