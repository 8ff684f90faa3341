//! The message protocol of the tutorial's application pair. A message is three parts, one after the other:
//!
//! 1. two bytes, the length of part 2 as an unsigned integer in network byte order;
//! 2. the header, a JSON object in UTF-8 (RFC 8259) with at least `byteorder`, `content-type`, `content-encoding` and
//!    `content-length`; other keys are allowed;
//! 3. the content, `content-length` bytes.
//!
//! What is written here is byte for byte what the tutorial's Python writes. What is read is bounded: a header has 65,535
//! bytes at most, because its length has two, the content as many as the decoder was made with, and JSON nests 127 deep
//! (the limit of `serde_json`). Whatever is wrong is a [`MessageError`] that names it.

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

/// The most bytes that stand before a content, in bytes: the length of the header, and the longest header.
pub const MOST_BEFORE_CONTENT: usize = LENGTH_BYTES + u16::MAX as usize;

/// The content type of JSON; every other one is binary.
pub const JSON_TYPE: &str = "text/json";

/// How many bytes the length of the header takes, in bytes.
const LENGTH_BYTES: usize = 2;

/// A message at the front of the bytes that wait.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// What the header says.
    pub header: Header,
    /// The content as it came.
    pub content_bytes: &'a [u8],
    /// How many bytes the message takes in all, in bytes: so many are to be consumed.
    pub size: usize,
}

impl<'a> Message<'a> {
    /// The content as what the header says it is.
    ///
    /// # Errors
    ///
    /// [`MessageError`] when the encoding is not known, or the content is not what it should be.
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
    most_content_bytes: usize,
    /// With fewer bytes than this there is nothing new to see: a header is read twice at most, however slowly its
    /// content comes.
    needed: usize,
}

impl MessageDecoder {
    /// A decoder of messages whose content takes at most `most_content_bytes`. A buffer that is to hold each of them
    /// must have room for [`MOST_BEFORE_CONTENT`] more.
    #[must_use]
    pub fn new(most_content_bytes: usize) -> Self {
        Self { most_content_bytes, needed: LENGTH_BYTES }
    }

    /// The first message of `bytes`, which begin where the last one ended; `None` when more are needed. `has_ended` says
    /// that no more will come. Until it has given a message it must be shown the same bytes again, and what follows
    /// them.
    ///
    /// # Errors
    ///
    /// [`MessageError`] when no message can ever come of it: the stream is of no more use.
    pub fn decode<'a>(&mut self, bytes: &'a [u8], has_ended: bool) -> Result<Option<Message<'a>>, MessageError> {
        let found = if bytes.len() < self.needed { None } else { self.look(bytes)? };
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

    /// The header, and where its content begins and ends, if all of it is here.
    fn look(&mut self, bytes: &[u8]) -> Result<Option<(Header, usize, usize)>, MessageError> {
        let [high, low, rest @ ..] = bytes else { return Ok(None) };
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        let start = LENGTH_BYTES + size;
        let Some(text) = rest.get(..size) else {
            self.needed = start;
            return Ok(None);
        };
        let header = Header::read(text)?;
        let size = usize::try_from(header.content_length).ok().filter(|&size| size <= self.most_content_bytes);
        let Some(size) = size else {
            let most = self.most_content_bytes as u64;
            return Err(MessageError::ContentTooLarge { size: header.content_length, most });
        };
        let end = start.saturating_add(size);
        if bytes.len() < end {
            self.needed = end;
            return Ok(None);
        }
        Ok(Some((header, start, end)))
    }
}
