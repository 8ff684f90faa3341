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

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Debts that the workers of a client share: a message of one worker waits behind the burst of another one.
#[derive(Debug)]
struct SharedDebts {
    workers: Box<[Published]>,
}

/// State of one worker for the others, on a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Published {
    /// When its oldest message in flight was sent; `u64::MAX` if none is in flight.
    oldest: AtomicU64,
    /// Largest debt, and the instant of the newest one.
    debt: AtomicU64,
    newest: AtomicU64,
    /// Latest instant at which one of its messages in flight was ready.
    ready: AtomicU64,
}

/// Other workers, when they were last asked.
#[derive(Debug, Clone, Copy)]
struct Others {
    oldest: u64,
    debt: u64,
    ready: u64,
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
    /// Maximum number of batches, and of entries of a window.
    max_entries: usize,
    /// The debts of all workers, if there are several, and the index of this one.
    shared: Option<(Arc<SharedDebts>, usize)>,
    others: Others,
    /// Number of the first batch that was sent after a reply last asked the other workers.
    unasked: u32,
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

impl SharedDebts {
    /// State of `workers` workers.
    fn new(workers: usize) -> Arc<Self> {
        let idle = || Published {
            oldest: AtomicU64::new(u64::MAX),
            debt: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            ready: AtomicU64::new(0),
        };
        Arc::new(Self { workers: (0..workers).map(|_| idle()).collect() })
    }

    /// Workers other than `index`, at `now`. The oldest message in flight of that one was sent at `oldest`.
    fn others(&self, index: usize, now: u64, oldest: u64) -> Others {
        let others = || self.workers.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, state)| state);
        let load = |value: &AtomicU64| value.load(Ordering::Acquire);
        // A worker without a message in flight sends its next one later than now.
        let others_oldest = others().map(|state| load(&state.oldest)).min().unwrap_or(now).min(now);
        let oldest = oldest.min(others_oldest);
        let alive = others().filter(|state| load(&state.newest) >= oldest);
        let debt = alive.map(|state| load(&state.debt)).max().unwrap_or_default();
        let ready = others().map(|state| load(&state.ready)).max().unwrap_or_default();
        Others { oldest: others_oldest, debt, ready }
    }
}

impl Default for DebtTracker {
    /// Tracker of the only worker.
    fn default() -> Self {
        Self {
            batches: VecDeque::new(),
            first: 0,
            next: 0,
            debts: RecentMax::default(),
            ready: RecentMax::default(),
            max_entries: MAX_ENTRIES,
            shared: None,
            others: Others { oldest: u64::MAX, debt: 0, ready: 0 },
            unasked: 0,
            smallest: u64::MAX,
            replies: 0,
        }
    }
}

impl DebtTracker {
    /// Trackers of `count` workers, which share their debts.
    pub(super) fn for_workers(count: usize) -> impl Iterator<Item = Self> {
        let shared = (count > 1).then(|| SharedDebts::new(count));
        let sharing = move |index| shared.clone().map(|shared| (shared, index));
        (0..count).map(move |index| Self { shared: sharing(index), ..Self::default() })
    }

    /// Adds `count` messages that were sent with these times, in the order in which they were written.
    ///
    /// `debt_before` is the debt of the reply that made room for a blocked message. It is 0 where no reply has to do with
    /// it, and `u64::MAX` where it is unknown: then all of the time blocked may be due to this client.
    pub(super) fn sent(&mut self, times: SendTimes, debt_before: u64, count: u64) -> BatchId {
        let inherited = if times.blocked > 0 { debt_before } else { 0 };
        let late = times.late(inherited);
        self.add_to_batch(times.sent, inherited, count);
        // A message that a punctual client sends later was sent before this one.
        let is_overtaken = self.ready.max().max(self.others.ready) > times.sent.saturating_sub(late);
        self.debts.push(times.sent, if is_overtaken { UNBOUNDED } else { late }, self.max_entries);
        self.ready.push(times.sent, times.sent.saturating_sub(times.send_delay), self.max_entries);
        self.publish();
        BatchId(self.next.wrapping_sub(1))
    }

