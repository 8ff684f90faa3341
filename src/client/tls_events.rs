//! TLS as the client meets it: a handshake after each connect, and what went wrong with it.

use super::Shared;
use super::exchange::ExchangeOutcome;
use super::failure::Failure;
use crate::socket::{Stream, TlsStream};
use std::io;

/// Puts TLS on what is being connected as connection `number`, where it is wanted.
pub(super) fn secured(shared: &Shared, number: usize, socket: Stream) -> io::Result<Stream> {
    let Some(tls) = shared.tls.get(shared.target_of(number)) else { return Ok(socket) };
    tls.connect(socket).map_err(io::Error::other)
}

/// What became of a connection, whose TLS may have gone wrong: that explains what else did.
pub(super) fn outcome(outcome: ExchangeOutcome, socket: &Stream) -> ExchangeOutcome {
    match (outcome, socket.tls().and_then(TlsStream::fault)) {
        (ExchangeOutcome::Failed(Failure::Stopped) | ExchangeOutcome::Verified, _) | (_, None) => outcome,
        (ExchangeOutcome::Failed(_), Some(fault)) => ExchangeOutcome::Failed(Failure::Tls(fault)),
    }
}
