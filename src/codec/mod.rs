//! Bytes to frames and back. TCP carries a stream without borders: what was sent as one message can arrive in many
//! pieces, and many messages in one. A framing says where one ends.
//!
//! A [`Decoder`] is shown the bytes that wait and says how far the first frame reaches; it never keeps a byte itself and
//! never touches a socket. A [`Framing`] gives what goes before and after a payload. No length that a peer names is
//! believed beyond the limit the decoder was made with. [`message`] is a protocol of its own: frames with a JSON header.

mod delimited;
mod error;
mod fixed;
mod framing;
mod length_prefixed;
pub mod message;
#[cfg(test)]
mod tests;

pub use delimited::Delimiter;
pub use error::FrameError;
pub use framing::{Envelope, Framing, FramingError};
pub use length_prefixed::{LengthFormat, LengthPrefix};

use std::ops::Range;

/// A frame at the front of the bytes that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where the payload stands among the bytes.
    pub payload: Range<usize>,
    /// How many bytes the frame takes in all, in bytes: so many are to be consumed.
    pub size: usize,
    /// The type byte, in framings that have one.
    pub kind: Option<u8>,
}

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
    most_bytes: usize,
    /// How many bytes of the first frame are known to hold no delimiter.
    searched: usize,
}

impl Decoder {
    /// A decoder of frames that take at most `most_bytes` each, the framing's own bytes included. Should be no more than the
    /// input buffer of a connection holds: a frame that never fits there can never complete.
    #[must_use]
    pub fn new(framing: Framing, most_bytes: usize) -> Self {
        Self { framing, most_bytes, searched: 0 }
    }

    /// The framing.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The first frame of `bytes`, which begin where the last frame ended; `None` when more are needed. `has_ended` says
    /// that no more will come. Until it has given a frame it must be shown the same bytes again, and what follows them.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when no frame can ever come of it: the stream is of no more use.
    pub fn decode(&mut self, bytes: &[u8], has_ended: bool) -> Result<Option<Frame>, FrameError> {
        let found = match self.framing {
            Framing::Fixed(size) => Ok(fixed::decode(size, bytes)),
            Framing::Delimited(delimiter) => delimiter.decode(bytes, &mut self.searched, self.most_bytes),
            Framing::LengthPrefixed(prefix) => prefix.decode(bytes, self.most_bytes),
            Framing::UntilEnd => until_end(bytes, has_ended, self.most_bytes),
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

/// All there is, once it has ended.
fn until_end(bytes: &[u8], has_ended: bool, most_bytes: usize) -> Result<Found, FrameError> {
    let size = bytes.len();
    if size > most_bytes {
        return Err(FrameError::TooLarge { size: size as u64, most: most_bytes as u64 });
    }
    let is_whole = has_ended && size > 0;
    Ok(if is_whole { Found::Frame(Frame { payload: 0..size, size, kind: None }) } else { Found::Missing(1) })
}

/// What a framing found at the front of the bytes.
enum Found {
    Frame(Frame),
    /// At least so many bytes are missing.
    Missing(u64),
}
