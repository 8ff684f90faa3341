//! Wall clock. The system can set it, so it may jump, unlike the monotonic clock of the loop; it is read anew for each
//! use.

use std::time::{Duration, SystemTime};

/// Time since 1970-01-01 UTC; zero on a machine whose clock is set to an earlier time.
#[must_use]
pub fn unix_time() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}
