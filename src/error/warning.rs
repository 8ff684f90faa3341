//! Rate limit for warnings that peers can cause: each event is counted, but logged at most once per second.

use std::time::{Duration, Instant};

/// Minimum time between two equal warnings. Peers can cause failures at any rate and must not flood the log.
const INTERVAL: Duration = Duration::from_secs(1);

/// Rate limit of one warning.
#[derive(Debug, Default)]
pub(crate) struct Warning {
    last_logged: Option<Instant>,
}

impl Warning {
    /// Whether the warning may be logged at `now`; if so, the caller must log it.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.last_logged.is_none_or(|last_logged| last_logged + INTERVAL <= now);
        if is_due {
            self.last_logged = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::{INTERVAL, Warning};
    use std::time::{Duration, Instant};

    #[test]
    fn a_warning_is_due_once_per_interval() {
        let (mut warning, start) = (Warning::default(), Instant::now());
        let last_logged = (0..10_000).filter(|count| warning.is_due(start + INTERVAL * *count / 1000)).count();
        assert_eq!(last_logged, 10);
        assert!(warning.is_due(start + 11 * INTERVAL));
        assert!(!warning.is_due(start), "an earlier time is harmless");
        assert!(warning.is_due(start + 12 * INTERVAL + Duration::from_secs(3600)));
    }
}
