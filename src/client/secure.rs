//! TLS as the client meets it: a handshake after each connect, and what went wrong with it.

use super::Shared;
use super::failure::Failure;
use super::workload::Outcome;
use crate::socket::{Stream, TlsStream};
use std::io;

/// Puts TLS on what is being connected as connection `number`, where it is wanted.
pub(super) fn secured(shared: &Shared, number: usize, socket: Stream) -> io::Result<Stream> {
    let Some(tls) = shared.tls.get(shared.target_of(number)) else { return Ok(socket) };
    tls.connect(socket).map_err(io::Error::other)
}

/// What became of a connection, whose TLS may have gone wrong: that explains what else did.
pub(super) fn outcome(outcome: Outcome, socket: &Stream) -> Outcome {
    match (outcome, socket.tls().and_then(TlsStream::fault)) {
        (Outcome::Failed(Failure::Stopped) | Outcome::Verified, _) | (_, None) => outcome,
        (Outcome::Failed(_), Some(fault)) => Outcome::Failed(Failure::Tls(fault)),
    }
}
