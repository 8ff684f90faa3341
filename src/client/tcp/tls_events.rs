//! TLS on client connections: starting the handshake after connect, and attributing failures to TLS.

use super::exchange::ExchangeOutcome;
use crate::client::Shared;
use crate::client::failure::Failure;
use crate::socket::{Stream, TlsStream};
use std::io;

/// Wraps the socket of connection `number` in TLS if its target uses TLS.
pub(in crate::client) fn secured(shared: &Shared, number: usize, socket: Stream) -> io::Result<Stream> {
    let Some(tls) = shared.tls.get(shared.target_of(number)) else { return Ok(socket) };
    tls.connect(socket).map_err(io::Error::other)
}

/// Replaces the failure of a connection by its TLS fault, if there was one, since that is the cause.
pub(in crate::client) fn outcome(outcome: ExchangeOutcome, socket: &Stream) -> ExchangeOutcome {
    match (outcome, socket.tls().and_then(TlsStream::fault)) {
        (ExchangeOutcome::Failed(Failure::Stopped) | ExchangeOutcome::Verified, _) | (_, None) => outcome,
        (ExchangeOutcome::Failed(_), Some(fault)) => ExchangeOutcome::Failed(Failure::Tls(fault)),
    }
}
