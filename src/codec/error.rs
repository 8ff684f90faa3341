//! What can be wrong with a stream of frames.

use crate::units::format_counted;
use thiserror::Error;

/// Why no frame can come of the bytes of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A frame would be larger than is allowed.
    #[error("a frame of {} is larger than the {} allowed", format_counted(*.size, "byte"), format_counted(*.most, "byte"))]
    TooLarge {
        /// The size of the frame, in bytes, or how much of it has come already.
        size: u64,
        /// The largest one allowed, in bytes.
        most: u64,
    },
    /// A length written in digits has something else in it.
    #[error("the length {text:?} is not written in ASCII digits, as 00042 is")]
    NotDigits {
        /// What stands where the length should.
        text: String,
    },
    /// The peer shut its half in the middle of a frame.
    #[error("the input ended {} short of a whole frame", format_counted(*.missing, "byte"))]
    Truncated {
        /// How many bytes are missing at least, in bytes.
        missing: u64,
    },
}
