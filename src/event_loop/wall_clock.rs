//! The wall clock, which the system can set: unlike the clock of the loop it jumps, and is read anew for each use.

use std::time::{Duration, SystemTime};

/// The time since the beginning of 1970; zero on a machine whose clock is set to a time before that.
#[must_use]
pub fn unix_time() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}
