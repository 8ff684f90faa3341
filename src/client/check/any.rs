//! Expectation of any reply: one frame per message, a fixed number of bytes, or any bytes.

use super::Checked;
use super::text::TextCheck;
use crate::client::failure::Failure;
use crate::codec::{Decoder, FrameError};
use crate::python_repr::BytesRepr;

/// Maximum number of bytes of a reply in the log.
const LOGGED_BYTES: usize = 200;

/// Checks the first frame of the bytes that `connection` received; returns the failure and its description if it is
/// invalid.
pub(in crate::client) fn check_frame(
    connection: u32,
    decoder: &mut Decoder,
    text: &mut TextCheck,
    (received, has_ended): (&[u8], bool),
) -> Result<Checked, (Failure, String)> {
    match decoder.decode(received, has_ended) {
        Ok(Some(frame)) => {
            text.add(&received[frame.payload.clone()]);
            log_reply(connection, &received[frame.payload]);
            Ok(Checked::Correct { bytes: frame.size, ends_message: true })
        }
        Ok(None) => Ok(Checked::Incomplete),
        Err(error) => {
            let is_truncated = matches!(error, FrameError::Truncated { .. });
            Err((if is_truncated { Failure::IncompleteFrame } else { Failure::BadFrame }, error.to_string()))
        }
    }
}

/// Accepts bytes of a reply of `size` bytes, of which `before` were received earlier.
pub(in crate::client) fn check_sized(
    connection: u32,
    (size, before): (usize, usize),
    text: &mut TextCheck,
    received: &[u8],
) -> Checked {
    let count = (size - before).min(received.len());
    text.add(&received[..count]);
    log_reply(connection, &received[..count]);
    Checked::Correct { bytes: count, ends_message: before + count == size }
}

/// Accepts all bytes; the end of a reply is unknown.
pub(in crate::client) fn accept_all(connection: u32, received: &[u8]) -> Checked {
    log_reply(connection, received);
    Checked::Correct { bytes: received.len(), ends_message: false }
}

fn log_reply(connection: u32, reply: &[u8]) {
    log::trace!(connection; "reply {}", BytesRepr::abbreviated(reply, LOGGED_BYTES));
}
