//! Which connection is to be dialled next: their numbers, how many may be in progress, and what has to be tried again.

use super::backoff::Backoff;
use super::connect_rate::ConnectRate;
use super::failure::Failure;
use std::collections::VecDeque;
use std::iter::{Peekable, StepBy};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// One attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectAttempt {
    /// The number of the connection, counted from 1 over the whole client.
    pub(super) number: usize,
    /// Which of the target's addresses is tried: a name has fewer than its answer (RFC 1035, 65,535 bytes) has room for.
    pub(super) address: u16,
    /// How many times all of the addresses were tried before.
    pub(super) retries: u32,
    /// Why it failed the last time, if it is tried again.
    pub(super) failure: Option<Failure>,
    /// How many connections with this number there were before, and how many messages they exchanged.
    pub(super) round: u64,
    pub(super) done: u64,
    /// When the first address was tried, this time.
    pub(super) started: Instant,
}

/// The dialling of one worker's share of the connections.
#[derive(Debug)]
pub(super) struct Connector {
    numbers: Peekable<StepBy<RangeInclusive<usize>>>,
    /// How they follow each other, unless as soon as there is a place.
    connect_rate: Option<ConnectRate>,
    /// Found the backlog full, oldest first. They count as in progress.
    postponed: VecDeque<ConnectAttempt>,
    /// Refused or timed out, and not to be tried again before their time.
    backoff: Backoff,
    /// Refused or timed out before, and to be tried again as soon as there is a place.
    again: VecDeque<ConnectAttempt>,
    /// Connects that an event will tell of.
    pending: usize,
    most_in_progress: usize,
    /// In the ready queue already.
    queued: bool,
    exhausted: bool,
}

impl Connector {
    /// Dials the connections with these numbers, `most_in_progress` at a time. It stands in the ready queue from the
    /// beginning.
    pub(super) fn new(
        numbers: StepBy<RangeInclusive<usize>>,
        connect_rate: Option<ConnectRate>,
        most_in_progress: usize,
        retry_delay: Duration,
    ) -> Self {
        let mut numbers = numbers.peekable();
        Self {
            exhausted: numbers.peek().is_none(),
            numbers,
            connect_rate,
            postponed: VecDeque::new(),
            backoff: Backoff::new(retry_delay),
            again: VecDeque::new(),
            pending: 0,
            most_in_progress,
            queued: true,
        }
    }

    /// The next connection to dial, if one more may be in progress and it is time.
    pub(super) fn next(&mut self) -> Option<ConnectAttempt> {
        if !self.may_connect() {
            return None;
        }
        let started = Instant::now();
        if self.connect_rate.as_mut().is_some_and(|connect_rate| !connect_rate.take(started)) {
            return None;
        }
        if let Some(attempt) = self.again.pop_front() {
            return Some(ConnectAttempt { started, ..attempt });
        }
        let number = self.numbers.next();
        self.exhausted = self.numbers.peek().is_none();
        number.map(|number| ConnectAttempt {
            number,
            address: 0,
            retries: 0,
            failure: None,
            round: 0,
            done: 0,
            started,
        })
    }

    /// An event will tell what becomes of one more.
    pub(super) fn begun(&mut self) {
        self.pending += 1;
    }

    /// An event told what became of one.
    pub(super) fn ended(&mut self) {
        self.pending -= 1;
    }

    /// `attempt` has to be tried again, after those who wait already. Whether it is the first who waits: then a timer has to
    /// be armed.
    pub(super) fn postpone(&mut self, attempt: ConnectAttempt) -> bool {
        self.postponed.push_back(attempt);
        self.postponed.len() == 1
    }

    /// The one that has waited longest to be tried again.
    pub(super) fn next_postponed(&mut self) -> Option<ConnectAttempt> {
        self.postponed.pop_front()
    }

    /// The one that has waited longest has to wait on.
    pub(super) fn postpone_again(&mut self, attempt: ConnectAttempt) {
        self.postponed.push_front(attempt);
    }

