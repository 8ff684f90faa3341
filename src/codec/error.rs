//! Errors of a frame stream.

use crate::units::format_counted;
use thiserror::Error;

/// Reason why a peer's bytes can never form a frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame exceeds the maximum size.
    #[error("a frame of {} is larger than the {} allowed", format_counted(*.size, "byte"), format_counted(*.max, "byte"))]
    TooLarge {
        /// Size of the frame in bytes, or of the part that has arrived.
        size: u64,
        /// Maximum size in bytes.
        max: u64,
    },
    /// A length in digits contains another character.
    #[error("the length {text:?} is not written in ASCII digits; example: 00042")]
    NotDigits {
        /// The text at the position of the length.
        text: String,
    },
    /// The peer shut down its sending half in the middle of a frame.
    #[error("the input ended {} short of a whole frame", format_counted(*.missing, "byte"))]
    Truncated {
        /// Minimum number of missing bytes.
        missing: u64,
    },
}
