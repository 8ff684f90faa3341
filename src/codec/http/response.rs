//! Whole responses, for a client that needs their end and status only.

use super::body::BodyDecoder;
use super::error::HttpError;
use super::head::HeadDecoder;

/// Finds the ends of the responses of one connection. Interim responses (1xx, except 101) are skipped.
///
/// ```
/// use multiconn::codec::http::ResponseDecoder;
///
/// let mut decoder = ResponseDecoder::new(8192);
/// let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1";
/// let decoded = decoder.decode(bytes, false, false)?;
/// let response = decoded.response.expect("a whole response");
/// assert_eq!((response.status, response.is_persistent, decoded.size), (200, true, bytes.len() - "HTTP/1.1".len()));
/// # Ok::<(), multiconn::codec::http::HttpError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ResponseDecoder {
    head: HeadDecoder,
    /// The response whose head has arrived, and the rest of its body.
    current: Option<(Response, BodyDecoder)>,
}

/// A response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status code, from 100 to 999 (RFC 9110, section 15).
    pub status: u16,
    /// Whether the server keeps the connection open after it.
    pub is_persistent: bool,
}

/// Bytes of a response that were decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodedResponse {
    /// Number of bytes to consume.
    pub size: usize,
    /// The response, if these bytes end it.
    pub response: Option<Response>,
}

impl ResponseDecoder {
    /// Creates a decoder for responses with heads of at most `max_head_bytes` each. Bodies have any size.
    #[must_use]
    pub fn new(max_head_bytes: usize) -> Self {
        Self { head: HeadDecoder::new(max_head_bytes), current: None }
    }

    /// Decodes the start of `bytes`, which begin after those consumed last, up to the end of the first response.
    /// `has_ended` says that no more bytes follow, which ends a response without a length. `is_head` says that the
    /// request was `HEAD`.
    ///
    /// # Errors
    ///
    /// [`HttpError`] when the bytes can never form a response, or the input has ended within one. The stream is unusable
    /// from then on.
    pub fn decode(&mut self, bytes: &[u8], has_ended: bool, is_head: bool) -> Result<DecodedResponse, HttpError> {
        self.decode_body(bytes, has_ended, is_head, |_| {})
    }

    /// Decodes as [`decode`](Self::decode) does, and passes the content of the body to `on_body`, in any number of parts.
    ///
    /// # Errors
    ///
    /// Those of [`decode`](Self::decode).
    #[inline]
    pub fn decode_body(
        &mut self,
        bytes: &[u8],
        has_ended: bool,
        is_head: bool,
        on_body: impl FnMut(&[u8]),
    ) -> Result<DecodedResponse, HttpError> {
        let mut size = 0;
        while self.current.is_none() {
            let rest = &bytes[size..];
            let Some(head) = self.head.response(rest, is_head)? else {
                let is_truncated = has_ended && !bytes.is_empty();
                return if is_truncated {
                    Err(HttpError::Truncated)
                } else {
                    Ok(DecodedResponse { size, response: None })
                };
            };
            size += head.size;
            let is_interim = head.status < 200 && head.status != 101;
            let response = Response { status: head.status, is_persistent: head.is_persistent };
            self.current = (!is_interim).then_some((response, head.body));
        }
        let Some((response, body)) = &mut self.current else { return Ok(DecodedResponse { size, response: None }) };
        size += body.decode_all(&bytes[size..], has_ended, on_body)?;
        let response = body.is_complete().then_some(*response);
        if response.is_some() {
            self.current = None;
        }
        Ok(DecodedResponse { size, response })
    }

    /// Whether a part of a response has arrived, of which the end is missing.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.current.is_some()
    }
}