    /// Whether somebody waits to be tried again.
    pub(super) fn has_postponed(&self) -> bool {
        !self.postponed.is_empty()
    }

    /// All addresses of `attempt` have failed, and it is to be tried again some time after `now`. Returns when the next one is,
    /// and how long this one waits.
    pub(super) fn back_off(
        &mut self,
        attempt: ConnectAttempt,
        failure: Failure,
        now: Instant,
    ) -> (Option<Instant>, Duration) {
        let attempt = ConnectAttempt { address: 0, retries: attempt.retries + 1, failure: Some(failure), ..attempt };
        let delay = self.backoff.delay_of(attempt);
        self.backoff.wait(attempt, now + delay);
        (self.backoff.next_instant(), delay)
    }

    /// Lets those be tried again whose time has come; returns when the next one's does.
    pub(super) fn end_backoff(&mut self, now: Instant) -> Option<Instant> {
        self.end_idleness(now);
        self.again.extend(std::iter::from_fn(|| self.backoff.next_due(now)));
        self.backoff.next_instant()
    }

    /// The connection of `attempt` has done its share: another one takes its place.
    pub(super) fn follow(&mut self, attempt: ConnectAttempt, messages: u64, now: Instant) {
        self.end_idleness(now);
        let ConnectAttempt { round, done, .. } = attempt;
        let next = ConnectAttempt {
            address: 0,
            retries: 0,
            failure: None,
            round: round + 1,
            done: done + messages,
            ..attempt
        };
        self.again.push_back(next);
    }

    /// Lets no connection take the place of another one any more, nor be tried again. Returns those that waited for that.
    pub(super) fn stop_following(&mut self) -> impl Iterator<Item = ConnectAttempt> + use<> {
        std::mem::take(&mut self.again).into_iter().chain(self.backoff.stop())
    }

    /// Its place in the ready queue has come up.
    pub(super) fn dequeue(&mut self) {
        self.queued = false;
    }

    /// Whether it should take a place in the ready queue, which it then has.
    pub(super) fn enqueue(&mut self, now: Instant) -> bool {
        let is_time = self.connect_rate.as_ref().is_none_or(|connect_rate| connect_rate.is_due(now));
        let wants = !self.queued && is_time && self.may_connect();
        self.queued |= wants;
        wants
    }

    /// When it should be looked after again, if that has to be armed.
    pub(super) fn precise_deadline(&mut self) -> Option<Instant> {
        let waits = !self.queued && self.may_connect();
        self.connect_rate.as_mut().filter(|_| waits)?.precise_deadline()
    }

    /// The alarm has come.
    pub(super) fn end_timer(&mut self) {
        if let Some(connect_rate) = &mut self.connect_rate {
            connect_rate.end_timer();
        }
    }

    /// Dial no more. Returns those who waited to be tried again.
    pub(super) fn stop(&mut self) -> VecDeque<ConnectAttempt> {
        self.exhausted = true;
        let mut waiting = std::mem::take(&mut self.postponed);
        waiting.append(&mut self.again);
        waiting.extend(self.backoff.stop());
        waiting
    }

    /// Whether there is nothing left to dial. What an event will tell of is not counted.
    pub(super) fn is_done(&self) -> bool {
        self.exhausted && self.postponed.is_empty() && self.again.is_empty() && self.backoff.is_empty()
    }

    /// Somebody wants to be dialled. If nobody did until now, the times at which somebody could have been are gone.
    fn end_idleness(&mut self, now: Instant) {
        let was_idle = !self.has_work();
        if let Some(connect_rate) = self.connect_rate.as_mut().filter(|_| was_idle) {
            connect_rate.skip(now);
        }
    }

    fn has_work(&self) -> bool {
        !self.exhausted || !self.again.is_empty()
    }

    fn may_connect(&self) -> bool {
        self.has_work() && self.pending + self.postponed.len() < self.most_in_progress
    }
}
