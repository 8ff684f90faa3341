//! Debt: bound on how much this client's own lateness may have delayed a reply.
//!
//! A late client sends a burst, the burst queues in the server, and that wait counts as service time. A punctual client
//! sends each message at the instant it is ready. Its reply would have arrived at most the debt earlier. Two bounds hold,
//! and the debt is the smaller one:
//!
//! - **order:** a queue that serves in the order of arrival delays a message by at most its own lateness, or by the debt
//!   of a message in flight when it was sent. This holds if a punctual client sends the messages in the same order.
//! - **wait:** in any server the delay is at most the lateness plus the wait, which is the service time minus the
//!   smallest service time.
//!
//! `docs/methodology.md` has the proofs and their conditions. Times are nanoseconds of one clock, given as arguments.

use super::tcp::in_flight::MessageTimes;
use std::collections::VecDeque;

/// Replies before the smallest service time counts as the time of a message that did not wait. Service times may be
/// exponential; the smallest of 100 is a hundredth of their mean.
const MIN_REPLIES: u32 = 100;

/// Maximum number of batches, and of entries of a window. A message that stays unanswered for 10 s keeps all batches
/// sent after it; beyond this number they are joined, which can only enlarge a debt.
const MAX_ENTRIES: usize = 4096;

/// Larger than any debt: only the wait bounds the delay.
const UNBOUNDED: u64 = u64::MAX;

/// Messages that were sent at the same instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BatchId(u32);

/// When a message was sent, and why not earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SendTimes {
    /// When it was sent.
    pub(super) sent: u64,
    /// How long before that it was ready: the delay of this client.
    pub(super) send_delay: u64,
    /// How long before it was ready it was due: the server left no room.
    pub(super) blocked: u64,
}

/// Messages in flight of one worker, by the instant they were sent.
#[derive(Debug)]
pub(super) struct DebtTracker {
    /// Batches in the order they were sent. The first one has messages in flight.
    batches: VecDeque<Batch>,
    /// Numbers of the first batch, and of the one that will come next.
    first: u32,
    next: u32,
    /// Lateness of the messages, and debts of the replies, since the oldest message in flight was sent.
    debts: RecentMax,
    /// Instants at which those messages were ready.
    ready: RecentMax,
    /// Smallest service time, and the number of replies up to [`MIN_REPLIES`].
    smallest: u64,
    replies: u32,
}

#[derive(Debug)]
struct Batch {
    sent: u64,
    in_flight: u64,
    /// Largest debt of the replies that unblocked its messages.
    inherited: u64,
}

impl Default for DebtTracker {
    fn default() -> Self {
        let (debts, ready) = (RecentMax::default(), RecentMax::default());
        Self { batches: VecDeque::new(), first: 0, next: 0, debts, ready, smallest: u64::MAX, replies: 0 }
    }
}

impl DebtTracker {
    /// Adds `count` messages that were sent with these times, in the order in which they were written.
    ///
    /// `debt_before` is the debt of the reply that made room for a blocked message. It is 0 where no reply has to do with
    /// it, and `u64::MAX` where it is unknown: then all of the time blocked may be due to this client.
    pub(super) fn sent(&mut self, times: SendTimes, debt_before: u64, count: u64) -> BatchId {
        let inherited = if times.blocked > 0 { debt_before } else { 0 };
        let late = times.late(inherited);
        if self.batches.is_empty() {
            self.debts.clear();
            self.ready.clear();
        }
        // Another message that a punctual client sends later was sent before this one.
        let is_overtaken = self.ready.max() > times.sent.saturating_sub(late);
        self.debts.push(times.sent, if is_overtaken { UNBOUNDED } else { late });
        self.ready.push(times.sent, times.sent.saturating_sub(times.send_delay));
        let is_full = self.batches.len() >= MAX_ENTRIES;
        match self.batches.back_mut() {
            Some(batch) if batch.sent == times.sent || is_full => {
                batch.in_flight += count;
                batch.inherited = batch.inherited.max(inherited);
            }
            _ => {
                self.batches.push_back(Batch { sent: times.sent, in_flight: count, inherited });
                self.next = self.next.wrapping_add(1);
            }
        }
        BatchId(self.next.wrapping_sub(1))
    }

    /// Returns the debt of a reply that arrived at `arrived`, to a message of `batch` that was sent with these times.
    pub(super) fn answered(&mut self, batch: BatchId, times: SendTimes, arrived: u64) -> u64 {
        let service_time = arrived.saturating_sub(times.sent);
        self.smallest = self.smallest.min(service_time);
        self.replies = MIN_REPLIES.min(self.replies + 1);
        let inherited = self.batches.get(self.index(batch)).map_or(UNBOUNDED, |batch| batch.inherited);
        let late = times.late(inherited);
        let debt = late.max(self.debts.max()).min(late.saturating_add(service_time - self.base()));
        self.debts.push(arrived, debt);
        self.forget(batch, 1);
        debt
    }

    /// Removes `count` messages of `batch` that will not be answered.
    pub(super) fn forget(&mut self, batch: BatchId, count: u64) {
        let index = self.index(batch);
        if let Some(batch) = self.batches.get_mut(index) {
            batch.in_flight = batch.in_flight.saturating_sub(count);
        }
        while self.batches.front().is_some_and(|batch| batch.in_flight == 0) {
            self.batches.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        if let Some(oldest) = self.batches.front() {
            self.debts.evict_before(oldest.sent);
            self.ready.evict_before(oldest.sent);
        }
    }

    /// At most the service time of a message that does not wait.
    fn base(&self) -> u64 {
        if self.replies < MIN_REPLIES { 0 } else { self.smallest }
    }

    fn index(&self, batch: BatchId) -> usize {
        batch.0.wrapping_sub(self.first) as usize
    }
}

impl SendTimes {
    /// Those of a message that was sent.
    #[inline]
    pub(super) fn of(MessageTimes { due, blocked, sent, .. }: MessageTimes) -> Self {
        let sent = sent.unwrap_or(due + blocked);
        Self { sent, send_delay: sent.saturating_sub(due + blocked), blocked }
    }

    /// How much later than by a punctual client it was sent, at most. A reply with a debt of `inherited` unblocked it.
    fn late(self, inherited: u64) -> u64 {
        self.send_delay + self.blocked.min(inherited)
    }
}

/// Maximum of the values since an instant: entries in the order of time, each larger than all later ones.
#[derive(Debug, Default)]
struct RecentMax {
    entries: VecDeque<(u64, u64)>,
}

impl RecentMax {
    /// Adds a value. Instants that go back are taken as the last one, which keeps the value longer.
    fn push(&mut self, time: u64, value: u64) {
        let time = self.entries.back().map_or(time, |(last, _)| time.max(*last));
        while self.entries.back().is_some_and(|(_, smaller)| *smaller <= value) {
            self.entries.pop_back();
        }
        let is_full = self.entries.len() >= MAX_ENTRIES;
        match self.entries.back_mut() {
            Some(last) if is_full => last.0 = time,
            _ => self.entries.push_back((time, value)),
        }
    }

    fn evict_before(&mut self, time: u64) {
        while self.entries.front().is_some_and(|(instant, _)| *instant < time) {
            self.entries.pop_front();
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
    }

    fn max(&self) -> u64 {
        self.entries.front().map_or(0, |(_, value)| *value)
    }
}

#[cfg(test)]
mod tests;
