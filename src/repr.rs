//! Bytes as a person reads them in a log: exactly as Python 3's `repr(bytes)` shows them.
//!
//! The tutorial this program follows prints what it receives that way, and scripts compare the
//! two. This room must never change, decode or copy the bytes.

use std::fmt;

/// Shows bytes as Python does: `b'Message 1 from client.'`, `b"it's"`, `b'\x00\n'`.
///
/// All of them, however many: see [`BytesRepr::abbreviated`] for a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BytesRepr<'a>(pub &'a [u8]);

/// Shows the first bytes of many and says how many there are; see [`BytesRepr::abbreviated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbbreviatedRepr<'a> {
    bytes: &'a [u8],
    limit_bytes: usize,
}

impl<'a> BytesRepr<'a> {
    /// Shows at most the first `limit_bytes`; if there are more, `... (N bytes)` follows, with the
    /// number of all of them: `b'Messa'... (22 bytes)`.
    #[must_use]
    pub const fn abbreviated(bytes: &'a [u8], limit_bytes: usize) -> AbbreviatedRepr<'a> {
        AbbreviatedRepr { bytes, limit_bytes }
    }
}

impl fmt::Display for BytesRepr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        // Python prefers the quote that needs no escape, and the single one if both would.
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
                b' '..=b'~' => fmt::Write::write_char(f, char::from(byte))?,
                _ => write!(f, r"\x{byte:02x}")?,
            }
        }
        write!(f, "{quote}")
    }
}

impl fmt::Display for AbbreviatedRepr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total_bytes = self.bytes.len();
        if total_bytes <= self.limit_bytes {
            return BytesRepr(self.bytes).fmt(f);
        }
        let shown = BytesRepr(&self.bytes[..self.limit_bytes]);
        write!(f, "{shown}... ({total_bytes} bytes)")
    }
}

#[cfg(test)]
mod tests;
