//! TLS as the client meets it: a handshake after each connect, its time, and what went wrong with it.

use super::report::Failure;
use super::workload::Outcome;
use super::{Recorder, Shared};
use crate::socket::{Stream, TlsStream, Transport};
use std::cell::RefCell;
use std::io;
use std::time::Instant;

/// Puts TLS on what is being connected as connection `number`, where it is wanted.
pub(super) fn secured(shared: &Shared, number: usize, socket: Stream) -> io::Result<Stream> {
    let Some(tls) = shared.tls.get(shared.target_of(number)) else { return Ok(socket) };
    tls.connect(socket).map_err(io::Error::other)
}

/// Writes down what was agreed on, if the handshake that went on before this turn is complete now.
pub(super) fn note_secured(socket: &Stream, number: usize, connected: Instant, recorder: &RefCell<Recorder>) {
    if let Some(tls) = socket.tls().filter(|tls| !tls.is_handshaking()) {
        recorder.borrow_mut().shook_hands(connected.elapsed());
        log::debug!("Secured connection {number}: {tls}");
    }
}

/// What became of a connection, whose TLS may have gone wrong: that explains what else did.
pub(super) fn outcome(outcome: Outcome, socket: &Stream) -> Outcome {
    match (outcome, socket.tls().and_then(TlsStream::fault)) {
        (Outcome::Failed(Failure::Stopped) | Outcome::Verified, _) | (_, None) => outcome,
        (Outcome::Failed(_), Some(fault)) => Outcome::Failed(Failure::Tls(fault)),
    }
}
