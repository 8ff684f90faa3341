//! Connector: decides which connection is opened next, limits connects in progress, and keeps track of retries.

mod backoff;
mod connect_rate;
mod port_search;

pub(super) use connect_rate::ConnectRate;

use super::failure::Failure;
use crate::event_loop::monotonic_time;
use crate::results::PortSearch;
use backoff::Backoff;
use port_search::ConnectSampler;
use std::collections::VecDeque;
use std::iter::{Peekable, StepBy};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// One attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::client) struct ConnectAttempt {
    /// Number of the connection, counted from 1 over the whole client.
    pub(in crate::client) number: u32,
    /// Index of the target's address. A DNS answer of at most 65,535 bytes (RFC 1035) holds fewer addresses than a
    /// `u16` counts.
    pub(in crate::client) address: u16,
    /// How many times all addresses were tried before.
    pub(in crate::client) retries: u32,
    /// Last failure, if this is a retry.
    pub(in crate::client) failure: Option<Failure>,
    /// Number of earlier connections with this number, and how many messages they exchanged.
    pub(in crate::client) generation: u64,
    pub(in crate::client) done: u64,
    /// When the first address was tried, in this round of addresses. Once connected: since when.
    pub(in crate::client) since: Instant,
}

/// Opens one worker's share of the connections.
#[derive(Debug)]
pub(in crate::client) struct Connector {
    numbers: Peekable<StepBy<RangeInclusive<usize>>>,
    /// Spaces the connects; with `None` a connect starts as soon as the limit allows it.
    connect_rate: Option<ConnectRate>,
    /// Attempts that found the backlog full, oldest first. They count as in progress.
    postponed: VecDeque<ConnectAttempt>,
    /// Attempts that failed and wait for their retry.
    backoff: Backoff,
    /// Attempts to start as soon as the limit allows it: retries that are due, and replacements of closed connections.
    requeued: VecDeque<ConnectAttempt>,
    /// Number of connects that wait for an event.
    pending: usize,
    max_in_progress: usize,
    sampler: ConnectSampler,
    /// The connector is in the ready queue.
    queued: bool,
    exhausted: bool,
}

impl Connector {
    /// When the first connect is due; none without a connect rate.
    pub(in crate::client) fn rate_begin(&self) -> Option<Instant> {
        self.connect_rate.as_ref().map(ConnectRate::begin)
    }

    /// Opens the connections `numbers`, with at most `max_in_progress` connects at a time. The connector starts in the
    /// ready queue.
    pub(in crate::client) fn new(
        numbers: StepBy<RangeInclusive<usize>>,
        connect_rate: Option<ConnectRate>,
        max_in_progress: usize,
        retry_delay: Duration,
    ) -> Self {
        let mut numbers = numbers.peekable();
        Self {
            exhausted: numbers.peek().is_none(),
            numbers,
            connect_rate,
            postponed: VecDeque::new(),
            backoff: Backoff::new(retry_delay),
            requeued: VecDeque::new(),
            pending: 0,
            max_in_progress,
            sampler: ConnectSampler::default(),
            queued: true,
        }
    }

    /// The next connect to start, if the limit and the rate allow it.
    pub(in crate::client) fn next(&mut self) -> Option<ConnectAttempt> {
        if !self.may_connect() {
            return None;
        }
        let since = monotonic_time();
        if self.connect_rate.as_mut().is_some_and(|connect_rate| !connect_rate.take(since)) {
            return None;
        }
        self.sampler.begin();
        if let Some(attempt) = self.requeued.pop_front() {
            return Some(ConnectAttempt { since, ..attempt });
        }
        let number = self.numbers.next().map(|number| u32::try_from(number).expect("the configuration is checked"));
        self.exhausted = self.numbers.peek().is_none();
        number.map(|number| ConnectAttempt {
            number,
            address: 0,
            retries: 0,
            failure: None,
            generation: 0,
            done: 0,
            since,
        })
    }

    /// Counts a connect that waits for an event.
    pub(in crate::client) fn attempt_started(&mut self) {
        self.sampler.end();
        self.pending += 1;
    }

    /// The longest search for a free local port, if connects were slow because of it.
    pub(in crate::client) fn port_search(&self) -> Option<PortSearch> {
        self.sampler.search
    }

    /// A connect in progress has succeeded or failed.
    pub(in crate::client) fn attempt_finished(&mut self) {
        self.pending -= 1;
    }

    /// Queues `attempt` behind the other postponed ones. Returns whether it is the only one; the caller then arms a
    /// timer.
    pub(in crate::client) fn postpone(&mut self, attempt: ConnectAttempt) -> bool {
        self.postponed.push_back(attempt);
        self.postponed.len() == 1
    }

