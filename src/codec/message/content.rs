//! The content of a message, read as what its header says it is.

use super::{Encoding, Header, MessageError};
use serde_json::Value;

/// The content of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Content<'a> {
    /// JSON. Of a key that an object has twice the last one counts, as in Python.
    Json(Value),
    /// Bytes that are passed on untouched.
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
            return Err(MessageError::ContentNotJson { why: "it is empty".to_owned() });
        }
        match serde_json::from_str(&text) {
            Ok(value) => Ok(Self::Json(value)),
            Err(error) => Err(MessageError::ContentNotJson { why: error.to_string() }),
        }
    }
}
