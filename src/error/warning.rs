//! Warnings that peers can bring about: what gives rise to them is counted every time, and said now and then.

use std::time::{Duration, Instant};

/// How often the same warning is given at most. Peers can bring about failures at any rate, and must not fill the log.
const INTERVAL: Duration = Duration::from_secs(1);

/// A warning that peers can bring about.
#[derive(Debug, Default)]
pub(crate) struct Warning {
    given: Option<Instant>,
}

impl Warning {
    /// Whether it is time to give it, again or for the first time; the caller then does.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.given.is_none_or(|given| given + INTERVAL <= now);
        if is_due {
            self.given = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::{INTERVAL, Warning};
    use std::time::{Duration, Instant};

    #[test]
    fn it_is_given_once_in_an_interval() {
        let (mut warning, start) = (Warning::default(), Instant::now());
        let given = (0..10_000).filter(|count| warning.is_due(start + INTERVAL * *count / 1000)).count();
        assert_eq!(given, 10);
        assert!(warning.is_due(start + 11 * INTERVAL));
        assert!(!warning.is_due(start), "a clock that was read before does no harm");
        assert!(warning.is_due(start + 12 * INTERVAL + Duration::from_secs(3600)));
    }
}
