//! Message framing: its name on the command line, and the bytes before and after a payload.

use super::delimited::Delimiter;
use super::length_prefixed::{LengthFormat, LengthPrefix, MAX_DIGITS};
use crate::escape::{UnescapeError, unescape};
use crate::units::{format_count, format_counted};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Maximum size of the bytes before a payload: a type byte and the digits of a length.
const MAX_PREFIX_BYTES: usize = MAX_DIGITS as usize + 1;

/// Message framing of a stream.
///
/// Written as on the command line: `lines`, `crlf`, `delimiter:TEXT`, `fixed:64`, `digits:5`, `u8`, `u16be`, `u16le`,
/// `u32be`, `u32le`, `u64be`, `u64le`, `end`; with a type byte before the length, `type+u32be`. A delimiter may contain
/// escapes such as `\r\n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// All messages have this size in bytes, at least 1.
    Fixed(usize),
    /// A delimiter follows each message.
    Delimited(Delimiter),
    /// The length precedes each message.
    LengthPrefixed(LengthPrefix),
    /// One message, which ends when the sender shuts down its sending half.
    UntilEnd,
}

impl Framing {
    /// Lines that end with `\n`.
    pub const LINES: Self = Self::Delimited(Delimiter::NEWLINE);

    /// Checks whether a frame of this kind can fit into `max_bytes`.
    ///
    /// # Errors
    ///
    /// [`FramingError::NeverFits`] when even the smallest frame does not fit.
    pub fn check(self, max_bytes: usize) -> Result<(), FramingError> {
        let size = match self {
            Self::Fixed(size) => size,
            Self::Delimited(delimiter) => delimiter.bytes().len(),
            Self::LengthPrefixed(prefix) => prefix.size(),
            Self::UntilEnd => 1,
        };
        if size <= max_bytes { Ok(()) } else { Err(FramingError::NeverFits { framing: self, size, max_bytes }) }
    }

    /// Returns the bytes before and after `payload`; `kind` is the type byte, for framings with one.
    ///
    /// # Errors
    ///
    /// [`FramingError`] when this framing cannot carry the payload.
    pub fn envelope(self, payload: &[u8], kind: u8) -> Result<Envelope, FramingError> {
        let mut envelope = Envelope { before: [0; MAX_PREFIX_BYTES], size: 0, after: None };
        match self {
            Self::Fixed(size) if payload.len() != size => {
                return Err(FramingError::WrongSize { size: payload.len(), fixed: size });
            }
            Self::Fixed(_) | Self::UntilEnd => {}
            Self::Delimited(delimiter) => {
                if delimiter.occurs_early_in(payload) {
                    return Err(FramingError::HoldsDelimiter { delimiter });
                }
                envelope.after = Some(delimiter);
            }
            Self::LengthPrefixed(prefix) => {
                envelope.size = prefix.size();
                let (type_byte, length) = envelope.before[..envelope.size].split_at_mut(prefix.has_kind.into());
                type_byte.fill(kind);
                let too_long = FramingError::TooLong { size: payload.len(), framing: self };
                prefix.write(payload.len() as u64, length).ok_or(too_long)?;
            }
        }
        Ok(envelope)
    }
}

/// Bytes before and after a payload.
#[derive(Debug, Clone, Copy)]
pub struct Envelope {
    before: [u8; MAX_PREFIX_BYTES],
    size: usize,
    after: Option<Delimiter>,
}

impl Envelope {
    /// The bytes before the payload.
    #[must_use]
    pub fn before(&self) -> &[u8] {
        &self.before[..self.size]
    }

    /// The bytes after the payload.
    #[must_use]
    pub fn after(&self) -> &[u8] {
        self.after.as_ref().map_or(&[], Delimiter::bytes)
    }

    /// Number of bytes before and after the payload.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size + self.after().len()
    }
}

