//! When connects are begun that follow each other evenly, however long each takes.

use super::arrivals::{ArrivalSchedule, Arrivals, Share};
use std::time::Instant;

/// The times at which one worker begins its connects.
#[derive(Debug)]
pub(super) struct ConnectRate {
    schedule: ArrivalSchedule,
    begin: Instant,
    /// What an alarm is armed for and has not come for yet.
    is_armed: bool,
}

impl ConnectRate {
    /// The share of one worker in `rate` connects per second, from `begin` on.
    pub(super) fn new(rate: f64, begin: Instant, share: Share) -> Self {
        Self { schedule: ArrivalSchedule::new(rate, Arrivals::Uniform, 0, share), begin, is_armed: false }
    }

    /// Takes the next connect's time, if it has come by `now`.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_due = self.is_due(now);
        if is_due {
            self.schedule.advance();
        }
        is_due
    }

    /// Whether it is time for the next connect.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.schedule.due() <= now.saturating_duration_since(self.begin)
    }

    /// Leaves out the times that have passed by `now`.
    pub(super) fn skip(&mut self, now: Instant) {
        self.schedule.skip(now.saturating_duration_since(self.begin));
    }

    /// For when an alarm has to be armed, unless one is.
    pub(super) fn precise_deadline(&mut self) -> Option<Instant> {
        // Beyond what the clock can show nothing is ever due.
        let instant = self.begin.checked_add(self.schedule.due()).filter(|_| !self.is_armed);
        self.is_armed |= instant.is_some();
        instant
    }

    /// The alarm has come.
    pub(super) fn end_timer(&mut self) {
        self.is_armed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectRate, Share};
    use std::time::{Duration, Instant};

    #[test]
    fn what_is_late_is_made_up_for_and_what_nobody_wanted_is_not() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut connect_rate = ConnectRate::new(100.0, begin, Share::new(0, 1, 1));
        assert!(connect_rate.take(at(0)) && !connect_rate.take(at(9)));
        assert_eq!((connect_rate.precise_deadline(), connect_rate.precise_deadline()), (Some(at(10)), None));
        connect_rate.end_timer();
        assert!(connect_rate.take(at(25)) && connect_rate.take(at(25)) && !connect_rate.take(at(25)));
        connect_rate.skip(at(1000));
        assert!(connect_rate.take(at(1000)) && !connect_rate.take(at(1009)));
        assert_eq!(connect_rate.precise_deadline(), Some(at(1010)));
    }
}
