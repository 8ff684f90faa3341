//! Which connection is to be dialled next: their numbers, how many may be in progress, and what has to be tried again.

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
    postponed: Option<Dial>,
    in_progress: usize,
    most_in_progress: usize,
    /// In the ready queue already, or waiting for its timer.
    queued: bool,
    exhausted: bool,
}

impl Dialer {
    /// Dials every `step`th connection from `first` to `last`, `most_in_progress` at a time.
    pub(super) fn new(first: usize, last: usize, step: usize, most_in_progress: usize) -> Self {
        let numbers = (first..=last).step_by(step);
        Self { numbers, postponed: None, in_progress: 0, most_in_progress, queued: true, exhausted: false }
    }

    /// The next connection to dial, if one more may be in progress.
    pub(super) fn next(&mut self) -> Option<Dial> {
        if self.in_progress >= self.most_in_progress || self.exhausted {
            return None;
        }
        let fresh = |number| Dial { number, address: 0, started: Instant::now() };
        let dial = self.postponed.take().or_else(|| self.numbers.next().map(fresh));
        self.exhausted = dial.is_none();
        dial
    }

    /// One more is in progress.
    pub(super) fn begun(&mut self) {
        self.in_progress += 1;
    }

    /// One fewer is in progress.
    pub(super) fn ended(&mut self) {
        self.in_progress -= 1;
    }

    /// `dial` has to be tried again after a pause, before any other.
    pub(super) fn postpone(&mut self, dial: Dial) {
        self.postponed = Some(dial);
    }

    /// Whether the next dial has to wait for a pause to pass.
    pub(super) fn is_paused(&self) -> bool {
        self.postponed.is_some()
    }

    /// Its place in the ready queue, or its timer, has come up.
    pub(super) fn dequeue(&mut self) {
        self.queued = false;
    }

    /// Whether it should take a place in the ready queue, which it then has.
    pub(super) fn enqueue(&mut self) -> bool {
        let wants = !self.queued && !self.exhausted && self.in_progress < self.most_in_progress;
        self.queued |= wants;
        wants
    }

    /// It waits for a timer, as if it stood in the queue.
    pub(super) fn pause(&mut self) {
        self.queued = true;
    }

    /// Dial no more.
    pub(super) fn stop(&mut self) {
        self.postponed = None;
        self.exhausted = true;
    }

    /// Whether there is nothing left to dial. What is in progress is not counted.
    pub(super) fn is_done(&self) -> bool {
        self.exhausted && self.postponed.is_none()
    }
}
