//! Python notation for bytes, text, JSON and addresses, exactly as Python 3's `repr`.
//!
//! The tutorial's programs print received bytes this way, and scripts compare the two. This module never changes,
//! decodes or copies the bytes.

use crate::units::format_counted;
use serde_json::Value;
use std::fmt::{self, Write};
use std::net::SocketAddr;

/// Formats bytes as Python does: `b'Message 1 from client.'`, `b"it's"`, `b'\x00\n'`.
///
/// All bytes are shown; see [`BytesRepr::abbreviated`] for a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BytesRepr<'a>(pub &'a [u8]);

/// Formats the first bytes and the total number; see [`BytesRepr::abbreviated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbbreviatedRepr<'a> {
    first: &'a [u8],
    total_bytes: usize,
}

impl<'a> BytesRepr<'a> {
    /// Formats at most the first `limit_bytes`. If there are more, `... (N bytes)` follows with their total number:
    /// `b'Messa'... (22 bytes)`.
    #[must_use]
    pub fn abbreviated(bytes: &'a [u8], limit_bytes: usize) -> AbbreviatedRepr<'a> {
        Self::beginning(&bytes[..bytes.len().min(limit_bytes)], bytes.len())
    }

    /// Formats the `first` of `total_bytes` bytes.
    #[must_use]
    pub const fn beginning(first: &'a [u8], total_bytes: usize) -> AbbreviatedRepr<'a> {
        AbbreviatedRepr { first, total_bytes }
    }
}

impl fmt::Display for BytesRepr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        // Python uses the quote that needs no escape, and the single quote if both or neither need one.
        let double = bytes.contains(&b'\'') && !bytes.contains(&b'"');
        let quote = if double { '"' } else { '\'' };
        write!(f, "b{quote}")?;
        for &byte in bytes {
            match byte {
                b'\\' => f.write_str(r"\\")?,
                b'\t' => f.write_str(r"\t")?,
                b'\n' => f.write_str(r"\n")?,
                b'\r' => f.write_str(r"\r")?,
                b'\'' if !double => f.write_str(r"\'")?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, r"\x{byte:02x}")?,
            }
        }
        write!(f, "{quote}")
    }
}

impl fmt::Display for AbbreviatedRepr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BytesRepr(self.first).fmt(f)?;
        if self.first.len() < self.total_bytes {
            write!(f, "... ({})", format_counted(self.total_bytes as u64, "byte"))?;
        }
        Ok(())
    }
}

/// Formats JSON like Python formats the result of `json.loads`: `{'action': 'search', 'value': None}`. The keys of an
/// object are sorted.
#[derive(Debug, Clone, Copy)]
pub struct JsonRepr<'a>(pub &'a Value);

impl fmt::Display for JsonRepr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("None"),
            Value::Bool(true) => f.write_str("True"),
            Value::Bool(false) => f.write_str("False"),
            Value::Number(number) => write!(f, "{number}"),
            Value::String(text) => StrRepr(text).fmt(f),
            Value::Array(values) => {
                f.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{}", separator(index), JsonRepr(value))?;
                }
                f.write_char(']')
            }
            Value::Object(fields) => {
                f.write_char('{')?;
                for (index, (key, value)) in fields.iter().enumerate() {
                    write!(f, "{}{}: {}", separator(index), StrRepr(key), JsonRepr(value))?;
                }
                f.write_char('}')
            }
        }
    }
}

fn separator(index: usize) -> &'static str {
    if index == 0 { "" } else { ", " }
}

/// Formats text as Python does: `'ring'`, `"it's"`, `'a\x1b\u202e'`.
#[derive(Debug, Clone, Copy)]
pub struct StrRepr<'a>(pub &'a str);

impl fmt::Display for StrRepr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = *self;
        let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
        f.write_char(quote)?;
        for character in text.chars() {
            match (character, u32::from(character)) {
                ('\\', _) => f.write_str(r"\\")?,
                ('\t', _) => f.write_str(r"\t")?,
                ('\n', _) => f.write_str(r"\n")?,
                ('\r', _) => f.write_str(r"\r")?,
                _ if character == quote => write!(f, r"\{quote}")?,
                _ if is_printable(character) => f.write_char(character)?,
                (_, code @ ..=0xff) => write!(f, r"\x{code:02x}")?,
                (_, code @ ..=0xffff) => write!(f, r"\u{code:04x}")?,
                (_, code) => write!(f, r"\U{code:08x}")?,
            }
        }
        f.write_char(quote)
    }
}

/// Whether Python shows a character unescaped. It escapes controls, separators other than the space, and code points that
/// Unicode has not assigned. [`str::escape_debug`] escapes the same ones, and combining characters at the start of a text.
fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    let mut bytes = [b'a'; 5];
    let size = character.encode_utf8(&mut bytes[1..]).len();
    let text = str::from_utf8(&bytes[..=size]).unwrap_or_default();
    text.escape_debug().nth(1) == Some(character)
}

/// Formats an address as Python formats that of a socket: `('127.0.0.1', 65432)`, `('::1', 65432, 0, 0)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRepr(pub SocketAddr);

impl fmt::Display for AddressRepr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SocketAddr::V4(address) => write!(f, "('{}', {})", address.ip(), address.port()),
            SocketAddr::V6(address) => {
                let (ip, port, flow, zone) = (address.ip(), address.port(), address.flowinfo(), address.scope_id());
                write!(f, "('{ip}', {port}, {flow}, {zone})")
            }
        }
    }
}

#[cfg(test)]
mod tests;
