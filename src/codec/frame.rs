//! One frame of a stream, and the result of the search for it.

use std::ops::Range;

/// Frame at the start of the buffered bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Range of the payload within the bytes.
    pub payload: Range<usize>,
    /// Size of the whole frame in bytes, which is the number of bytes to consume.
    pub size: usize,
    /// Type byte, for framings with one.
    pub kind: Option<u8>,
}

/// Result of searching the start of the bytes for a frame.
pub(super) enum Found {
    Frame(Frame),
    /// At least that many bytes are missing.
    Missing(u64),
}
