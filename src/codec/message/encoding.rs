//! Text encodings of JSON content, by Python's names and aliases.

use super::ByteOrder;
use super::error::truncated;
use std::borrow::Cow;
use std::str::FromStr;
use thiserror::Error;

/// Encoding of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8 (RFC 3629).
    Utf8,
    /// UTF-8 with an optional byte order mark.
    Utf8Sig,
    /// US-ASCII: the first 128 characters, one byte each.
    Ascii,
    /// ISO 8859-1: the first 256 characters, one byte each.
    Latin1,
    /// UTF-16 (RFC 2781). `None`: a byte order mark defines the order, or without one the sender's byte order.
    Utf16(Option<ByteOrder>),
    /// UTF-32: four bytes per character; `None` as for UTF-16.
    Utf32(Option<ByteOrder>),
}

/// Error for an unknown encoding.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "unknown encoding {name:?}; known are utf-8, utf-8-sig, ascii, latin-1, utf-16 and utf-32 (both also -le, -be)"
)]
pub struct UnknownEncoding {
    /// The name, possibly truncated.
    pub name: String,
}

const LITTLE: Option<ByteOrder> = Some(ByteOrder::Little);
const BIG: Option<ByteOrder> = Some(ByteOrder::Big);

impl Encoding {
    /// Python's name of the encoding.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf8Sig => "utf-8-sig",
            Self::Ascii => "ascii",
            Self::Latin1 => "latin-1",
            Self::Utf16(None) => "utf-16",
            Self::Utf16(LITTLE) => "utf-16-le",
            Self::Utf16(BIG) => "utf-16-be",
            Self::Utf32(None) => "utf-32",
            Self::Utf32(LITTLE) => "utf-32-le",
            Self::Utf32(BIG) => "utf-32-be",
        }
    }

    /// Decodes `bytes`; `order` is the byte order of the sender.
    ///
    /// # Errors
    ///
    /// The number of valid bytes before the first invalid one.
    pub fn decode(self, bytes: &[u8], order: ByteOrder) -> Result<Cow<'_, str>, usize> {
        match self {
            Self::Utf8 => utf8(bytes),
            Self::Utf8Sig => match bytes.strip_prefix(b"\xef\xbb\xbf") {
                Some(rest) => utf8(rest).map_err(|offset| offset + 3),
                None => utf8(bytes),
            },
            Self::Ascii => match bytes.iter().position(|byte| !byte.is_ascii()) {
                Some(offset) => Err(offset),
                None => utf8(bytes),
            },
            Self::Latin1 => Ok(bytes.iter().copied().map(char::from).collect::<String>().into()),
            Self::Utf16(Some(order)) => utf16(bytes, 0, order),
            Self::Utf16(None) => match bytes {
                [0xff, 0xfe, ..] => utf16(bytes, 2, ByteOrder::Little),
                [0xfe, 0xff, ..] => utf16(bytes, 2, ByteOrder::Big),
                _ => utf16(bytes, 0, order),
            },
            Self::Utf32(Some(order)) => utf32(bytes, 0, order),
            Self::Utf32(None) => match bytes {
                [0xff, 0xfe, 0, 0, ..] => utf32(bytes, 4, ByteOrder::Little),
                [0, 0, 0xfe, 0xff, ..] => utf32(bytes, 4, ByteOrder::Big),
                _ => utf32(bytes, 0, order),
            },
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, usize> {
    str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| error.valid_up_to())
}

fn utf16(bytes: &[u8], from: usize, order: ByteOrder) -> Result<Cow<'_, str>, usize> {
    let (pairs, rest) = bytes[from..].as_chunks::<2>();
    let units = pairs.iter().map(|&pair| match order {
        ByteOrder::Little => u16::from_le_bytes(pair),
        ByteOrder::Big => u16::from_be_bytes(pair),
    });
    let mut text = String::with_capacity(pairs.len());
    let mut read = from;
    for character in char::decode_utf16(units) {
        let character = character.map_err(|_| read)?;
        read += 2 * character.len_utf16();
        text.push(character);
    }
    if rest.is_empty() { Ok(text.into()) } else { Err(read) }
}

fn utf32(bytes: &[u8], from: usize, order: ByteOrder) -> Result<Cow<'_, str>, usize> {
    let (quads, rest) = bytes[from..].as_chunks::<4>();
    let mut text = String::with_capacity(quads.len());
    for (index, &quad) in quads.iter().enumerate() {
        let number = match order {
            ByteOrder::Little => u32::from_le_bytes(quad),
            ByteOrder::Big => u32::from_be_bytes(quad),
        };
        text.push(char::from_u32(number).ok_or(from + 4 * index)?);
    }
    if rest.is_empty() { Ok(text.into()) } else { Err(bytes.len() - rest.len()) }
}

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    /// Accepts the names and aliases of Python 3 (`encodings.aliases`) in any spelling that Python accepts.
    fn from_str(name: &str) -> Result<Self, UnknownEncoding> {
        Ok(match normalize(name).as_str() {
            "utf_8" | "u8" | "utf" | "utf8" | "utf8_ucs2" | "utf8_ucs4" | "cp65001" => Self::Utf8,
            "utf_8_sig" => Self::Utf8Sig,
            "ascii" | "646" | "ansi_x3.4_1968" | "ansi_x3_4_1968" | "ansi_x3.4_1986" | "cp367" | "csascii"
            | "ibm367" | "iso646_us" | "iso_646.irv_1991" | "iso_ir_6" | "us" | "us_ascii" => Self::Ascii,
            "latin_1" | "8859" | "cp819" | "csisolatin1" | "ibm819" | "iso8859" | "iso8859_1" | "iso_8859_1"
            | "iso_8859_1_1987" | "iso_ir_100" | "l1" | "latin" | "latin1" => Self::Latin1,
            "utf_16" | "u16" | "utf16" => Self::Utf16(None),
            "utf_16_le" | "utf_16le" | "unicodelittleunmarked" => Self::Utf16(LITTLE),
            "utf_16_be" | "utf_16be" | "unicodebigunmarked" => Self::Utf16(BIG),
            "utf_32" | "u32" | "utf32" => Self::Utf32(None),
            "utf_32_le" | "utf_32le" => Self::Utf32(LITTLE),
            "utf_32_be" | "utf_32be" => Self::Utf32(BIG),
            _ => return Err(UnknownEncoding { name: truncated(name.to_owned()) }),
        })
    }
}

/// Like Python's `normalize_encoding`: lower case, with one underscore for each run of other characters between letters
/// and digits.
fn normalize(name: &str) -> String {
    let mut result = String::with_capacity(name.len());
    let mut follows_separator = false;
    for character in name.chars() {
        if character.is_alphanumeric() || character == '.' {
            if follows_separator && !result.is_empty() {
                result.push('_');
            }
            follows_separator = false;
            result.push(character.to_ascii_lowercase());
        } else {
            follows_separator = true;
        }
    }
    result
}
