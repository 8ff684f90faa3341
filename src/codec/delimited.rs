//! Frames that end with a delimiter, such as lines.

use super::error::FrameError;
use super::frame::{Found, Frame};

/// Maximum length of a delimiter in bytes.
pub(super) const MAX_DELIMITER_BYTES: usize = 8;

/// Delimiter of one to eight bytes at the end of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Delimiter {
    bytes: [u8; MAX_DELIMITER_BYTES],
    size: u8,
}

impl Delimiter {
    /// The line end `\n`.
    pub const NEWLINE: Self = Self { bytes: [b'\n', 0, 0, 0, 0, 0, 0, 0], size: 1 };

    /// The line end of most Internet protocols, `\r\n`.
    pub const CRLF: Self = Self { bytes: [b'\r', b'\n', 0, 0, 0, 0, 0, 0], size: 2 };

    /// Creates a delimiter from `text`; `None` if that is empty or longer than eight bytes.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        let size = u8::try_from(text.len()).ok()?;
        let mut bytes = [0; MAX_DELIMITER_BYTES];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        (size > 0).then_some(Self { bytes, size })
    }

    /// The bytes of the delimiter.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.size)]
    }

    /// Position of the first delimiter in `bytes`.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self.bytes() {
            // Preparing the general search took half of the instructions of a short line.
            [byte] => memchr::memchr(*byte, bytes),
            delimiter => memchr::memmem::find(bytes, delimiter),
        }
    }

    /// Whether a reader would find the delimiter too early in `payload` followed by the delimiter.
    pub(super) fn occurs_early_in(self, payload: &[u8]) -> bool {
        let size = usize::from(self.size);
        if size == 1 {
            return self.find(payload).is_some();
        }
        // A match may start in the payload and end in the delimiter itself.
        let tail = &payload[payload.len().saturating_sub(size - 1)..];
        let mut seam = [0; 2 * MAX_DELIMITER_BYTES];
        seam[..tail.len()].copy_from_slice(tail);
        seam[tail.len()..tail.len() + size].copy_from_slice(self.bytes());
        self.find(payload).is_some() || self.find(&seam[..tail.len() + size]) < Some(tail.len())
    }

    /// Searches `bytes` for the delimiter. The first `searched` bytes contain none and are not searched again, however
    /// slowly a frame arrives.
    pub(super) fn decode(self, bytes: &[u8], searched: &mut usize, max_bytes: usize) -> Result<Found, FrameError> {
        let size = usize::from(self.size);
        let end_of_search = max_bytes.min(bytes.len());
        let from = (*searched).min(end_of_search);
        if let Some(offset) = self.find(&bytes[from..end_of_search]) {
            let end = from + offset;
            return Ok(Found::Frame(Frame { payload: 0..end, size: end + size, kind: None }));
        }
        if bytes.len() >= max_bytes {
            return Err(FrameError::TooLarge { size: bytes.len() as u64 + 1, max: max_bytes as u64 });
        }
        // The delimiter itself may come in pieces.
        *searched = bytes.len().saturating_sub(size - 1);
        Ok(Found::Missing((size - self.partial_delimiter_bytes(bytes)) as u64))
    }

    /// How many bytes of the delimiter stand at the end of `bytes`.
    fn partial_delimiter_bytes(&self, bytes: &[u8]) -> usize {
        let delimiter = self.bytes();
        (1..delimiter.len()).rev().find(|&count| bytes.ends_with(&delimiter[..count])).unwrap_or(0)
    }
}

impl std::fmt::Debug for Delimiter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Delimiter({})", self.bytes().escape_ascii())
    }
}
