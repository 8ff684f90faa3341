//! Warnings of peers that break the protocol of the service: seldom, because peers can bring them about at any rate.

use crate::connection::CloseReason;
use crate::error::Warning;
use crate::socket::Address;
use crate::units::format_count;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How many connections of the server have ended for malformed input. Each counts once, at the latest when it is closed.
#[derive(Debug, Default)]
pub(super) struct MalformedCount(AtomicU64);

/// Warns of malformed input.
#[derive(Debug)]
pub(super) struct Malformed<'a> {
    count: &'a MalformedCount,
    warning: Warning,
}

impl<'a> Malformed<'a> {
    pub(super) fn new(count: &'a MalformedCount) -> Self {
        Self { count, warning: Warning::default() }
    }

    /// The connection of `peer` ends for `reason`. `complaint` says more about it, and is called when that is logged.
    pub(super) fn note_end(
        &mut self,
        now: Instant,
        reason: CloseReason,
        peer: &Address,
        complaint: impl FnOnce() -> Option<String>,
    ) {
        if !matches!(reason, CloseReason::ProtocolError | CloseReason::FrameTooLarge) {
            return;
        }
        let count = self.count.0.fetch_add(1, Ordering::Relaxed) + 1;
        if self.warning.is_due(now) {
            let complaint = complaint().map(|text| format!(": {text}")).unwrap_or_default();
            log::warn!(
                "malformed message from {peer}, connection closed: {reason}{complaint} (so far: {})",
                format_count(count)
            );
        }
    }
}
