//! Progress of waiting output: what the peer acknowledged, and whether output is lost when the connection ends.
//!
//! A socket buffers much more than its peer reads, and then takes nothing for minutes if the peer reads slowly. So
//! acknowledgements of the peer's system extend the deadlines of waiting output, and a connection lingers until
//! everything is acknowledged.

use super::{CloseReason, Connection, Limits, Phase, deadlines};
use crate::moment::Moment;
use crate::service::Service;
use std::time::Instant;

impl<S: Service> Connection<S> {
    /// The socket takes nothing for now.
    pub fn handle_write_blocked(&mut self, now: Instant) {
        self.may_write = false;
        let rare = self.rare.needed();
        if !rare.is_blocked() {
            rare.blocked = now.into();
            rare.checks = 0;
        }
        self.deadline_dirty = true;
    }

    /// Reports the bytes that the peer's system has acknowledged, and whether it still lacks the end of our output.
    /// Must be called before [`handle_deadline`](Self::handle_deadline) while the connection [wants
    /// it](Self::wants_delivery).
    pub fn handle_delivery(&mut self, acknowledged_bytes: u64, lacks_end: bool, now: Instant) {
        #[allow(clippy::cast_possible_truncation, reason = "a change shows in the lower half")]
        let acknowledged = acknowledged_bytes as u32;
        let rare = self.rare.needed();
        let is_progress = acknowledged != std::mem::replace(&mut rare.acknowledged, acknowledged);
        let is_waiting = self.phase != Phase::Lingering || lacks_end;
        if is_waiting != rare.is_blocked() || (is_waiting && is_progress) {
            self.output_moved(!is_waiting, now);
        }
    }

    /// The socket took output or the peer acknowledged some; `all` tells whether no more of it waits.
    #[inline]
    pub(super) fn output_moved(&mut self, all: bool, now: Instant) {
        self.times.record_activity(now);
        if all {
            if let Some(rare) = self.rare.existing() {
                rare.blocked = Moment::NEVER;
            }
        } else {
            let rare = self.rare.needed();
            rare.blocked = self.times.active();
            rare.checks = 0;
            self.deadline_dirty = true;
        }
    }

    /// Whether [`handle_delivery`](Self::handle_delivery) must be called before a deadline is handled.
    pub fn wants_delivery(&self, limits: &Limits) -> bool {
        let can_extend_linger = !limits.linger.is_zero() && deadlines::linger_stall_limit(limits).is_some();
        self.rare.get().is_blocked() || (self.phase == Phase::Lingering && can_extend_linger)
    }

    /// Closes the connection at once, even with unsent output.
    pub fn close(&mut self, reason: CloseReason) {
        // For these reasons, and after a write timeout, part of a reply may be sent while the rest was not even
        // written.
        let may_be_partial = matches!(reason, CloseReason::MemoryLimit | CloseReason::ServicePanicked);
        self.reason = reason;
        self.end_now(may_be_partial || self.rare.get().is_blocked() || self.has_unsent());
    }

    /// The connection is over; `is_cut` tells whether output is lost.
    pub(super) fn end_now(&mut self, is_cut: bool) {
        self.phase = if is_cut || self.phase == Phase::Cut { Phase::Cut } else { Phase::Closed };
    }

    /// Whether the connection ended, or would end now, with unsent output. Its socket must then be closed by a reset:
    /// an orderly end would make a partial reply look complete.
    pub fn is_cut(&self) -> bool {
        self.phase == Phase::Cut || self.has_unsent()
    }

    /// Whether output is buffered here or in the handle, or the service has more output than there was room for, or has
    /// input to answer.
    pub(super) fn has_unsent(&self) -> bool {
        let has_more_output = self.waiting.wants_writable(false) || !self.input.is_empty();
        let has_sends = self.rare.get().handle.as_ref().is_some_and(|handle| handle.held_bytes() > 0);
        !self.output.is_empty() || has_sends || (self.phase.is_open() && has_more_output)
    }
}
