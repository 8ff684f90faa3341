//! What a worker sees of a turn.

use super::counters::Counters;
use crate::pump::Observer;
use crate::repr::BytesRepr;
use crate::socket::Address;
use std::time::Instant;

/// Counts the bytes and tells their story, and the time of the round.
pub(super) struct Watch<'a> {
    pub(super) counters: &'a Counters,
    pub(super) now: Instant,
    pub(super) peer: &'a Address,
    pub(super) sending: &'static str,
}

impl Observer for Watch<'_> {
    #[inline]
    fn now(&mut self) -> Instant {
        self.now
    }

    #[inline]
    fn received(&mut self, bytes: &[u8]) {
        self.counters.received_bytes.add(bytes.len() as u64);
        log::trace!("Received {} from {}", BytesRepr(bytes), self.peer);
    }

    #[inline]
    fn sent(&mut self, bytes: &[u8]) {
        self.counters.sent_bytes.add(bytes.len() as u64);
        log::trace!("{} {} to {}", self.sending, BytesRepr(bytes), self.peer);
    }
}
