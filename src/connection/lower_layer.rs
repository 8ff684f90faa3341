//! Events of a layer between connection and socket, such as TLS: its handshake, bytes it holds back, and damaged input.

use super::{CloseReason, Connection, Phase};
use crate::service::Service;
use std::io;
use std::time::Instant;

impl<S: Service> Connection<S> {
    /// Starts with a handshake. Must be called before any other event.
    pub fn handle_handshake(&mut self) {
        self.phase = Phase::Handshaking;
    }

    /// The handshake is complete and the connection opens.
    pub fn handle_opened(&mut self, now: Instant) {
        self.phase = Phase::Open;
        self.times.record_activity(now);
        self.serve_due = true;
        self.deadline_dirty = true;
    }

    /// The socket took bytes that the layer below had held back. `all` is false when some remain; then the socket takes
    /// no more for now.
    pub fn handle_flushed(&mut self, all: bool, now: Instant) {
        self.may_write = all;
        self.output_moved(all && self.output.is_empty(), now);
    }

    /// A read or a write failed: the connection is over. The error is ignored as close reason when everything was sent.
    pub fn handle_error(&mut self, error: &io::Error) {
        let is_ending = matches!(self.phase, Phase::Finishing | Phase::Lingering);
        let was_all_sent = is_ending && self.output.is_empty() && self.may_write;
        let is_handshaking = self.is_handshaking();
        if !was_all_sent {
            self.reason = if is_handshaking { CloseReason::HandshakeFailed } else { CloseReason::from_error(error) };
        }
        self.deadline_dirty = true;
        // The layer below answers input that it cannot decode (a TLS alert), so the connection closes in order instead
        // of by a reset. Nothing can follow that answer.
        let is_answered_below = error.kind() == io::ErrorKind::InvalidData && !is_ending;
        if is_answered_below {
            self.phase = self.after_open();
            self.discard_sends();
        } else {
            self.end_now(self.has_unsent());
        }
        self.input.clear();
        self.output.clear();
    }

    /// Whether the handshake is still in progress.
    #[inline]
    pub fn is_handshaking(&self) -> bool {
        self.phase == Phase::Handshaking
    }

    /// Whether bytes held back by a layer below should be offered to the socket.
    #[inline]
    pub fn wants_flush(&self) -> bool {
        self.may_write && !self.phase.is_closed()
    }
}
