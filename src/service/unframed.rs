//! Text answered as it comes: for peers that send a few words and wait for the answer, without any frame.

use super::text_functions::begun_character;
use super::{Input, Output, Service, Wait};
use std::time::Instant;

/// Answers at once whatever has come, line by line; the ends of lines (`\n`, `\r\n`) stay where they are, and what stands
/// behind the last of them is answered without waiting for its end. Only the bytes of a character that is not whole yet wait
/// for the rest of it.
///
/// So a peer that sends `Hello` gets its answer, and so does one that sends lines. But TCP has no borders: a line that comes
/// in two pieces is answered in two pieces. Where that matters, there is [`Framed`](super::Framed).
#[derive(Debug)]
pub struct Unframed<R>(R);

impl<R: Fn(&[u8], &mut Vec<u8>)> Unframed<R> {
    /// Answers with what `respond` appends, and may be asked for again when there was no room.
    pub fn new(respond: R) -> Self {
        Self(respond)
    }
}

impl<R: Fn(&[u8], &mut Vec<u8>)> Service for Unframed<R> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _now: Instant) -> Wait {
        let mut reply = Vec::new();
        loop {
            let (text, end) = first_piece(input.bytes(), input.has_ended());
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

/// The first line, as far as it has come, and its end.
fn first_piece(bytes: &[u8], has_ended: bool) -> (&[u8], &[u8]) {
    let piece = match memchr::memchr(b'\n', bytes) {
        Some(position) => &bytes[..=position],
        None if has_ended => bytes,
        None => &bytes[..bytes.len() - begun_character(bytes)],
    };
    let without = |text: &[u8], end: &[u8]| text.strip_suffix(end).map_or(text.len(), <[u8]>::len);
    let text = without(piece, b"\n");
    piece.split_at(without(&piece[..text], b"\r"))
}
