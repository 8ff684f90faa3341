//! Parsing and validation of a message header.

use super::error::truncated;
use super::{JSON_TYPE, MessageError};
use serde_core::Deserializer as _;
use serde_core::de::{Error as _, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Byte order of the sender's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// Byte order of this machine.
    pub const OURS: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// Name in the header, as in Python's `sys.byteorder`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Little => "little",
            Self::Big => "big",
        }
    }
}

/// Header of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Byte order of the sender. It matters only for UTF-16 or UTF-32 text without a byte order mark.
    pub byte_order: ByteOrder,
    /// Content type: `text/json`, or any other for binary content.
    pub content_type: String,
    /// Encoding of text content, by one of Python's names; has no meaning for binary content.
    pub content_encoding: String,
    /// Length of the content in bytes.
    pub content_length: u64,
    /// The sender wants to keep the connection open for more messages: `"connection": "keep-alive"`. This key is an
    /// extension, which the tutorial's peers ignore.
    pub keeps_alive: bool,
}

impl Header {
    /// Whether the content is JSON; otherwise it is binary.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.content_type == JSON_TYPE
    }

    /// Parses a header. A duplicate key is rejected, where Python would use the last one. Two readers that disagreed on
    /// the length would disagree on where the next message begins.
    ///
    /// # Errors
    ///
    /// [`MessageError`] names the problem. Keys are checked in the same order as by the tutorial's server.
    pub(super) fn read(text: &[u8]) -> Result<Self, MessageError> {
        let text = str::from_utf8(text).map_err(|error| MessageError::HeaderNotUtf8 { offset: error.valid_up_to() })?;
        let fields = Fields::read(text)?;
        let byte_order = fields.get("byteorder")?;
        let content_length = fields.get("content-length")?;
        let content_type = fields.get("content-type")?;
        let content_encoding = fields.get("content-encoding")?;
        Ok(Self {
            byte_order: match byte_order.as_str() {
                Some("little") => ByteOrder::Little,
                Some("big") => ByteOrder::Big,
                _ => return Err(invalid("byteorder", byte_order, "\"little\" or \"big\"")),
            },
            content_length: content_length
                .as_u64()
                .ok_or_else(|| invalid("content-length", content_length, "an integer of 0 or more"))?,
            content_type: string_of("content-type", content_type)?,
            content_encoding: string_of("content-encoding", content_encoding)?,
            keeps_alive: fields.0.get("connection").and_then(Value::as_str) == Some("keep-alive"),
        })
    }
}

fn string_of(key: &'static str, value: &Value) -> Result<String, MessageError> {
    value.as_str().map(str::to_owned).ok_or_else(|| invalid(key, value, "a string"))
}

fn invalid(key: &'static str, value: &Value, expected: &'static str) -> MessageError {
    MessageError::HeaderInvalid { key, found: truncated(value.to_string()), expected }
}

/// Keys and values of a header, without duplicates.
struct Fields(BTreeMap<String, Value>);

impl Fields {
    fn read(text: &str) -> Result<Self, MessageError> {
        let mut duplicate = None;
        let mut reader = serde_json::Deserializer::from_str(text);
        let fields = reader.deserialize_map(Collector { duplicate: &mut duplicate }).and_then(|fields| {
            reader.end()?;
            Ok(fields)
        });
        match (duplicate, fields) {
            (Some(key), _) => Err(MessageError::HeaderDuplicateKey { key: truncated(key) }),
            (None, Ok(fields)) => Ok(Self(fields)),
            (None, Err(error)) => Err(MessageError::HeaderNotJson { reason: error.to_string() }),
        }
    }

    fn get(&self, key: &'static str) -> Result<&Value, MessageError> {
        self.0.get(key).ok_or(MessageError::HeaderMissing { key })
    }
}

/// Collects the fields and stops at a duplicate key.
struct Collector<'a> {
    duplicate: &'a mut Option<String>,
}

impl<'de> Visitor<'de> for Collector<'_> {
    type Value = BTreeMap<String, Value>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if fields.contains_key(&key) {
                *self.duplicate = Some(key);
                return Err(A::Error::custom("duplicate key"));
            }
            fields.insert(key, value);
        }
        Ok(fields)
    }
}
