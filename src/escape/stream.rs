//! Writer that shows a peer's byte stream on a terminal.

use super::{write_byte, write_escaped};
use std::io;

/// Shows a byte stream on a terminal. Unsafe characters and invalid UTF-8 are escaped.
///
/// Line feeds, CR LF and tabs stay. A character split between two writes is shown when its last byte arrives.
/// Incomplete characters are escaped when the writer is dropped.
#[derive(Debug)]
pub struct TerminalWriter<W: io::Write> {
    out: W,
    /// The first bytes of a character, or a CR that may precede a line feed: at most 3 bytes.
    held: Vec<u8>,
}

impl<W: io::Write> TerminalWriter<W> {
    /// Creates a writer that shows a stream on `out`.
    pub fn new(out: W) -> Self {
        Self { out, held: Vec::new() }
    }
}

impl<W: io::Write> io::Write for TerminalWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        let mut output = String::new();
        let used = escape_complete(&self.held, &mut output);
        self.held.drain(..used);
        self.out.write_all(output.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: io::Write> Drop for TerminalWriter<W> {
    fn drop(&mut self) {
        let mut output = String::new();
        for byte in self.held.drain(..) {
            let _ =
                if byte == b'\r' { write_escaped(&mut output, "\r", |_| false) } else { write_byte(&mut output, byte) };
        }
        let _ = self.out.write_all(output.as_bytes()).and_then(|()| self.out.flush());
    }
}

/// Appends the escaped text of `bytes`; returns how many bytes were complete.
fn escape_complete(bytes: &[u8], output: &mut String) -> usize {
    let mut used = 0;
    loop {
        let remaining = &bytes[used..];
        let (valid, invalid) = match std::str::from_utf8(remaining) {
            Ok(text) => (text, Some(0)),
            Err(error) => {
                let valid = std::str::from_utf8(&remaining[..error.valid_up_to()]).unwrap_or_default();
                (valid, error.error_len())
            }
        };
        let is_last = valid.len() == remaining.len();
        let complete = if is_last { valid.strip_suffix('\r').unwrap_or(valid) } else { valid };
        escape_text(complete, output);
        used += complete.len();
        let Some(invalid) = invalid.filter(|_| !is_last) else { return used };
        for byte in &bytes[used..used + invalid] {
            let _ = write_byte(output, *byte);
        }
        used += invalid;
    }
}

/// Escapes text; a CR stays only before a line feed.
fn escape_text(text: &str, output: &mut String) {
    for (number, part) in text.split("\r\n").enumerate() {
        if number > 0 {
            output.push_str("\r\n");
        }
        let _ = write_escaped(output, part, |character| matches!(character, '\n' | '\t'));
    }
}
