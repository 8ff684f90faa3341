//! When the bytes of a connection came and went: what latencies are made of, and what the log tells.

use super::workload::{HandedOver, Job};
use crate::pump::Observer;
use crate::repr::BytesRepr;
use std::fmt;
use std::time::Instant;

/// Tells the story of the bytes, and when the kernel took them. Latencies are made from the time that is read here: at the
/// beginning of a turn, and after each read. A message that is written then counts as handed over at that time, which is
/// right before.
pub(super) struct Watch<'a> {
    number: usize,
    job: &'a Job,
    /// When the connect succeeded: the handshake begins there.
    connected: Option<Instant>,
    now: Option<Instant>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(number: usize, job: &'a Job, connected: Option<Instant>) -> Self {
        Self { number, job, connected, now: None }
    }
}

impl Observer for Watch<'_> {
    #[inline]
    fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    fn handshake_done(&mut self, negotiated: &dyn fmt::Display) {
        let now = Instant::now();
        self.now = Some(now);
        if let Some(connected) = self.connected {
            self.job.recorder.borrow_mut().shook_hands(now - connected);
        }
        log::debug!("Secured connection {}: {negotiated}", self.number);
    }

    #[inline]
    fn received(&mut self, bytes: &[u8]) {
        self.now = Some(Instant::now());
        log::trace!("Received {} from connection {}", BytesRepr(bytes), self.number);
    }

    #[inline]
    fn sent(&mut self, bytes: &[u8]) {
        let since = self.now();
        let before = self.job.handed_over.get();
        let since = before.map_or_else(|| self.job.clock.nanos(since), |before| before.since);
        let bytes_before = before.map_or(0, |before| before.bytes);
        self.job.handed_over.set(Some(HandedOver { bytes: bytes_before + bytes.len() as u64, since }));
        log::trace!("Sending {} to connection {}", BytesRepr(bytes), self.number);
    }
}
