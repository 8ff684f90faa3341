//! What can be wrong with a stream of frames.

use thiserror::Error;

/// Why no frame can come of the bytes of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A frame would be larger than is allowed.
    #[error("a frame of {size} bytes is larger than the {most} bytes allowed")]
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
    #[error("the input ended {missing} byte{} short of a whole frame", if *missing == 1 { "" } else { "s" })]
    Truncated {
        /// How many bytes are missing at least, in bytes.
        missing: u64,
    },
}