/// Reason why a framing cannot be used at all, or not for a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FramingError {
    /// The text does not name a framing.
    #[error(
        "{text:?} is not a framing; give one such as lines, crlf, delimiter:TEXT, fixed:64, digits:5, u16be, u32le, \
         type+u32be or end"
    )]
    Unknown {
        /// The text.
        text: String,
    },
    /// A delimiter contains an invalid escape.
    #[error(transparent)]
    Escape(#[from] UnescapeError),
    /// Frames of this kind exceed the maximum size.
    #[error("a frame of kind {framing} takes at least {}; only {} are allowed", format_counted(*.size as u64, "byte"), format_count(*.max_bytes as u64))]
    NeverFits {
        /// The framing.
        framing: Framing,
        /// Size of its smallest frame in bytes.
        size: usize,
        /// Maximum size in bytes.
        max_bytes: usize,
    },
    /// The size of the message differs from the fixed size.
    #[error("a message of {} does not fit a framing of {} each", format_counted(*.size as u64, "byte"), format_counted(*.fixed as u64, "byte"))]
    WrongSize {
        /// Size of the message in bytes.
        size: usize,
        /// Fixed size in bytes.
        fixed: usize,
    },
    /// The message would be read as two.
    #[error("the message and the delimiter after it hold an earlier {}", .delimiter.bytes().escape_ascii())]
    HoldsDelimiter {
        /// The delimiter.
        delimiter: Delimiter,
    },
    /// The format cannot represent the length of the message.
    #[error("the length of a message of {} cannot be written as {framing}", format_counted(*.size as u64, "byte"))]
    TooLong {
        /// Size of the message in bytes.
        size: usize,
        /// The framing.
        framing: Framing,
    },
}

impl fmt::Display for Framing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(formatter, "fixed:{size}"),
            Self::Delimited(Delimiter::NEWLINE) => formatter.write_str("lines"),
            Self::Delimited(Delimiter::CRLF) => formatter.write_str("crlf"),
            Self::Delimited(delimiter) => write!(formatter, "delimiter:{}", delimiter.bytes().escape_ascii()),
            Self::LengthPrefixed(LengthPrefix { format, has_kind }) => {
                formatter.write_str(if *has_kind { "type+" } else { "" })?;
                match format {
                    LengthFormat::Digits(count) => write!(formatter, "digits:{count}"),
                    LengthFormat::BigEndian(1) => formatter.write_str("u8"),
                    LengthFormat::BigEndian(size) => write!(formatter, "u{}be", u32::from(*size) * 8),
                    LengthFormat::LittleEndian(size) => write!(formatter, "u{}le", u32::from(*size) * 8),
                }
            }
            Self::UntilEnd => formatter.write_str("end"),
        }
    }
}

impl FromStr for Framing {
    type Err = FramingError;

    fn from_str(text: &str) -> Result<Self, FramingError> {
        let unknown = || FramingError::Unknown { text: text.to_owned() };
        match text.strip_prefix("delimiter:") {
            Some(delimiter) => Delimiter::new(&unescape(delimiter)?).map(Self::Delimited).ok_or_else(unknown),
            None => parse(text).ok_or_else(unknown),
        }
    }
}

fn parse(text: &str) -> Option<Framing> {
    if let Some(length) = text.strip_prefix("type+") {
        return Some(Framing::LengthPrefixed(LengthPrefix { format: parse_length(length)?, has_kind: true }));
    }
    match text.split_once(':') {
        Some(("fixed", size)) => size.parse().ok().filter(|&size| size > 0).map(Framing::Fixed),
        _ => match text {
            "lines" => Some(Framing::LINES),
            "crlf" => Some(Framing::Delimited(Delimiter::CRLF)),
            "end" => Some(Framing::UntilEnd),
            _ => Some(Framing::LengthPrefixed(LengthPrefix { format: parse_length(text)?, has_kind: false })),
        },
    }
}

fn parse_length(text: &str) -> Option<LengthFormat> {
    if let Some(count) = text.strip_prefix("digits:") {
        return count.parse().ok().filter(|count| (1..=MAX_DIGITS).contains(count)).map(LengthFormat::Digits);
    }
    Some(match text {
        "u8" => LengthFormat::BigEndian(1),
        // One byte has no byte order; this is the text form of the second value of that size.
        "u8le" => LengthFormat::LittleEndian(1),
        "u16be" => LengthFormat::BigEndian(2),
        "u16le" => LengthFormat::LittleEndian(2),
        "u32be" => LengthFormat::BigEndian(4),
        "u32le" => LengthFormat::LittleEndian(4),
        "u64be" => LengthFormat::BigEndian(8),
        "u64le" => LengthFormat::LittleEndian(8),
        _ => return None,
    })
}
