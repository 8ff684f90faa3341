//! Logs and counts the bytes of a session's turn.

use super::counters::Counters;
use crate::connection::CloseReason;
use crate::guard::guarded;
use crate::pump::{Observer, Session};
use crate::python_repr::BytesRepr;
use crate::service::Service;
use crate::socket::{Address, TlsStream};
use crate::units::{format_counted, format_duration};
use std::fmt;
use std::time::Instant;

/// The first bytes of a TLS handshake: a record of type 22 and version 3.x (RFC 8446, section 5.1).
const TLS_HANDSHAKE: [u8; 2] = [22, 3];

/// Counts and logs the bytes of a turn, and supplies the time of the round.
pub(super) struct SessionObserver<'a> {
    pub(super) counters: &'a Counters,
    pub(super) now: Instant,
    pub(super) peer: &'a Address,
    pub(super) number: u64,
    pub(super) sending: &'static str,
    /// Nothing has been received yet, and plain text is expected.
    pub(super) expects_plain_text: bool,
    /// The first bytes were a TLS handshake.
    pub(super) speaks_tls: bool,
}

/// How a connection ended, with the error details of its service and its TLS; none if debug logging is off.
pub(super) fn closing_details<S: Service>(
    session: &Session<S>,
    reason: CloseReason,
    number: u64,
    now: Instant,
) -> Option<String> {
    if !log::log_enabled!(log::Level::Debug) {
        return None;
    }
    let connection = &session.connection;
    let [received, sent] =
        [connection.received_bytes(), connection.sent_bytes()].map(|bytes| format_counted(bytes, "byte"));
    let error_detail = with_colon(error_detail(session));
    let fault = with_colon(session.socket.tls().and_then(TlsStream::fault));
    let age = format_duration(now - connection.opened());
    Some(format!("{reason}{error_detail}{fault} (number {number}, {received} in, {sent} out, after {age})"))
}

/// The service's description of a protocol error of its peer.
pub(super) fn error_detail<S: Service>(session: &Session<S>) -> Option<String> {
    let service = session.connection.service();
    guarded(|| service.error_detail()).unwrap_or_else(|text| Some(format!("panicked: {text}")))
}

fn with_colon(words: Option<impl fmt::Display>) -> String {
    words.map_or_else(String::new, |words| format!(": {words}"))
}

impl Observer for SessionObserver<'_> {
    #[inline]
    fn now(&mut self) -> Instant {
        self.now
    }

    fn handshake_done(&mut self, negotiated: &dyn fmt::Display) {
        log::debug!("Secured connection with {}: {negotiated} (number {})", self.peer, self.number);
    }

    #[inline]
    fn received(&mut self, bytes: &[u8]) {
        if self.expects_plain_text {
            self.speaks_tls |= bytes.starts_with(&TLS_HANDSHAKE);
            self.expects_plain_text = false;
        }
        self.counters.received_bytes.add(bytes.len() as u64);
        log::trace!("Received {} from {}", BytesRepr(bytes), self.peer);
    }

    #[inline]
    fn sent(&mut self, bytes: &[u8]) {
        self.counters.sent_bytes.add(bytes.len() as u64);
        log::trace!("{} {} to {}", self.sending, BytesRepr(bytes), self.peer);
    }
}
