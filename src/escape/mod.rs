//! External text made safe to show on a terminal, in a log and in a report.
//!
//! A peer, a file or a command line may hold characters that a terminal obeys: control characters move the cursor, start
//! escape sequences or ring the bell, and bidirectional controls reorder the rest of the line. This room replaces each of
//! them by a visible escape such as `\x1b` or `\u{202e}`. A backslash stays as it is, so the result is meant for reading
//! and does not decode; escaping twice changes nothing. [`unescape`] reads what people type, which is another notation. Everything that a program prints goes through here; JSON keeps its
//! own notation, see [`json`].

mod stream;
#[cfg(test)]
mod tests;
mod unescape;

pub use stream::TerminalWriter;
pub use unescape::{UnescapeError, unescape};

use std::fmt::{self, Display, Write};
use std::path::Path;

/// Whether a character must not be shown as it is: controls (C0, DEL, C1), line and paragraph separators, bidirectional
/// controls, and characters without width that could hide text.
///
/// U+200C and U+200D (the joiners) are not among them: many scripts and emoji need them.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    // Printable ASCII is most of what there is. The last range are tags, an alphabet without width.
    !matches!(character, ' '..='~')
        && (character.is_control()
            || matches!(
                character,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
            )
            || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
            || matches!(character, '\u{e0000}'..='\u{e007f}'))
}

/// A value whose text is escaped while it is written; see [`line()`] and [`lines`].
#[derive(Debug, Clone, Copy)]
pub struct Escaped<T> {
    value: T,
    keeps_lines: bool,
}

/// External text within one line: line feeds are escaped, too, so that it cannot forge another line.
pub fn line<T: Display>(value: T) -> Escaped<T> {
    Escaped { value, keeps_lines: false }
}

/// Text of several lines, such as a report. Line feeds stay; external text in it is a [`line()`] of its own.
pub fn lines<T: Display>(value: T) -> Escaped<T> {
    Escaped { value, keeps_lines: true }
}

/// Bytes that should be UTF-8 text, within one line; see [`bytes`].
#[derive(Debug, Clone, Copy)]
pub struct EscapedBytes<'a>(&'a [u8]);

/// Bytes that should be UTF-8 text, within one line; those that are not are escaped as `\xff`.
#[must_use]
pub fn bytes(bytes: &[u8]) -> EscapedBytes<'_> {
    EscapedBytes(bytes)
}

/// The name of a file, within one line; bytes that are not UTF-8 are escaped as `\xff`.
#[must_use]
pub fn path(path: &Path) -> EscapedBytes<'_> {
    EscapedBytes(path.as_os_str().as_encoded_bytes())
}

/// JSON in which strings hold the escapes of RFC 8259 (section 7) for all unsafe characters. It means the same.
#[must_use]
pub fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        // Outside of strings, JSON has no unsafe characters but line feeds and tabs.
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
        write!(Escaping { out, keeps_lines: self.keeps_lines }, "{}", self.value)
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

/// Escapes what is written to `out`.
struct Escaping<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    keeps_lines: bool,
}

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let keeps_lines = self.keeps_lines;
        write_escaped(self.out, text, |character| keeps_lines && character == '\n')
    }
}

/// Writes `text`, with an escape for each unsafe character that is not `kept`.
fn write_escaped(out: &mut impl Write, text: &str, kept: impl Fn(char) -> bool) -> fmt::Result {
    let mut shown = 0;
    for (at, character) in text.char_indices() {
        if is_unsafe(character) && !kept(character) {
            out.write_str(&text[shown..at])?;
            write_character(out, character)?;
            shown = at + character.len_utf8();
        }
    }
    out.write_str(&text[shown..])
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
