//! Which connection is to be dialled next: their numbers, how many may be in progress, and what has to be tried again.

use std::collections::VecDeque;
use std::iter::StepBy;
use std::ops::RangeInclusive;
use std::time::Instant;

/// One attempt to connect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dial {
    /// The number of the connection, counted from 1 over the whole client.
    pub(super) number: usize,
    /// Which of the target's addresses is tried.
    pub(super) address: usize,
    /// When the first address was tried.
    pub(super) started: Instant,
}

/// The dialling of one worker's share of the connections.
#[derive(Debug)]
pub(super) struct Dialer {
    numbers: StepBy<RangeInclusive<usize>>,
    /// Found the backlog full, oldest first. They count as in progress.
    postponed: VecDeque<Dial>,
    /// Connects that an event will tell of.
    pending: usize,
    most_in_progress: usize,
    /// In the ready queue already.
    queued: bool,
    exhausted: bool,
}

impl Dialer {
    /// Dials every `step`th connection from `first` to `last`, `most_in_progress` at a time. It stands in the ready queue
    /// from the beginning.
    pub(super) fn new(first: usize, last: usize, step: usize, most_in_progress: usize) -> Self {
        let numbers = (first..=last).step_by(step);
        Self { numbers, postponed: VecDeque::new(), pending: 0, most_in_progress, queued: true, exhausted: false }
    }

    /// The next connection to dial, if one more may be in progress.
    pub(super) fn next(&mut self) -> Option<Dial> {
        if !self.may_dial() {
            return None;
        }
        let number = self.numbers.next();
        self.exhausted = number.is_none();
        number.map(|number| Dial { number, address: 0, started: Instant::now() })
    }

    /// An event will tell what becomes of one more.
    pub(super) fn begun(&mut self) {
        self.pending += 1;
    }

    /// An event told what became of one.
    pub(super) fn ended(&mut self) {
        self.pending -= 1;
    }

    /// `dial` has to be tried again, after those who wait already. Whether it is the first who waits: then a timer has to
    /// be armed.
    pub(super) fn postpone(&mut self, dial: Dial) -> bool {
        self.postponed.push_back(dial);
        self.postponed.len() == 1
    }

    /// The one that has waited longest to be tried again.
    pub(super) fn next_postponed(&mut self) -> Option<Dial> {
        self.postponed.pop_front()
    }

    /// The one that has waited longest has to wait on.
    pub(super) fn postpone_again(&mut self, dial: Dial) {
        self.postponed.push_front(dial);
    }

    /// Whether somebody waits to be tried again.
    pub(super) fn has_postponed(&self) -> bool {
        !self.postponed.is_empty()
    }

    /// Its place in the ready queue has come up.
    pub(super) fn dequeue(&mut self) {
        self.queued = false;
    }

    /// Whether it should take a place in the ready queue, which it then has.
    pub(super) fn enqueue(&mut self) -> bool {
        let wants = !self.queued && self.may_dial();
        self.queued |= wants;
        wants
    }

    /// Dial no more. Returns those who waited to be tried again.
    pub(super) fn stop(&mut self) -> VecDeque<Dial> {
        self.exhausted = true;
        std::mem::take(&mut self.postponed)
    }

    /// Whether there is nothing left to dial. What an event will tell of is not counted.
    pub(super) fn is_done(&self) -> bool {
        self.exhausted && self.postponed.is_empty()
    }

    fn may_dial(&self) -> bool {
        !self.exhausted && self.pending + self.postponed.len() < self.most_in_progress
    }
}
