//! Expectation of an HTTP response to each request.

use super::text::TextCheck;
use crate::client::failure::Failure;
use crate::codec::http::{DecodedResponse, HttpError, ResponseDecoder};

/// Maximum size of the head of a response in bytes. Common servers send at most a few KiB.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Decoder for a connection that buffers `buffer_bytes`.
pub(in crate::client) fn decoder(buffer_bytes: usize) -> ResponseDecoder {
    ResponseDecoder::new(buffer_bytes.min(MAX_HEAD_BYTES))
}

/// Checks the bytes that `connection` received for `request`; returns the failure and its description if they are no
/// response.
#[inline]
pub(in crate::client) fn check_response(
    connection: u32,
    decoder: &mut ResponseDecoder,
    text: &mut TextCheck,
    (received, has_ended): (&[u8], bool),
    request: &[u8],
) -> Result<DecodedResponse, (Failure, String)> {
    let is_head = request.starts_with(b"HEAD ");
    let part = decoder.decode_body(received, has_ended, is_head, |body| text.add(body)).map_err(|error| {
        let failure = if error == HttpError::Truncated { Failure::IncompleteFrame } else { Failure::BadFrame };
        (failure, format!("no HTTP/1.1 response: {error}"))
    })?;
    if let Some(response) = part.response {
        log::trace!(connection, status = response.status; "response");
    }
    Ok(part)
}
