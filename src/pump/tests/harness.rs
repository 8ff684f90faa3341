//! Driving a simulated connection step by step, and looking into it.

use crate::connection::{CloseReason, Limits};
use crate::pump::Turn;
use crate::service::Service;
use crate::socket::Address;
use crate::testing::{ConnectionFacts, ScriptedSocket, SimulatedConnection};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Maximum number of turns. No test needs as many; more mean an endless loop.
const MAX_TURNS: usize = 100_000;

/// A simulated connection, with the instant at which it opened and the number of its turns that yielded.
pub(super) struct Harness<S> {
    inner: SimulatedConnection<S>,
    pub(super) start: Instant,
    pub(super) yields: usize,
}

impl<S> Deref for Harness<S> {
    type Target = SimulatedConnection<S>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl<S> DerefMut for Harness<S> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

impl<S: Service> Harness<S> {
    pub(super) fn new(service: S, socket: ScriptedSocket, limits: Limits) -> Self {
        let start = Instant::now();
        let (peer, requests) = (Address::Unix(PathBuf::new()), Rc::default());
        let facts = ConnectionFacts { id: 1, key: 1, peer, listener: None, requests };
        let mut inner = SimulatedConnection::new(socket, limits, start, facts);
        inner.open(|_| service);
        Self { inner, start, yields: 0 }
    }

    /// Runs until the connection is over, or until it waits for an outside event.
    pub(super) fn run(&mut self) -> Option<CloseReason> {
        self.inner.request_turn();
        for _ in 0..MAX_TURNS {
            match self.inner.step() {
                None => return self.inner.closed(),
                Some(turn) => self.yields += usize::from(turn == Turn::Yielded),
            }
        }
        panic!("the connection never stops");
    }

    /// Advances the time, then continues as a loop does.
    pub(super) fn advance(&mut self, time: Duration) -> Option<CloseReason> {
        let now = self.observer.now + time;
        self.inner.handle_time(now);
        self.run()
    }

    /// The next precise timer, counted from the start.
    pub(super) fn precise_deadline(&self) -> Option<Duration> {
        self.precise_timers.iter().min().map(|&instant| instant - self.start)
    }

    /// The next deadline, counted from the start.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.connection.next_deadline(&self.limits).map(|instant| instant - self.start)
    }

    pub(super) fn assert_owns_no_heap(&self) {
        assert_eq!(self.connection.storage_bytes_of_each(), [0, 0]);
    }
}