    /// Removes the oldest postponed attempt.
    pub(in crate::client) fn next_postponed(&mut self) -> Option<ConnectAttempt> {
        self.postponed.pop_front()
    }

    /// Puts the oldest attempt back to the front.
    pub(in crate::client) fn postpone_again(&mut self, attempt: ConnectAttempt) {
        self.postponed.push_front(attempt);
    }

    /// Whether an attempt is postponed.
    pub(in crate::client) fn has_postponed(&self) -> bool {
        !self.postponed.is_empty()
    }

    /// Schedules a retry of `attempt`, of which all addresses have failed. Returns when the next retry of any attempt
    /// is due, and the delay of this one.
    pub(in crate::client) fn back_off(
        &mut self,
        attempt: ConnectAttempt,
        failure: Failure,
        now: Instant,
    ) -> (Option<Instant>, Duration) {
        let attempt = ConnectAttempt { address: 0, retries: attempt.retries + 1, failure: Some(failure), ..attempt };
        let delay = self.backoff.delay_of(attempt);
        self.backoff.add(attempt, now + delay);
        (self.backoff.next_instant(), delay)
    }

    /// Queues the retries that are due at `now`. Returns when the next one is due.
    pub(in crate::client) fn backoff_expired(&mut self, now: Instant) -> Option<Instant> {
        self.skip_idle_time(now);
        self.requeued.extend(std::iter::from_fn(|| self.backoff.next_due(now)));
        self.backoff.next_instant()
    }

    /// Queues a new connection that replaces the one of `attempt`, which exchanged `messages` messages.
    pub(in crate::client) fn reconnect(&mut self, attempt: ConnectAttempt, messages: u64, now: Instant) {
        self.skip_idle_time(now);
        let ConnectAttempt { generation, done, .. } = attempt;
        let next = ConnectAttempt {
            address: 0,
            retries: 0,
            failure: None,
            generation: generation + 1,
            done: done + messages,
            ..attempt
        };
        self.requeued.push_back(next);
    }

    /// Stops replacements and retries. Returns the attempts that waited for one.
    pub(in crate::client) fn stop_reconnecting(&mut self) -> impl Iterator<Item = ConnectAttempt> + use<> {
        std::mem::take(&mut self.requeued).into_iter().chain(self.backoff.stop())
    }

    /// The connector was taken from the ready queue.
    pub(in crate::client) fn dequeue(&mut self) {
        self.queued = false;
    }

    /// Whether the caller has to put the connector into the ready queue; it then counts as queued.
    pub(in crate::client) fn enqueue(&mut self, now: Instant) -> bool {
        let is_time = self.connect_rate.as_ref().is_none_or(|connect_rate| connect_rate.is_due(now));
        let wants = !self.queued && is_time && self.may_connect();
        self.queued |= wants;
        wants
    }

    /// When to arm a precise timer for the next connect, if one is needed.
    pub(in crate::client) fn precise_deadline(&mut self) -> Option<Instant> {
        let waits = !self.queued && self.may_connect();
        self.connect_rate.as_mut().filter(|_| waits)?.precise_deadline()
    }

    /// The precise timer has expired.
    pub(in crate::client) fn timer_expired(&mut self) {
        if let Some(connect_rate) = &mut self.connect_rate {
            connect_rate.timer_expired();
        }
    }

    /// Stops connecting. Returns the attempts that waited to be started.
    pub(in crate::client) fn stop(&mut self) -> VecDeque<ConnectAttempt> {
        self.exhausted = true;
        let mut waiting = std::mem::take(&mut self.postponed);
        waiting.append(&mut self.requeued);
        waiting.extend(self.backoff.stop());
        waiting
    }

    /// Whether no connect is left to start. Connects in progress do not count.
    pub(in crate::client) fn is_done(&self) -> bool {
        self.exhausted && self.postponed.is_empty() && self.requeued.is_empty() && self.backoff.is_empty()
    }

    /// To be called before work is queued. If there was none, the start times that passed meanwhile are dropped.
    fn skip_idle_time(&mut self, now: Instant) {
        let was_idle = !self.has_work();
        if let Some(connect_rate) = self.connect_rate.as_mut().filter(|_| was_idle) {
            connect_rate.skip(now);
        }
    }

    fn has_work(&self) -> bool {
        !self.exhausted || !self.requeued.is_empty()
    }

    fn may_connect(&self) -> bool {
        self.has_work() && self.pending + self.postponed.len() < self.max_in_progress
    }
}
