//! Any service, answering late: for clients that must be tested with a slow server.

use super::{Input, Output, Service, Wait};
use crate::units::later;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many arrivals are told apart at most. Whoever sends faster than that has the later ones lumped together, and
/// shown when the last of them is due: late by one more delay at most, and never early.
const MOST_ARRIVALS: usize = 256;

/// Shows a service everything so much later than it came, the opening and the end included: so whatever it answers, it answers
/// that much later. What has come and is not due yet waits in the input buffer; when that is full, the peer waits.
///
/// The instants are kept to the microsecond. They count from the round of the loop in which the bytes were read.
#[derive(Debug)]
pub struct Delayed<S> {
    service: S,
    delay: Duration,
    /// When the service may first be called.
    opening: Option<Instant>,
    /// When the end of the input is shown.
    ending: Option<Instant>,
    /// When bytes that wait in the input are shown, and how many. Owns no heap while there are none.
    arrivals: VecDeque<(Instant, usize)>,
    /// How many bytes the service was shown and has left in the input.
    shown: usize,
    /// How many bytes it will be shown.
    hidden: usize,
}

impl<S: Service> Delayed<S> {
    /// `service`, later by `delay`.
    pub fn new(service: S, delay: Duration) -> Self {
        Self { service, delay, opening: None, ending: None, arrivals: VecDeque::new(), shown: 0, hidden: 0 }
    }

    /// Writes down what has come since the last call.
    fn note(&mut self, input: &Input<'_>, now: Instant) {
        let due = later(now, self.delay);
        let count = input.len() - self.shown - self.hidden;
        self.hidden += count;
        let is_full = self.arrivals.len() == MOST_ARRIVALS;
        match self.arrivals.back_mut() {
            _ if count == 0 => {}
            Some((instant, bytes)) if is_full || *instant == due => {
                *instant = due;
                *bytes += count;
            }
            _ => self.arrivals.push_back((due, count)),
        }
        if input.has_ended() {
            self.ending.get_or_insert(due);
        }
    }

    /// Shows what is due.
    fn show(&mut self, now: Instant) {
        while let Some(&(_, count)) = self.arrivals.front().filter(|(due, _)| *due <= now) {
            self.arrivals.pop_front();
            self.hidden -= count;
            self.shown += count;
        }
        if self.arrivals.is_empty() {
            self.arrivals = VecDeque::new();
        }
    }

    /// When there will be more to show.
    fn next(&self, now: Instant) -> Option<Instant> {
        let ending = self.ending.filter(|&due| due > now);
        self.arrivals.front().map(|(due, _)| *due).or(ending)
    }
}

impl<S: Service> Service for Delayed<S> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        let opening = *self.opening.get_or_insert(later(now, self.delay));
        self.note(input, now);
        if opening > now {
            return Wait::PreciseDeadline(opening);
        }
        self.show(now);
        let has_ended = self.ending.is_some_and(|due| due <= now);
        let mut visible = input.first(self.shown, has_ended);
        let wait = self.service.serve(&mut visible, output, now);
        self.shown = visible.len();
        match (wait, self.next(now)) {
            (Wait::Input | Wait::Either, Some(next)) => Wait::PreciseDeadline(next),
            (Wait::Deadline(instant) | Wait::PreciseDeadline(instant), Some(next)) => {
                Wait::PreciseDeadline(instant.min(next))
            }
            (wait, _) => wait,
        }
    }

    fn error_detail(&self) -> Option<String> {
        self.service.error_detail()
    }

    fn held_bytes(&self) -> usize {
        self.arrivals.capacity() * size_of::<(Instant, usize)>() + self.service.held_bytes()
    }
}
