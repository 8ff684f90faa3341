//! Context of a service's call: the time, and the connection that the service belongs to.

use std::marker::PhantomData;
use std::time::Instant;

/// What a service may ask about its connection during a call.
#[derive(Debug)]
pub struct Context<'a> {
    now: Instant,
    connection: PhantomData<&'a ()>,
}

impl Context<'_> {
    pub(crate) fn at(now: Instant) -> Self {
        Self { now, connection: PhantomData }
    }

    /// Start of the loop's current round: a service reads no clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }
}
