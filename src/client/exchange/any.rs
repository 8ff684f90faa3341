//! The expectation of some answer: a frame for each message, bytes of a known number, or whatever comes.

use super::Checked;
use crate::client::failure::Failure;
use crate::codec::{Decoder, FrameError};
use crate::python_repr::BytesRepr;

/// How many bytes of an answer the story tells.
const TOLD_BYTES: usize = 200;

/// Looks at the first frame of what `connection` has `received`; says what is wrong with it.
pub(super) fn check_frame(
    connection: usize,
    decoder: &mut Decoder,
    received: &[u8],
    has_ended: bool,
) -> Result<Checked, (Failure, String)> {
    match decoder.decode(received, has_ended) {
        Ok(Some(frame)) => {
            tell(connection, &received[frame.payload]);
            Ok(Checked::Right { bytes: frame.size, ends_message: true })
        }
        Ok(None) => Ok(Checked::Incomplete),
        Err(error) => {
            let is_truncated = matches!(error, FrameError::Truncated { .. });
            Err((if is_truncated { Failure::CutFrame } else { Failure::BadFrame }, error.to_string()))
        }
    }
}

/// Takes what belongs to an answer of `size` bytes, of which `before` came already.
pub(super) fn take_sized(connection: usize, (size, before): (usize, usize), received: &[u8]) -> Checked {
    let count = (size - before).min(received.len());
    tell(connection, &received[..count]);
    Checked::Right { bytes: count, ends_message: before + count == size }
}

/// Takes all there is, which nothing tells apart.
pub(super) fn take_all(connection: usize, received: &[u8]) -> Checked {
    tell(connection, received);
    Checked::Right { bytes: received.len(), ends_message: false }
}

fn tell(connection: usize, answer: &[u8]) {
    log::debug!("Connection {connection} was answered {}", BytesRepr::abbreviated(answer, TOLD_BYTES));
}
