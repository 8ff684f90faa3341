//! The poll and the clock of the simulated kernel.

pub(crate) use crate::simulated_kernel::now;
pub(super) use crate::simulated_kernel::{Event, Events, Poll, Waker};

use std::time::Duration;

/// The simulated time stands still within a round.
pub(super) const LOOK_INTERVAL: Duration = Duration::ZERO;