    fn add_to_batch(&mut self, sent: u64, inherited: u64, count: u64) {
        let is_full = self.batches.len() >= self.max_entries;
        match self.batches.back_mut() {
            Some(batch) if batch.sent == sent || is_full => {
                batch.in_flight += count;
                batch.inherited = batch.inherited.max(inherited);
                if batch.sent == sent {
                    return;
                }
            }
            _ => {
                self.batches.push_back(Batch { sent, in_flight: count, inherited });
                self.next = self.next.wrapping_add(1);
            }
        }
        self.ask_others(sent);
        self.evict();
    }

    /// Returns the debt of a reply that arrived at `arrived`, to a message of `batch` that was sent with these times. It is not
    /// exact if it may have arrived earlier; then it does not count for the smallest service time.
    pub(super) fn answered(&mut self, batch: BatchId, times: SendTimes, arrived: u64, is_exact: bool) -> u64 {
        // Another worker publishes a message right after it was sent, maybe after this batch.
        if self.shared.is_some() && batch.0.wrapping_sub(self.unasked) <= self.next.wrapping_sub(self.unasked) {
            self.ask_others(arrived);
            self.unasked = self.next;
        }
        let service_time = arrived.saturating_sub(times.sent);
        if is_exact {
            self.smallest = self.smallest.min(service_time);
            self.replies = MIN_REPLIES.min(self.replies + 1);
        }
        let inherited = self.batches.get(self.index(batch)).map_or(UNBOUNDED, |batch| batch.inherited);
        let late = times.late(inherited);
        let in_flight = self.debts.max().max(self.others.debt);
        let debt = late.max(in_flight).min(late.saturating_add(service_time.saturating_sub(self.base())));
        self.debts.push(arrived, debt, self.max_entries);
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
        self.evict();
        self.publish();
    }

    /// At most the service time of a message that does not wait.
    fn base(&self) -> u64 {
        if self.replies < MIN_REPLIES { 0 } else { self.smallest }
    }

    fn index(&self, batch: BatchId) -> usize {
        batch.0.wrapping_sub(self.first) as usize
    }

    /// When the oldest message in flight was sent; `u64::MAX` if none is in flight.
    fn oldest(&self) -> u64 {
        self.batches.front().map_or(u64::MAX, |batch| batch.sent)
    }

    /// Removes what was over before the oldest message in flight was sent.
    fn evict(&mut self) {
        let oldest = self.oldest();
        self.ready.evict_before(oldest);
        self.debts.evict_before(oldest.min(self.others.oldest));
    }

    fn ask_others(&mut self, now: u64) {
        if let Some((shared, index)) = &self.shared {
            self.others = shared.others(*index, now, self.oldest());
        }
    }

    fn publish(&self) {
        if let Some((shared, index)) = &self.shared {
            let state = &shared.workers[*index];
            state.oldest.store(self.oldest(), Ordering::Release);
            state.debt.store(self.debts.max(), Ordering::Release);
            state.newest.store(self.debts.newest(), Ordering::Release);
            state.ready.store(self.ready.max(), Ordering::Release);
        }
    }
}

impl SendTimes {
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
    /// Adds a value. Instants that go back are taken as the last one, which keeps the value longer. Beyond
    /// `max_entries`, a value is taken as the larger one before it.
    fn push(&mut self, time: u64, value: u64, max_entries: usize) {
        let time = self.entries.back().map_or(time, |(last, _)| time.max(*last));
        while self.entries.back().is_some_and(|(_, smaller)| *smaller <= value) {
            self.entries.pop_back();
        }
        let is_full = self.entries.len() >= max_entries;
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

    fn max(&self) -> u64 {
        self.entries.front().map_or(0, |(_, value)| *value)
    }

    /// Instant of the newest entry.
    fn newest(&self) -> u64 {
        self.entries.back().map_or(0, |(time, _)| *time)
    }
}

#[cfg(test)]
mod tests;
