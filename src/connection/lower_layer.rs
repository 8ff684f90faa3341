//! What a conversation has to do with a layer between it and the socket, such as TLS: a handshake comes first, bytes that
//! count as sent are kept back for a while, and what comes in can be damaged.

use super::{CloseReason, Connection, Limits, Phase};
use crate::service::Service;
use std::io;
use std::time::Instant;

impl<S: Service> Connection<S> {
    /// A handshake comes first. To be said before anything else.
    pub fn handle_handshake(&mut self) {
        self.phase = Phase::Handshaking;
    }

    /// The handshake is complete: the conversation opens.
    pub fn handle_opened(&mut self, limits: &Limits, now: Instant) {
        let is_draining = limits.drain_by.is_some();
        self.phase = if is_draining { Phase::Draining } else { Phase::Open };
        self.times.moved(now);
        self.serve_due = true;
        self.deadline_dirty = true;
    }

    /// The socket took some of what a layer below had kept back; when that was not all, it takes no more for now.
    pub fn handle_flushed(&mut self, all: bool, now: Instant) {
        self.may_write = all;
        self.output_moved(all && self.output.is_empty(), now);
    }

    /// A read or a write failed: the conversation is over. Once everything was sent this is no news.
    pub fn handle_error(&mut self, error: &io::Error) {
        let is_ending = matches!(self.phase, Phase::Finishing | Phase::Lingering);
        let all_sent = is_ending && self.output.is_empty() && self.may_write;
        let is_handshaking = self.is_handshaking();
        if !all_sent {
            self.reason = if is_handshaking { CloseReason::HandshakeFailed } else { CloseReason::from_error(error) };
        }
        self.deadline_dirty = true;
        // Whoever sent what a layer below cannot read is told so by that layer (a TLS alert), which takes a close in order.
        let is_told = error.kind() == io::ErrorKind::InvalidData && !is_ending;
        self.is_cut |= !is_told && self.has_unsent();
        self.phase = if is_told { Phase::Finishing } else { Phase::Closed };
        self.input.clear();
        self.output.clear();
    }

    /// Whether the handshake is not complete.
    #[inline]
    pub fn is_handshaking(&self) -> bool {
        self.phase == Phase::Handshaking
    }

    /// Whether what a layer below has kept back should be offered to the socket.
    #[inline]
    pub fn wants_flush(&self) -> bool {
        self.may_write && self.phase != Phase::Closed
    }
}
