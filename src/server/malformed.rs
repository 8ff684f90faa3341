//! Rate-limited warnings of malformed input, which peers can send at any rate.

use crate::connection::CloseReason;
use crate::error::Warning;
use crate::socket::Address;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Number of connections of the server that closed for malformed input. Each counts once, no later than its close.
#[derive(Debug, Default)]
pub(super) struct MalformedCount(AtomicU64);

/// Warns of malformed input; one per worker.
#[derive(Debug)]
pub(super) struct Malformed<'a> {
    count: &'a MalformedCount,
    warning: Warning,
}

impl<'a> Malformed<'a> {
    pub(super) fn new(count: &'a MalformedCount) -> Self {
        Self { count, warning: Warning::default() }
    }

    /// Counts a connection if it closes for malformed input. `error_detail` is called only when a warning is due.
    pub(super) fn on_close(
        &mut self,
        now: Instant,
        reason: CloseReason,
        (peer, number): (&Address, u64),
        error_detail: impl FnOnce() -> Option<String>,
    ) {
        if !matches!(reason, CloseReason::ProtocolError | CloseReason::FrameTooLarge) {
            return;
        }
        let count = self.count.0.fetch_add(1, Ordering::Relaxed) + 1;
        if self.warning.is_due(now) {
            log::warn!(
                connection = number, peer:%, reason:%, error_detail = error_detail(), count;
                "malformed message; connection closed"
            );
        }
    }
}
