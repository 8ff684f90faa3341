//! Encoding of messages, byte for byte as Python's `json` and the tutorial's programs write them.

use super::{ByteOrder, JSON_TYPE, LENGTH_BYTES, MessageError};
use serde_core::Serializer as _;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Header fields of an outgoing message, without its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// Content type.
    pub content_type: &'a str,
    /// Content encoding.
    pub content_encoding: &'a str,
    /// Whether the header announces more messages on the connection.
    pub keeps_alive: bool,
}

impl Head<'_> {
    /// Header fields of JSON in UTF-8.
    #[must_use]
    pub fn json() -> Self {
        Self { content_type: JSON_TYPE, content_encoding: "utf-8", keeps_alive: false }
    }

    /// Encodes a complete message with this `content`.
    ///
    /// # Errors
    ///
    /// [`MessageError::HeaderTooLong`] when type and encoding exceed the maximum header length.
    pub fn message(&self, content: &[u8]) -> Result<Vec<u8>, MessageError> {
        let fields = [
            ("byteorder", json!(ByteOrder::OURS.name())),
            ("content-type", json!(self.content_type)),
            ("content-encoding", json!(self.content_encoding)),
            ("content-length", json!(content.len())),
            ("connection", json!("keep-alive")),
        ];
        let count = if self.keeps_alive { fields.len() } else { fields.len() - 1 };
        let header = python_json(&fields[..count]);
        let size = u16::try_from(header.len()).map_err(|_| MessageError::HeaderTooLong { size: header.len() })?;
        let mut message = Vec::with_capacity(LENGTH_BYTES + header.len() + content.len());
        message.extend_from_slice(&size.to_be_bytes());
        message.extend_from_slice(header.as_bytes());
        message.extend_from_slice(content);
        Ok(message)
    }
}

/// Formats an object with these keys and values, in this order, like Python's `json.dumps(…, ensure_ascii=False)`: with
/// a space after each comma and colon. Only quotes, backslashes and characters below U+0020 are escaped.
///
/// # Panics
///
/// Never: writing to memory does not fail.
#[must_use]
pub fn python_json(fields: &[(&str, Value)]) -> String {
    let mut bytes = Vec::with_capacity(128);
    let mut serializer = Serializer::with_formatter(&mut bytes, Python);
    let fields = fields.iter().map(|(key, value)| (key, value));
    serializer.collect_map(fields).expect("writing to memory does not fail");
    String::from_utf8(bytes).expect("JSON is text")
}

/// Python's separators. The escapes of `serde_json` equal those of Python: `\b`, `\f`, `\n`, `\r`, `\t`, `\"`, `\\`,
/// and `\u001f` in lower case.
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        separate(out, first)
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        separate(out, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

fn separate<W: Write + ?Sized>(out: &mut W, first: bool) -> io::Result<()> {
    if first { Ok(()) } else { out.write_all(b", ") }
}
