//! Errors of the message protocol.

use super::UnknownEncoding;
use crate::units::format_counted;
use thiserror::Error;

/// Maximum number of characters of a peer's text that an error shows.
const MAX_SHOWN_CHARACTERS: usize = 40;

/// Truncates a peer's text, which can be as long as a header.
pub(super) fn truncated(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_SHOWN_CHARACTERS) {
        text.truncate(end);
        text.push_str("...");
        // The text may be kept until the connection closes.
        text.shrink_to_fit();
    }
    text
}

/// Reason why a peer's bytes can never form a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The peer shut down its sending half in the middle of a message.
    #[error("the input ended {} short of a whole message", format_counted(*.missing, "byte"))]
    Truncated {
        /// Minimum number of missing bytes.
        missing: u64,
    },
    /// The header is not UTF-8.
    #[error("the header is not UTF-8: invalid byte at offset {offset}")]
    HeaderNotUtf8 {
        /// Number of valid bytes before the invalid one.
        offset: usize,
    },
    /// The header is not a JSON object.
    #[error("the header is not a JSON object: {reason}")]
    HeaderNotJson {
        /// Description of the problem.
        reason: String,
    },
    /// The header lacks a required key. The text is that of the tutorial's server.
    #[error("Missing required header '{key}'.")]
    HeaderMissing {
        /// The missing key.
        key: &'static str,
    },
    /// The header has a duplicate key: two readers could disagree on which value counts.
    #[error("the header has the key {key:?} twice")]
    HeaderDuplicateKey {
        /// The key, possibly truncated.
        key: String,
    },
    /// A value of the header is invalid.
    #[error("the header's '{key}' is {found}; expected {expected}")]
    HeaderInvalid {
        /// The key.
        key: &'static str,
        /// Its value, as JSON.
        found: String,
        /// Description of valid values.
        expected: &'static str,
    },
    /// An outgoing header is too long.
    #[error("a header of {} is too long; the maximum is 65,535 bytes", format_counted(*.size as u64, "byte"))]
    HeaderTooLong {
        /// Size of the header in bytes.
        size: usize,
    },
    /// The content exceeds the maximum size.
    #[error("a content of {} is larger than the {} allowed", format_counted(*.size, "byte"), format_counted(*.max, "byte"))]
    ContentTooLarge {
        /// Size of the content in bytes.
        size: u64,
        /// Maximum size in bytes.
        max: u64,
    },
    /// The encoding of the content is unknown.
    #[error(transparent)]
    UnknownEncoding(#[from] UnknownEncoding),
    /// The content is not valid in the encoding that the header names.
    #[error("the content is not {encoding}: invalid byte at offset {offset}")]
    ContentNotText {
        /// The encoding, by Python's name.
        encoding: &'static str,
        /// Number of valid bytes before the invalid one.
        offset: usize,
    },
    /// The content is not JSON.
    #[error("the content is not JSON: {reason}")]
    ContentNotJson {
        /// Description of the problem.
        reason: String,
    },
}
