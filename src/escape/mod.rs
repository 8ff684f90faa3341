//! Escaping of external text for terminals, logs and reports.
//!
//! Text from a peer, a file or a command line may hold characters that a terminal interprets. Control characters move
//! the cursor, start escape sequences or ring the bell; bidirectional controls reorder the rest of the line. Each is
//! replaced by a visible escape such as `\x1b` or `\u{202e}`. A backslash stays unchanged: the result is for reading
//! and cannot be decoded, and escaping twice changes nothing. [`unescape`] decodes the escapes that users type, which is
//! another notation. All program output goes through this module; JSON has its
//! own notation, see [`json`].

mod stream;
#[cfg(test)]
mod tests;
mod unescape;

pub use stream::TerminalWriter;
pub use unescape::{UnescapeError, unescape};

use std::fmt::{self, Display, Write};
use std::path::Path;

/// Whether a character must be escaped: controls (C0, DEL, C1), line and paragraph separators, bidirectional controls,
/// and characters without width that could hide text.
///
/// U+200C and U+200D (the joiners) are not included, because many scripts and emoji need them.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    // Fast path for printable ASCII. The last range is the tag characters, which have no width.
    !matches!(character, ' '..='~')
        && (character.is_control()
            || matches!(
                character,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
            )
            || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
            || matches!(character, '\u{e0000}'..='\u{e007f}'))
}

/// Value whose text is escaped while it is written; see [`line()`] and [`lines`].
#[derive(Debug, Clone, Copy)]
pub struct Escaped<T> {
    value: T,
    keeps_line_feeds: bool,
}

/// Escapes external text as one line. Line feeds are escaped too, so the text cannot forge another line.
pub fn line<T: Display>(value: T) -> Escaped<T> {
    Escaped { value, keeps_line_feeds: false }
}

/// Escapes text of several lines, such as a report. Line feeds stay; external text in it must be escaped with
/// [`line()`] before.
pub fn lines<T: Display>(value: T) -> Escaped<T> {
    Escaped { value, keeps_line_feeds: true }
}

/// Bytes that should be UTF-8 text, escaped as one line; see [`path`].
#[derive(Debug, Clone, Copy)]
pub struct EscapedBytes<'a>(&'a [u8]);

/// Escapes a file name as one line; bytes that are not UTF-8 become `\xff`.
#[must_use]
pub fn path(path: &Path) -> EscapedBytes<'_> {
    EscapedBytes(path.as_os_str().as_encoded_bytes())
}

/// Replaces all unsafe characters in JSON by the string escapes of RFC 8259 (section 7). The value is unchanged.
#[must_use]
pub fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        // Outside of strings, the only unsafe characters in JSON are line feeds and tabs.
        if !is_unsafe(character) || matches!(character, '\n' | '\t') {
            escaped.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { out, keeps_line_feeds: self.keeps_line_feeds }, "{}", self.value)
    }
}

impl Display for EscapedBytes<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            write_escaped(out, chunk.valid(), |_| false)?;
            chunk.invalid().iter().try_for_each(|byte| write_byte(out, *byte))?;
        }
        Ok(())
    }
}

/// Escapes text on its way to `out`.
struct Escaping<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    keeps_line_feeds: bool,
}

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let keeps_line_feeds = self.keeps_line_feeds;
        write_escaped(self.out, text, |character| keeps_line_feeds && character == '\n')
    }
}

/// Writes `text` with all unsafe characters escaped, except those that are `kept`.
fn write_escaped(out: &mut impl Write, text: &str, kept: impl Fn(char) -> bool) -> fmt::Result {
    let mut written = 0;
    for (at, character) in text.char_indices() {
        if is_unsafe(character) && !kept(character) {
            out.write_str(&text[written..at])?;
            write_character(out, character)?;
            written = at + character.len_utf8();
        }
    }
    out.write_str(&text[written..])
}

fn write_character(out: &mut impl Write, character: char) -> fmt::Result {
    match character {
        '\n' => out.write_str(r"\n"),
        '\r' => out.write_str(r"\r"),
        '\t' => out.write_str(r"\t"),
        '\0'..='\x7f' => write!(out, r"\x{:02x}", u32::from(character)),
        _ => write!(out, r"\u{{{:x}}}", u32::from(character)),
    }
}

fn write_byte(out: &mut impl Write, byte: u8) -> fmt::Result {
    write!(out, r"\x{byte:02x}")
}
