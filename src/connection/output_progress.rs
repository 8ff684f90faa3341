//! Output that waits: what was delivered of it, and whether some is lost when the conversation ends.
//!
//! A socket takes much more than its peer does, and then nothing for minutes if that reads slowly. So the deadlines of waiting
//! output are put off by what the peer's system acknowledges, and a connection lingers on until everything is.

use super::{CloseReason, Connection, Limits, Phase, deadlines};
use crate::service::Service;
use std::time::Instant;

impl<S: Service> Connection<S> {
    /// The socket takes nothing for now.
    pub fn handle_write_blocked(&mut self, now: Instant) {
        self.may_write = false;
        if !self.times.is_blocked() {
            self.times.blocked(now);
            self.checks = 0;
        }
        self.deadline_dirty = true;
    }

    /// How many bytes the peer's system has acknowledged, and whether it lacks the end of our output. To be told before
    /// [`handle_deadline`](Self::handle_deadline) while the connection [wants to know](Self::wants_delivery).
    pub fn handle_delivery(&mut self, acknowledged_bytes: u64, lacks_end: bool, now: Instant) {
        #[allow(clippy::cast_possible_truncation, reason = "a change shows in the lower half")]
        let acknowledged = acknowledged_bytes as u32;
        let is_progress = acknowledged != std::mem::replace(&mut self.acknowledged, acknowledged);
        let is_waiting = self.phase != Phase::Lingering || lacks_end;
        if is_waiting != self.times.is_blocked() || (is_waiting && is_progress) {
            self.output_moved(!is_waiting, now);
        }
    }

    /// Output was taken or delivered, and `all` says whether no more of it waits.
    #[inline]
    pub(super) fn output_moved(&mut self, all: bool, now: Instant) {
        self.times.sent(all, now);
        self.checks = 0;
        self.deadline_dirty |= !all;
    }

    /// Whether it should be looked up, before a deadline is handled, what the peer's system has
    /// [acknowledged](Self::handle_delivery).
    pub fn wants_delivery(&self, limits: &Limits) -> bool {
        let may_linger_on = !limits.linger.is_zero() && deadlines::stall(limits).is_some();
        self.times.is_blocked() || (self.phase == Phase::Lingering && may_linger_on)
    }

    /// Ends the conversation at once, whatever is unsent.
    pub fn close(&mut self, reason: CloseReason) {
        // With these, and when the kernel has waited in vain, part of a reply may be sent and the rest not even written.
        let is_broken_off = matches!(reason, CloseReason::MemoryLimit | CloseReason::ServicePanicked);
        self.is_cut |= is_broken_off || self.times.is_blocked() || self.has_unsent();
        self.reason = reason;
        self.phase = Phase::Closed;
    }

    /// Whether the conversation was, or now would be, ended with output unsent. Its socket must be closed by a reset then: an
    /// end in order would make a part of a reply look like a whole one.
    pub fn is_cut(&self) -> bool {
        self.is_cut || self.has_unsent()
    }

    /// Whether output waits, or the service has more of it than there was room for, or has input to answer.
    pub(super) fn has_unsent(&self) -> bool {
        let is_unanswered = self.waiting.wants_writable(false) || !self.input.is_empty();
        !self.output.is_empty() || (self.phase.is_open() && is_unanswered)
    }
}
