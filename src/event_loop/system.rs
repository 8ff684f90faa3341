//! What a loop takes from the system: the poll and the monotonic clock. A simulation replaces this file.

pub(super) use mio::event::Event;
pub(super) use mio::{Events, Poll, Waker};

use std::time::Instant;

/// The time now.
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}
