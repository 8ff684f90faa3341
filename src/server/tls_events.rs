//! TLS as a worker meets it: a handshake for accepted connections, and wrong ports.

use super::Shared;
use crate::error::Warning;
use crate::socket::{Address, Stream, TlsStream};
use std::time::Instant;

/// Puts TLS on what was accepted, where it is served. None when that cannot be; the log says why.
pub(super) fn secured(shared: &Shared, socket: Stream) -> Option<Stream> {
    let Some(tls) = &shared.tls else { return Some(socket) };
    tls.accept(socket).inspect_err(|error| log::error!("cannot begin a TLS handshake: {error}")).ok()
}

/// Warnings of peers that take the port for another one; seldom, because peers can bring them about at any rate.
#[derive(Debug, Default)]
pub(super) struct WrongPort {
    warning: Warning,
}

impl WrongPort {
    /// `peer` has left the TLS port behind `socket`.
    pub(super) fn note_end(&mut self, now: Instant, socket: &Stream, peer: &Address) {
        let fault = socket.tls().and_then(TlsStream::fault).filter(|fault| fault.is_plain_text());
        if let Some(fault) = fault
            && self.warning.is_due(now)
        {
            log::warn!("cannot serve {peer}: {fault}; this port serves TLS");
        }
    }

    /// `peer` speaks TLS where plain text is served.
    pub(super) fn note_tls(&mut self, now: Instant, peer: &Address) {
        if self.warning.is_due(now) {
            log::warn!("{peer} speaks TLS; this port serves plain text: see --tls-cert and --tls-self-signed");
        }
    }
}
