//! Message protocol of the tutorial's application pair. A message has three consecutive parts:
//!
//! 1. two bytes, the length of part 2 as an unsigned integer in network byte order;
//! 2. the header, a JSON object in UTF-8 (RFC 8259) with at least `byteorder`, `content-type`, `content-encoding` and
//!    `content-length`; other keys are allowed;
//! 3. the content, `content-length` bytes.
//!
//! Written messages equal those of the tutorial's Python byte for byte. Input is bounded. A header has at most 65,535
//! bytes, because its length has two. The content has at most as many bytes as the decoder allows. JSON nests at most
//! 127 levels (the limit of `serde_json`). Errors are described by [`MessageError`].

mod content;
mod encode;
mod encoding;
mod error;
mod header;
#[cfg(test)]
mod tests;

pub use content::Content;
pub use encode::{Head, python_json};
pub use encoding::{Encoding, UnknownEncoding};
pub use error::MessageError;
pub use header::{ByteOrder, Header};

/// Maximum number of bytes before the content: the length field and the longest header.
pub const MAX_BEFORE_CONTENT: usize = LENGTH_BYTES + u16::MAX as usize;

/// The content type of JSON; all others are binary.
pub const JSON_TYPE: &str = "text/json";

/// Size of the header's length field in bytes.
const LENGTH_BYTES: usize = 2;

/// Message at the start of the buffered bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// The decoded header.
    pub header: Header,
    /// The undecoded content.
    pub content_bytes: &'a [u8],
    /// Size of the whole message in bytes, which is the number of bytes to consume.
    pub size: usize,
}

impl<'a> Message<'a> {
    /// Decodes the content according to the header.
    ///
    /// # Errors
    ///
    /// [`MessageError`] when the encoding is unknown or the content does not match the header.
    pub fn content(&self) -> Result<Content<'a>, MessageError> {
        Content::read(&self.header, self.content_bytes)
    }
}

/// Finds the messages of one stream.
///
/// ```
/// use multiconn::codec::message::{Head, MessageDecoder};
///
/// let bytes = Head::json().message(br#"{"result": "yes"}"#)?;
/// let mut decoder = MessageDecoder::new(1024);
/// assert_eq!(decoder.decode(&bytes[..100], false)?, None);
/// let message = decoder.decode(&bytes, false)?.expect("a whole message");
/// assert_eq!((message.content_bytes, message.size), (&br#"{"result": "yes"}"#[..], bytes.len()));
/// # Ok::<(), multiconn::codec::message::MessageError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MessageDecoder {
    max_content_bytes: usize,
    /// Number of bytes below which nothing new can be decoded. A header is parsed at most twice, however slowly its
    /// content arrives.
    needed: usize,
}

impl MessageDecoder {
    /// Creates a decoder for messages with at most `max_content_bytes` of content. A buffer for such messages needs
    /// [`MAX_BEFORE_CONTENT`] bytes more.
    #[must_use]
    pub fn new(max_content_bytes: usize) -> Self {
        Self { max_content_bytes, needed: LENGTH_BYTES }
    }

    /// Returns the first message of `bytes`, which start where the last message ended; `None` when more bytes are
    /// needed. `has_ended` tells that no more follow. Until a message is returned, each call must pass the same bytes
    /// again, with those that followed.
    ///
    /// # Errors
    ///
    /// [`MessageError`] when the bytes can never form a message; the stream is unusable from then on.
    pub fn decode<'a>(&mut self, bytes: &'a [u8], has_ended: bool) -> Result<Option<Message<'a>>, MessageError> {
        let found = if bytes.len() < self.needed { None } else { self.find(bytes)? };
        match found {
            Some((header, start, end)) => {
                self.needed = LENGTH_BYTES;
                Ok(Some(Message { header, content_bytes: &bytes[start..end], size: end }))
            }
            None if has_ended && !bytes.is_empty() => {
                Err(MessageError::Truncated { missing: (self.needed - bytes.len()) as u64 })
            }
            None => Ok(None),
        }
    }

    /// Returns the header and the start and end of its content, if the message is complete.
    fn find(&mut self, bytes: &[u8]) -> Result<Option<(Header, usize, usize)>, MessageError> {
        let [high, low, rest @ ..] = bytes else { return Ok(None) };
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        let start = LENGTH_BYTES + size;
        let Some(text) = rest.get(..size) else {
            self.needed = start;
            return Ok(None);
        };
        let header = Header::read(text)?;
        let size = usize::try_from(header.content_length).ok().filter(|&size| size <= self.max_content_bytes);
        let Some(size) = size else {
            let max = self.max_content_bytes as u64;
            return Err(MessageError::ContentTooLarge { size: header.content_length, max });
        };
        let end = start.saturating_add(size);
        if bytes.len() < end {
            self.needed = end;
            return Ok(None);
        }
        Ok(Some((header, start, end)))
    }
}
