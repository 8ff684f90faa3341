//! When connects are begun that follow each other evenly, however long each takes.

use super::schedule::{Arrivals, Schedule, Share};
use std::time::Instant;

/// The times at which one worker begins its connects.
#[derive(Debug)]
pub(super) struct Spacing {
    schedule: Schedule,
    begin: Instant,
    /// What an alarm is armed for and has not come for yet.
    is_armed: bool,
}

impl Spacing {
    /// The share of one worker in `rate` connects per second, from `begin` on.
    pub(super) fn new(rate: f64, begin: Instant, share: Share) -> Self {
        Self { schedule: Schedule::new(rate, Arrivals::Uniform, 0, share), begin, is_armed: false }
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
    pub(super) fn alarm(&mut self) -> Option<Instant> {
        // Beyond what the clock can show nothing is ever due.
        let instant = self.begin.checked_add(self.schedule.due()).filter(|_| !self.is_armed);
        self.is_armed |= instant.is_some();
        instant
    }

    /// The alarm has come.
    pub(super) fn end_alarm(&mut self) {
        self.is_armed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::{Share, Spacing};
    use std::time::{Duration, Instant};

    #[test]
    fn what_is_late_is_made_up_for_and_what_nobody_wanted_is_not() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut spacing = Spacing::new(100.0, begin, Share::new(0, 1, 1));
        assert!(spacing.take(at(0)) && !spacing.take(at(9)));
        assert_eq!((spacing.alarm(), spacing.alarm()), (Some(at(10)), None));
        spacing.end_alarm();
        assert!(spacing.take(at(25)) && spacing.take(at(25)) && !spacing.take(at(25)));
        spacing.skip(at(1000));
        assert!(spacing.take(at(1000)) && !spacing.take(at(1009)));
        assert_eq!(spacing.alarm(), Some(at(1010)));
    }
}
