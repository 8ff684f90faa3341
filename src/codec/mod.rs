//! Codecs: split a byte stream into frames, and wrap payloads as frames.
//!
//! TCP carries a stream without message boundaries: one message can arrive in many parts, and many messages in one
//! read. A framing defines where a message ends.
//!
//! A [`Decoder`] gets the buffered bytes and returns the extent of the first frame. It never keeps a byte and never
//! touches a socket. A [`Framing`] returns the bytes before and after a payload. No length from a peer is trusted
//! beyond the limit of the decoder. [`message`] is a separate protocol: frames with a JSON header. The module `http`, with
//! the feature of that name, has decoders of its own for HTTP/1.1.

mod delimited;
mod error;
mod fixed;
mod frame;
mod framing;
#[cfg(feature = "http")]
pub mod http;
mod length_prefixed;
pub mod message;
#[cfg(test)]
mod tests;

pub use delimited::Delimiter;
pub use error::FrameError;
pub use frame::Frame;
pub use framing::{Envelope, Framing, FramingError};
pub use length_prefixed::{LengthFormat, LengthPrefix};

use frame::Found;

/// Finds the frames of one stream.
///
/// ```
/// use multiconn::codec::{Decoder, Framing};
///
/// let mut decoder = Decoder::new(Framing::LINES, 1024);
/// let frame = decoder.decode(b"one\ntwo", false)?.expect("a whole line");
/// assert_eq!((frame.payload, frame.size), (0..3, 4));
/// assert_eq!(decoder.decode(b"two", false)?, None);
/// assert_eq!(decoder.decode(b"two", true).unwrap_err().to_string(), "the input ended 1 byte short of a whole frame");
/// # Ok::<(), multiconn::codec::FrameError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Decoder {
    framing: Framing,
    max_bytes: usize,
    /// Number of bytes of the first frame that were searched without finding a delimiter.
    searched: usize,
}

impl Decoder {
    /// Creates a decoder for frames of at most `max_bytes` each, including the bytes that the framing adds. Should not
    /// exceed the input buffer of a connection: a frame that does not fit there can never complete.
    #[must_use]
    pub fn new(framing: Framing, max_bytes: usize) -> Self {
        Self { framing, max_bytes, searched: 0 }
    }

    /// The framing of the stream.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Returns the first frame of `bytes`, which start where the last frame ended; `None` when more bytes are needed.
    /// `has_ended` tells that no more follow. Until a frame is returned, each call must pass the same bytes again, with
    /// those that followed.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when the bytes can never form a frame; the stream is unusable from then on.
    pub fn decode(&mut self, bytes: &[u8], has_ended: bool) -> Result<Option<Frame>, FrameError> {
        let found = match self.framing {
            Framing::Fixed(size) => Ok(fixed::decode(size, bytes)),
            Framing::Delimited(delimiter) => delimiter.decode(bytes, &mut self.searched, self.max_bytes),
            Framing::LengthPrefixed(prefix) => prefix.decode(bytes, self.max_bytes),
            Framing::UntilEnd => decode_until_end(bytes, has_ended, self.max_bytes),
        }?;
        match found {
            Found::Frame(frame) => {
                self.searched = 0;
                Ok(Some(frame))
            }
            Found::Missing(missing) if has_ended && !bytes.is_empty() => Err(FrameError::Truncated { missing }),
            Found::Missing(_) => Ok(None),
        }
    }
}

/// All bytes form one frame, once the input has ended.
fn decode_until_end(bytes: &[u8], has_ended: bool, max_bytes: usize) -> Result<Found, FrameError> {
    let size = bytes.len();
    if size > max_bytes {
        return Err(FrameError::TooLarge { size: size as u64, max: max_bytes as u64 });
    }
    let is_whole = has_ended && size > 0;
    Ok(if is_whole { Found::Frame(Frame { payload: 0..size, size, kind: None }) } else { Found::Missing(1) })
}
