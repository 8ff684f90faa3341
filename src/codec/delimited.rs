//! Frames that end with a delimiter, such as lines.

use super::{Found, Frame, FrameError};

/// The longest delimiter, in bytes.
pub(super) const LONGEST_DELIMITER: usize = 8;

/// The bytes that end a frame: one to eight.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Delimiter {
    bytes: [u8; LONGEST_DELIMITER],
    size: u8,
}

impl Delimiter {
    /// The end of a line: `\n`.
    pub const NEWLINE: Self = Self { bytes: [b'\n', 0, 0, 0, 0, 0, 0, 0], size: 1 };

    /// The end of a line in most protocols of the Internet: `\r\n`.
    pub const CRLF: Self = Self { bytes: [b'\r', b'\n', 0, 0, 0, 0, 0, 0], size: 2 };

    /// A delimiter of `text`; `None` if that is empty or longer than eight bytes.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        let size = u8::try_from(text.len()).ok()?;
        let mut bytes = [0; LONGEST_DELIMITER];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        (size > 0).then_some(Self { bytes, size })
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.size)]
    }

    /// Where the delimiter first stands in `bytes`.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<usize> {
        memchr::memmem::find(bytes, self.bytes())
    }

    /// Whether a reader who looks for the delimiter finds it too early in `payload` followed by the delimiter.
    pub(super) fn breaks(self, payload: &[u8]) -> bool {
        let size = usize::from(self.size);
        // One that begins in the payload and ends in the delimiter itself.
        let tail = &payload[payload.len().saturating_sub(size - 1)..];
        let mut seam = [0; 2 * LONGEST_DELIMITER];
        seam[..tail.len()].copy_from_slice(tail);
        seam[tail.len()..tail.len() + size].copy_from_slice(self.bytes());
        self.find(payload).is_some() || self.find(&seam[..tail.len() + size]) < Some(tail.len())
    }

    /// `searched` bytes are known to hold none: what was seen once is not searched again, however slowly a frame comes.
    pub(super) fn decode(self, bytes: &[u8], searched: &mut usize, most_bytes: usize) -> Result<Found, FrameError> {
        let size = usize::from(self.size);
        let most = most_bytes.min(bytes.len());
        let from = (*searched).min(most);
        if let Some(offset) = self.find(&bytes[from..most]) {
            let end = from + offset;
            return Ok(Found::Frame(Frame { payload: 0..end, size: end + size, kind: None }));
        }
        if bytes.len() >= most_bytes {
            return Err(FrameError::TooLarge { size: bytes.len() as u64 + 1, most: most_bytes as u64 });
        }
        // The delimiter itself may come in pieces.
        *searched = bytes.len().saturating_sub(size - 1);
        Ok(Found::Missing((size - self.begun(bytes)) as u64))
    }

    /// How many bytes of the delimiter stand at the end of `bytes`.
    fn begun(&self, bytes: &[u8]) -> usize {
        let delimiter = self.bytes();
        (1..delimiter.len()).rev().find(|&count| bytes.ends_with(&delimiter[..count])).unwrap_or(0)
    }
}

impl std::fmt::Debug for Delimiter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Delimiter({})", self.bytes().escape_ascii())
    }
}
