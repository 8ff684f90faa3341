//! Connect rate: start times of evenly spaced connects, independent of how long each takes.

use crate::client::arrivals::{ArrivalSchedule, Arrivals, Share};
use std::time::Instant;

/// Start times of one worker's connects.
#[derive(Debug)]
pub(in crate::client) struct ConnectRate {
    schedule: ArrivalSchedule,
    begin: Instant,
    /// A precise timer is armed and has not expired.
    is_armed: bool,
}

impl ConnectRate {
    /// One worker's share of `rate` connects per second, starting at `begin`.
    pub(in crate::client) fn new(rate: f64, begin: Instant, share: Share) -> Self {
        Self { schedule: ArrivalSchedule::new(rate, Arrivals::Uniform, 0, share), begin, is_armed: false }
    }

    /// When the first connect of all workers is due.
    pub(in crate::client) fn begin(&self) -> Instant {
        self.begin
    }

    /// Consumes the next start time if it has been reached by `now`; returns whether it has.
    pub(in crate::client) fn take(&mut self, now: Instant) -> bool {
        let is_due = self.is_due(now);
        if is_due {
            self.schedule.advance();
        }
        is_due
    }

    /// Whether the next connect is due at `now`.
    pub(in crate::client) fn is_due(&self, now: Instant) -> bool {
        self.schedule.due() <= now.saturating_duration_since(self.begin)
    }

    /// Drops the start times before `now`.
    pub(in crate::client) fn skip(&mut self, now: Instant) {
        self.schedule.skip(now.saturating_duration_since(self.begin));
    }

    /// When to arm a precise timer; `None` while one is armed.
    pub(in crate::client) fn precise_deadline(&mut self) -> Option<Instant> {
        // An instant that the clock cannot represent is never due.
        let instant = self.begin.checked_add(self.schedule.due()).filter(|_| !self.is_armed);
        self.is_armed |= instant.is_some();
        instant
    }

    /// The precise timer has expired.
    pub(in crate::client) fn timer_expired(&mut self) {
        self.is_armed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectRate, Share};
    use std::time::{Duration, Instant};

    #[test]
    fn late_connects_are_made_up_for_and_skipped_ones_are_not() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut connect_rate = ConnectRate::new(100.0, begin, Share::new(0, 1, 1));
        assert!(connect_rate.take(at(0)) && !connect_rate.take(at(9)));
        assert_eq!((connect_rate.precise_deadline(), connect_rate.precise_deadline()), (Some(at(10)), None));
        connect_rate.timer_expired();
        assert!(connect_rate.take(at(25)) && connect_rate.take(at(25)) && !connect_rate.take(at(25)));
        connect_rate.skip(at(1000));
        assert!(connect_rate.take(at(1000)) && !connect_rate.take(at(1009)));
        assert_eq!(connect_rate.precise_deadline(), Some(at(1010)));
    }
}
