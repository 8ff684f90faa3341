//! Wrapper that delays a service, to test clients with a slow server.

use super::{CloseReason, Context, Input, Output, Service, Wait};
use crate::units::later;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Maximum number of separate arrivals. When input arrives faster, later arrivals are merged and shown when the last of
/// them is due. They are late by at most one more delay, and never early.
const MAX_ARRIVALS: usize = 256;

/// Passes everything to a service after a delay, including the opening and the end, so that each answer is delayed as
/// well. Input that is not due yet stays in the input buffer; when that is full, reading stops.
///
/// Delays have microsecond resolution. They count from the round of the loop in which the bytes were read.
#[derive(Debug)]
pub struct Delayed<S> {
    service: S,
    delay: Duration,
    /// When the service may first be called.
    opens_at: Option<Instant>,
    /// The service may be called.
    is_open: bool,
    /// When the end of the input is shown.
    ends_at: Option<Instant>,
    /// The end of the input was shown.
    has_ended: bool,
    /// When buffered bytes are shown, and how many. Owns no heap while empty.
    arrivals: VecDeque<(Instant, usize)>,
    /// Number of bytes that were shown to the service and are still in the input.
    shown: usize,
    /// Number of bytes that are not shown yet.
    hidden: usize,
}

impl<S: Service> Delayed<S> {
    /// Delays `service` by `delay`.
    pub fn new(service: S, delay: Duration) -> Self {
        Self {
            service,
            delay,
            opens_at: None,
            is_open: false,
            ends_at: None,
            has_ended: false,
            arrivals: VecDeque::new(),
            shown: 0,
            hidden: 0,
        }
    }

    /// Records the input since the last call.
    fn record_arrivals(&mut self, input: &Input<'_>, now: Instant) {
        let due = later(now, self.delay);
        let count = input.len() - self.shown - self.hidden;
        self.hidden += count;
        let is_full = self.arrivals.len() == MAX_ARRIVALS;
        match self.arrivals.back_mut() {
            _ if count == 0 => {}
            Some((instant, bytes)) if is_full || *instant == due => {
                *instant = due;
                *bytes += count;
            }
            _ => self.arrivals.push_back((due, count)),
        }
        if input.has_ended() {
            self.ends_at.get_or_insert(due);
        }
    }

    /// Shows the bytes that are due.
    fn reveal_due(&mut self, now: Instant) {
        while let Some(&(_, count)) = self.arrivals.front().filter(|(due, _)| *due <= now) {
            self.arrivals.pop_front();
            self.hidden -= count;
            self.shown += count;
        }
        if self.arrivals.is_empty() {
            self.arrivals = VecDeque::new();
        }
    }

    /// When more can be shown.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let ends_at = self.ends_at.filter(|&due| due > now);
        self.arrivals.front().map(|(due, _)| *due).or(ends_at)
    }
}

impl<S: Service> Service for Delayed<S> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        let opens_at = *self.opens_at.get_or_insert(later(now, self.delay));
        self.record_arrivals(input, now);
        if opens_at > now {
            return Wait::PreciseDeadline(opens_at);
        }
        self.is_open = true;
        self.reveal_due(now);
        self.has_ended = self.ends_at.is_some_and(|due| due <= now);
        let mut visible = input.first(self.shown, self.has_ended);
        let wait = self.service.serve(&mut visible, output, context);
        self.shown = visible.len();
        match (wait, self.next_due(now)) {
            (Wait::Input | Wait::Either | Wait::Wake, Some(next_due)) => Wait::PreciseDeadline(next_due),
            (Wait::Deadline(instant) | Wait::PreciseDeadline(instant), Some(next_due)) => {
                Wait::PreciseDeadline(instant.min(next_due))
            }
            (wait, _) => wait,
        }
    }

    fn closed(&mut self, reason: CloseReason) {
        self.service.closed(reason);
    }

    fn is_busy(&self) -> bool {
        let hides_end = self.ends_at.is_some() && !self.has_ended;
        !self.is_open || hides_end || self.service.is_busy()
    }

    fn error_detail(&self) -> Option<String> {
        self.service.error_detail()
    }

    fn held_bytes(&self) -> usize {
        self.arrivals.capacity() * size_of::<(Instant, usize)>() + self.service.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::Delayed;
    use crate::service::Echo;
    use crate::testing::Simulation;
    use std::time::Duration;

    #[test]
    fn an_endless_delay_is_no_overflow() {
        let server = Simulation::new(|_| Delayed::new(Echo, Duration::MAX));
        let mut peer = server.connect();
        peer.send(b"ping");
        peer.end();
        server.advance(Duration::from_secs(1));
        assert_eq!((peer.receive().len(), peer.closed()), (0, None));
    }
}
