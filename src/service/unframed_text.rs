//! Unframed text service: answers text as it arrives, for peers that send without framing and wait for the answer.

use super::replies::{Encoding, PendingReplies};
use super::text_functions::incomplete_character_bytes;
use super::{CloseReason, Context, Input, Output, Replies, Respond, Service, Wait};

/// Answers input at once, line by line. Each reply gets the line end of the line (`\n`, `\r\n`). The text after the last
/// line end is answered without waiting for a line end, and its replies have none. Only the bytes of an incomplete
/// character wait for the rest of it.
///
/// A peer that sends `Hello` gets its answer, and so does one that sends lines. TCP has no message boundaries, so a
/// line that arrives in two parts is answered in two parts. Where that matters, use [`Framed`](super::Framed).
///
/// Each part is given to [`Respond::respond`] exactly once. Replies without room are kept, and reading stops until they
/// have been sent.
#[derive(Debug)]
pub struct Unframed<R> {
    respond: R,
    pending: PendingReplies,
}

impl<R: Respond> Unframed<R> {
    /// Answers lines, as far as they have arrived, with `respond`.
    pub fn new(respond: R) -> Self {
        Self { respond, pending: PendingReplies::default() }
    }
}

impl<R: Respond> Service for Unframed<R> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if let Some(wait) = self.pending.resume(output) {
            return wait;
        }
        let max_reply_bytes = self.respond.max_reply_bytes(output.limit());
        let mut replies = Replies::new(output, context, &mut self.pending);
        loop {
            let (text, line_end) = first_line(input.bytes(), input.has_ended());
            let count = text.len() + line_end.len();
            if count == 0 {
                return Wait::Input;
            }
            replies.begin(Encoding::Text { line_end }, max_reply_bytes);
            self.respond.respond(text, &mut replies);
            input.consume(count);
            if let Some(wait) = replies.finish() {
                return wait;
            }
        }
    }

    fn closed(&mut self, reason: CloseReason) {
        self.respond.closed(reason);
    }

    fn is_busy(&self) -> bool {
        self.respond.is_busy()
    }

    fn error_detail(&self) -> Option<String> {
        self.pending.error_detail()
    }

    fn held_bytes(&self) -> usize {
        self.pending.held_bytes() + self.respond.held_bytes()
    }
}

/// The first line, as far as it has arrived, and its line end, which may be incomplete.
fn first_line(bytes: &[u8], has_ended: bool) -> (&[u8], &'static [u8]) {
    let line = match memchr::memchr(b'\n', bytes) {
        Some(position) => &bytes[..=position],
        None if has_ended => bytes,
        None => &bytes[..bytes.len() - incomplete_character_bytes(bytes)],
    };
    let line_ends: [&[u8]; 3] = [b"\r\n", b"\n", b"\r"];
    let split = line_ends.into_iter().find_map(|line_end| Some((line.strip_suffix(line_end)?, line_end)));
    split.unwrap_or((line, &[]))
}
