//! TLS in a worker: starting the handshake, and warnings of TLS on a plain-text port and vice versa.

use crate::error::Warning;
use crate::socket::{Address, Stream, TlsAcceptor, TlsStream};
use std::time::Instant;

/// Wraps an accepted stream in TLS. None when that fails, which is logged.
pub(super) fn start_tls(tls: &TlsAcceptor, socket: Stream) -> Option<Stream> {
    tls.accept(socket).inspect_err(|error| log::error!("cannot begin a TLS handshake: {error}")).ok()
}

/// Rate-limited warnings of peers that use the wrong protocol: peers can cause these at any rate.
#[derive(Debug, Default)]
pub(super) struct ProtocolMismatch {
    warning: Warning,
}

impl ProtocolMismatch {
    /// Warns if `peer` sent plain text to the TLS port. Called when its connection closes.
    pub(super) fn check_closed(&mut self, now: Instant, socket: &Stream, peer: &Address) {
        let fault = socket.tls().and_then(TlsStream::fault).filter(|fault| fault.is_plain_text());
        if let Some(fault) = fault
            && self.warning.is_due(now)
        {
            log::warn!(peer:%, tls_fault:% = fault; "plain text on a TLS port; connection closed");
        }
    }

    /// Warns that `peer` speaks TLS to a plain-text port.
    pub(super) fn warn_of_tls(&mut self, now: Instant, peer: &Address) {
        if self.warning.is_due(now) {
            log::warn!(peer:%; "TLS on a plain-text port: the server has no certificate");
        }
    }
}
