//! The header of a message, read and checked.

use super::error::shown;
use super::{JSON_TYPE, MessageError};
use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The order of the bytes on the machine that a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// The least significant one first.
    Little,
    /// The most significant one first.
    Big,
}

impl ByteOrder {
    /// That of this machine.
    pub const OURS: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// As the header says it, and Python's `sys.byteorder`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Little => "little",
            Self::Big => "big",
        }
    }
}

/// What the header of a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The byte order of the sender. It only matters for a UTF-16 or UTF-32 text without a byte order mark.
    pub byte_order: ByteOrder,
    /// What the content is: `text/json`, or else it is binary.
    pub content_type: String,
    /// In which encoding a text is, by one of Python's names; of no meaning when the content is binary.
    pub content_encoding: String,
    /// How long the content is, in bytes.
    pub content_length: u64,
    /// The sender wants to keep the connection for more messages: `"connection": "keep-alive"`, a key of our own, which
    /// the tutorial's peers pass over.
    pub keeps_alive: bool,
}

impl Header {
    /// Whether the content is JSON; else it is binary.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.content_type == JSON_TYPE
    }

    /// Reads the text of a header. A key that comes twice is refused, where Python would take the last one: were two
    /// readers to differ in which length counts, they would differ in where the next message begins.
    ///
    /// # Errors
    ///
    /// [`MessageError`], which names what is wrong. Keys are looked for in the order in which the tutorial's server does.
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
                _ => return Err(wrong("byteorder", byte_order, "\"little\" or \"big\"")),
            },
            content_length: content_length
                .as_u64()
                .ok_or_else(|| wrong("content-length", content_length, "a whole number from 0 up"))?,
            content_type: text_of("content-type", content_type)?,
            content_encoding: text_of("content-encoding", content_encoding)?,
            keeps_alive: fields.0.get("connection").and_then(Value::as_str) == Some("keep-alive"),
        })
    }
}

fn text_of(key: &'static str, value: &Value) -> Result<String, MessageError> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(key, value, "a text"))
}

fn wrong(key: &'static str, value: &Value, wanted: &'static str) -> MessageError {
    MessageError::HeaderWrong { key, found: shown(value.to_string()), wanted }
}

/// The keys and values of a header, none twice.
struct Fields(BTreeMap<String, Value>);

impl Fields {
    fn read(text: &str) -> Result<Self, MessageError> {
        let mut twice = None;
        let mut reader = serde_json::Deserializer::from_str(text);
        let fields = reader.deserialize_map(Collector { twice: &mut twice }).and_then(|fields| {
            reader.end()?;
            Ok(fields)
        });
        match (twice, fields) {
            (Some(key), _) => Err(MessageError::HeaderTwice { key: shown(key) }),
            (None, Ok(fields)) => Ok(Self(fields)),
            (None, Err(error)) => Err(MessageError::HeaderNotJson { why: error.to_string() }),
        }
    }

    fn get(&self, key: &'static str) -> Result<&Value, MessageError> {
        self.0.get(key).ok_or(MessageError::HeaderMissing { key })
    }
}

/// Collects the fields, and stops at a key that was there before.
struct Collector<'a> {
    twice: &'a mut Option<String>,
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
                *self.twice = Some(key);
                return Err(A::Error::custom("a key comes twice"));
            }
            fields.insert(key, value);
        }
        Ok(fields)
    }
}
