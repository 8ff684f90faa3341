//! A stream of bytes from a peer, on its way to a terminal.

use super::{write_byte, write_escaped};
use std::io;

/// Shows a stream of bytes on a terminal: what is unsafe, and bytes that are not UTF-8, are escaped.
///
/// Line feeds, CR LF and tabs stay. A character that is split between two writes is shown when its last byte comes; what is
/// incomplete at the end is escaped when the writer is dropped.
#[derive(Debug)]
pub struct TerminalWriter<W: io::Write> {
    out: W,
    /// The first bytes of a character, or a CR that may belong to a line feed: 3 bytes at most.
    held: Vec<u8>,
}

impl<W: io::Write> TerminalWriter<W> {
    /// Shows a stream on `out`.
    pub fn new(out: W) -> Self {
        Self { out, held: Vec::new() }
    }
}

impl<W: io::Write> io::Write for TerminalWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        let mut shown = String::new();
        let used = show(&self.held, &mut shown);
        self.held.drain(..used);
        self.out.write_all(shown.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: io::Write> Drop for TerminalWriter<W> {
    fn drop(&mut self) {
        let mut shown = String::new();
        for byte in self.held.drain(..) {
            let _ =
                if byte == b'\r' { write_escaped(&mut shown, "\r", |_| false) } else { write_byte(&mut shown, byte) };
        }
        let _ = self.out.write_all(shown.as_bytes()).and_then(|()| self.out.flush());
    }
}

/// Appends what `bytes` show; returns how many of them are complete.
fn show(bytes: &[u8], shown: &mut String) -> usize {
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        let (valid, invalid) = match std::str::from_utf8(rest) {
            Ok(text) => (text, Some(0)),
            Err(error) => {
                let valid = std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default();
                (valid, error.error_len())
            }
        };
        let is_last = valid.len() == rest.len();
        let complete = if is_last { valid.strip_suffix('\r').unwrap_or(valid) } else { valid };
        show_text(complete, shown);
        used += complete.len();
        let Some(invalid) = invalid.filter(|_| !is_last) else { return used };
        for byte in &bytes[used..used + invalid] {
            let _ = write_byte(shown, *byte);
        }
        used += invalid;
    }
}

/// A CR is shown as it is before a line feed only.
fn show_text(text: &str, shown: &mut String) {
    for (number, part) in text.split("\r\n").enumerate() {
        if number > 0 {
            shown.push_str("\r\n");
        }
        let _ = write_escaped(shown, part, |character| matches!(character, '\n' | '\t'));
    }
}
