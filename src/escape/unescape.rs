//! Bytes that are typed as text: the escapes in which those are written that no keyboard has.

use super::line;
use thiserror::Error;

/// Why a text cannot be read as bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnescapeError {
    /// A backslash with something else behind it than an escape.
    #[error(r#"\{found} is no escape in "{}"; escapes are \r, \n, \t, \0, \xNN and \\, as in "GET / HTTP/1.0\r\n\r\n""#, line(.text))]
    Unknown {
        /// The text.
        text: String,
        /// The character behind the backslash.
        found: char,
    },
    /// `\x` without two hexadecimal digits.
    #[error(r#"\x is not followed by two hexadecimal digits in "{}"; give them, as in "\x0d\x0a""#, line(.text))]
    NoDigits {
        /// The text.
        text: String,
    },
    /// A backslash at the end.
    #[error(r#""{}" ends with a backslash; give \\ for one, as in "C:\\""#, line(.text))]
    Incomplete {
        /// The text.
        text: String,
    },
}

/// The bytes of `text`, in UTF-8, in which `\r`, `\n`, `\t`, `\0`, `\'`, `\"`, `\\` and `\x1f` stand for what they do in Rust.
/// Reads everything that [`escape_ascii`](slice::escape_ascii) writes.
///
/// # Errors
///
/// [`UnescapeError`] for any other backslash.
pub fn unescape(text: &str) -> Result<Vec<u8>, UnescapeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let mut characters = after.chars();
        bytes.push(match characters.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('\'') => b'\'',
            Some('"') => b'"',
            Some('x') => {
                let (digits, after) = characters.as_str().split_at_checked(2).unwrap_or_default();
                characters = after.chars();
                // The parser of numbers takes a sign as well.
                let digits = Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                byte.ok_or_else(|| UnescapeError::NoDigits { text: text.to_owned() })?
            }
            Some(found) => return Err(UnescapeError::Unknown { text: text.to_owned(), found }),
            None => return Err(UnescapeError::Incomplete { text: text.to_owned() }),
        });
        rest = characters.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}
