//! What the log tells of the bytes of a connection.

use crate::pump::Observer;
use crate::repr::BytesRepr;
use std::time::Instant;

/// Tells the story of the bytes. The time is read when it matters: latencies are made from it.
pub(super) struct Watch {
    pub(super) number: usize,
}

impl Observer for Watch {
    #[inline]
    fn now(&mut self) -> Instant {
        Instant::now()
    }

    #[inline]
    fn received(&mut self, bytes: &[u8]) {
        log::trace!("Received {} from connection {}", BytesRepr(bytes), self.number);
    }

    #[inline]
    fn sent(&mut self, bytes: &[u8]) {
        log::trace!("Sending {} to connection {}", BytesRepr(bytes), self.number);
    }
}
