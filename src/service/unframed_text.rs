//! Unframed text service: answers text as it arrives, for peers that send without framing and wait for the answer.

use super::text_functions::incomplete_character_bytes;
use super::{Context, Input, Output, Service, Wait};

/// Answers input at once, line by line. Line ends (`\n`, `\r\n`) stay in place, and the text after the last of them is
/// answered without waiting for a line end. Only the bytes of an incomplete character wait for the rest of it.
///
/// A peer that sends `Hello` gets its answer, and so does one that sends lines. TCP has no message boundaries, so a
/// line that arrives in two parts is answered in two parts. Where that matters, use [`Framed`](super::Framed).
#[derive(Debug)]
pub struct Unframed<R>(R);

impl<R: Fn(&[u8], &mut Vec<u8>)> Unframed<R> {
    /// Answers with the bytes that `respond` appends. It may be called again for the same text when there was no room.
    pub fn new(respond: R) -> Self {
        Self(respond)
    }
}

impl<R: Fn(&[u8], &mut Vec<u8>)> Service for Unframed<R> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        let mut reply = Vec::new();
        loop {
            let (text, end) = first_line(input.bytes(), input.has_ended());
            let count = text.len() + end.len();
            if count == 0 {
                return Wait::Input;
            }
            reply.clear();
            (self.0)(text, &mut reply);
            reply.extend_from_slice(end);
            if !output.write_whole(&reply) {
                return Wait::Writable;
            }
            input.consume(count);
        }
    }
}

/// The first line, as far as it has arrived, and its line end.
fn first_line(bytes: &[u8], has_ended: bool) -> (&[u8], &[u8]) {
    let line = match memchr::memchr(b'\n', bytes) {
        Some(position) => &bytes[..=position],
        None if has_ended => bytes,
        None => &bytes[..bytes.len() - incomplete_character_bytes(bytes)],
    };
    let without = |text: &[u8], end: &[u8]| text.strip_suffix(end).map_or(text.len(), <[u8]>::len);
    let text = without(line, b"\n");
    line.split_at(without(&line[..text], b"\r"))
}
