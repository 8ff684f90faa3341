//! The poll and the clock of the simulated kernel.

pub(super) use crate::simulated_kernel::{Event, Events, Poll, Waker, now};
