//! Decoding of the escapes that users type, such as `\r\n` and `\x1f`.

use super::line;
use thiserror::Error;

/// Reason why a text cannot be decoded to bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnescapeError {
    /// No escape begins with the character after a backslash.
    #[error(r#"\{found} is no escape in "{}"; escapes are \r, \n, \t, \0, \xNN and \\, as in "GET / HTTP/1.0\r\n\r\n""#, line(.text))]
    Unknown {
        /// The text.
        text: String,
        /// The character after the backslash.
        found: char,
    },
    /// Two hexadecimal digits do not follow `\x`.
    #[error(r#"\x is not followed by two hexadecimal digits in "{}"; give them, as in "\x0d\x0a""#, line(.text))]
    NoDigits {
        /// The text.
        text: String,
    },
    /// The text ends with a backslash.
    #[error(r#""{}" ends with a backslash; give \\ for one, as in "C:\\""#, line(.text))]
    Incomplete {
        /// The text.
        text: String,
    },
}

/// Decodes the escapes `\r`, `\n`, `\t`, `\0`, `\'`, `\"`, `\\` and `\x1f` of `text` as Rust does; all other text becomes
/// its UTF-8 bytes. Accepts everything that [`escape_ascii`](slice::escape_ascii) writes.
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
                // `from_str_radix` also accepts a sign.
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
