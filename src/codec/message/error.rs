//! What can be wrong with a message.

use super::UnknownEncoding;
use crate::units::format_counted;
use thiserror::Error;

/// How much of what a peer wrote an error shows, in characters.
const SHOWN_CHARACTERS: usize = 40;

/// The beginning of what a peer wrote: it can be as long as a header.
pub(super) fn shown(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARACTERS) {
        text.truncate(end);
        text.push_str("...");
        // It may be kept until the connection has ended.
        text.shrink_to_fit();
    }
    text
}

/// Why no message can come of the bytes of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// The peer shut its half in the middle of a message.
    #[error("the input ended {} short of a whole message", format_counted(*.missing, "byte"))]
    Truncated {
        /// How many bytes are missing at least, in bytes.
        missing: u64,
    },
    /// The header is not UTF-8.
    #[error("the header is not UTF-8: its byte {offset} fits nowhere")]
    HeaderNotUtf8 {
        /// How many bytes of the header are, in bytes.
        offset: usize,
    },
    /// The header is not a JSON object.
    #[error("the header is not a JSON object: {why}")]
    HeaderNotJson {
        /// What is wrong with it.
        why: String,
    },
    /// The header lacks something. These are the words of the tutorial's server.
    #[error("Missing required header '{key}'.")]
    HeaderMissing {
        /// What it lacks.
        key: &'static str,
    },
    /// The header has the same key twice: two readers could differ in which one counts.
    #[error("the header has the key {key:?} twice")]
    HeaderTwice {
        /// The key, or its beginning.
        key: String,
    },
    /// A value of the header is not what it must be.
    #[error("the header's '{key}' is {found}; {wanted} is wanted")]
    HeaderWrong {
        /// The key.
        key: &'static str,
        /// Its value, as JSON.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A header of our own that is too long.
    #[error("a header of {} cannot be sent: it may have 65,535 at most", format_counted(*.size as u64, "byte"))]
    HeaderTooLong {
        /// Its size, in bytes.
        size: usize,
    },
    /// The content would be larger than is allowed.
    #[error("a content of {} is larger than the {} allowed", format_counted(*.size, "byte"), format_counted(*.most, "byte"))]
    ContentTooLarge {
        /// The size of the content, in bytes.
        size: u64,
        /// The largest one allowed, in bytes.
        most: u64,
    },
    /// The content is in an encoding that is not known.
    #[error(transparent)]
    UnknownEncoding(#[from] UnknownEncoding),
    /// The content is not in the encoding that the header names.
    #[error("the content is not {encoding}: its byte {offset} fits nowhere")]
    ContentNotText {
        /// The encoding, by Python's name.
        encoding: &'static str,
        /// How many bytes of the content are in that encoding, in bytes.
        offset: usize,
    },
    /// The content is not JSON.
    #[error("the content is not JSON: {why}")]
    ContentNotJson {
        /// What is wrong with it.
        why: String,
    },
}
