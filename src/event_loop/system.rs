//! What a loop takes from the system: the poll and the monotonic clock. A simulation replaces this file.

pub(super) use mio::event::Event;
pub(super) use mio::{Events, Poll, Waker};

use std::time::{Duration, Instant};

/// Least time between two looks for events within a round. With a look after each turn, the server called `epoll_wait` as often
/// as `send` under messages of 256 KiB.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_micros(100);

/// The time now.
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}
