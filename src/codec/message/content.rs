//! Content of a message, decoded according to its header.

use super::{Encoding, Header, MessageError};
use serde_json::Value;

/// Content of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Content<'a> {
    /// JSON. If an object has a duplicate key, the last value counts, as in Python.
    Json(Value),
    /// Binary content, passed on unchanged.
    Binary(&'a [u8]),
}

impl<'a> Content<'a> {
    pub(super) fn read(header: &Header, bytes: &'a [u8]) -> Result<Self, MessageError> {
        if !header.is_json() {
            return Ok(Self::Binary(bytes));
        }
        let encoding: Encoding = header.content_encoding.parse()?;
        let text = encoding
            .decode(bytes, header.byte_order)
            .map_err(|offset| MessageError::ContentNotText { encoding: encoding.name(), offset })?;
        if text.is_empty() {
            return Err(MessageError::ContentNotJson { reason: "it is empty".to_owned() });
        }
        match serde_json::from_str(&text) {
            Ok(value) => Ok(Self::Json(value)),
            Err(error) => Err(MessageError::ContentNotJson { reason: error.to_string() }),
        }
    }
}
