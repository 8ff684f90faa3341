//! Logs and counts the bytes of a session's turn.

use super::acceptor::Acceptor;
use super::counters::{Counters, HandshakeResult};
use super::shared::Shared;
use crate::connection::CloseReason;
use crate::event_loop::Key;
use crate::log_targets::SERVER_LOG;
use crate::panic_guard::guarded;
use crate::pump::{Observer, Session};
use crate::python_repr::BytesRepr;
use crate::service::{ConnectOptions, Handle, Host, Notify, Service};
use crate::socket::{Address, TlsStream};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first bytes of a TLS handshake: a record of type 22 and version 3.x (RFC 8446, section 5.1).
const TLS_HANDSHAKE: [u8; 2] = [22, 3];

/// Counts and logs the bytes of a turn, and supplies the time of the round and the facts about the connection.
pub(super) struct SessionObserver<'a> {
    pub(super) counters: &'a Counters,
    pub(super) now: Instant,
    pub(super) key: Key,
    pub(super) listener: Option<&'a Acceptor>,
    pub(super) notify: &'a Arc<dyn Notify>,
    pub(super) shared: &'a Shared,
    /// Collects requests for outgoing connections.
    pub(super) requests: &'a mut Vec<ConnectRequest>,
    /// Maximum number of bytes that wait in a handle.
    pub(super) send_limit: usize,
    pub(super) peer: &'a Address,
    pub(super) number: u64,
    pub(super) sending: &'static str,
    /// Nothing has been received yet, and plain text is expected.
    pub(super) expects_plain_text: bool,
    /// The first bytes were a TLS handshake.
    pub(super) speaks_tls: bool,
}

/// A service's request for an outgoing connection.
pub(super) struct ConnectRequest {
    pub(super) number: u64,
    /// The number of the connection whose service asked for it.
    pub(super) requester: u64,
    pub(super) options: ConnectOptions,
    pub(super) service: Box<dyn Service>,
    pub(super) handle: Handle,
}

/// The log line of a connection's end.
#[derive(Debug)]
pub(super) struct CloseLog {
    peer: Address,
    number: u64,
    reason: CloseReason,
    received_bytes: u64,
    sent_bytes: u64,
    age: Duration,
    error_detail: Option<String>,
    tls_fault: Option<String>,
}

impl CloseLog {
    /// The end of a connection, with the error details of its service and its TLS; none if it is not logged.
    pub(super) fn new<S: Service>(
        session: &Session<S>,
        (peer, number): (&Address, u64),
        reason: CloseReason,
        now: Instant,
    ) -> Option<Self> {
        let connection = &session.connection;
        log::log_enabled!(target: SERVER_LOG, log::Level::Debug).then(|| Self {
            peer: peer.clone(),
            number,
            reason,
            received_bytes: connection.received_bytes(),
            sent_bytes: connection.sent_bytes(),
            age: now - connection.opened(),
            error_detail: error_detail(session),
            tls_fault: session.socket.tls().and_then(TlsStream::fault).map(|fault| fault.to_string()),
        })
    }

    pub(super) fn log(&self) {
        log::debug!(
            target: SERVER_LOG,
            connection = self.number,
            peer:% = self.peer,
            reason:% = self.reason,
            error_detail = self.error_detail,
            tls_fault = self.tls_fault,
            received_bytes = self.received_bytes,
            sent_bytes = self.sent_bytes,
            open_seconds = self.age.as_secs_f64();
            "Closing connection to {}", self.peer.in_python()
        );
    }
}

/// The service's description of a protocol error of its peer.
pub(super) fn error_detail<S: Service>(session: &Session<S>) -> Option<String> {
    let service = session.connection.service()?;
    guarded(|| service.error_detail()).unwrap_or_else(|text| Some(format!("panicked: {text}")))
}

impl Host for SessionObserver<'_> {
    fn id(&self) -> u64 {
        self.number
    }

    fn peer(&self) -> &Address {
        self.peer
    }

    fn listener(&self) -> Option<&Address> {
        self.listener.and_then(Acceptor::address)
    }

    fn new_handle(&self) -> Handle {
        Handle::new(self.number, self.key.into(), self.send_limit, Arc::clone(self.notify))
    }

    fn connect(&mut self, options: ConnectOptions, service: Box<dyn Service>) -> Handle {
        let number = self.shared.next_number();
        let handle = Handle::detached(number, options.limits.buffer_bytes, Arc::clone(self.notify));
        let requester = self.number;
        self.requests.push(ConnectRequest { number, requester, options, service, handle: handle.clone() });
        handle
    }

    #[inline]
    fn count_message(&mut self) {
        self.counters.messages.add(1);
    }
}

impl Observer for SessionObserver<'_> {
    #[inline]
    fn now(&mut self) -> Instant {
        self.now
    }

    fn handshake_done(&mut self, negotiated: &dyn fmt::Display) {
        let counters = self.counters;
        let is_outgoing = self.listener.is_none();
        if is_outgoing { &counters.outgoing.handshakes } else { &counters.handshakes }.add(HandshakeResult::Completed);
        log::debug!(connection = self.number, peer:% = self.peer, tls:% = negotiated; "TLS handshake complete");
    }

    #[inline]
    fn received(&mut self, bytes: &[u8]) {
        if self.expects_plain_text {
            self.speaks_tls |= bytes.starts_with(&TLS_HANDSHAKE);
            self.expects_plain_text = false;
        }
        self.counters.received_bytes.add(bytes.len() as u64);
        log::trace!(
            connection = self.number, peer:% = self.peer, bytes = bytes.len();
            "Received {} from {}", BytesRepr(bytes), self.peer.in_python()
        );
    }

    #[inline]
    fn sent(&mut self, bytes: &[u8]) {
        self.counters.sent_bytes.add(bytes.len() as u64);
        log::trace!(
            target: SERVER_LOG, connection = self.number, peer:% = self.peer, bytes = bytes.len();
            "{} {} to {}", self.sending, BytesRepr(bytes), self.peer.in_python()
        );
    }
}
