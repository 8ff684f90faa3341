//! What a conversation is about: one method that turns input into output.
//!
//! A service sees bytes that came in, room for bytes that go out, and the time. It never sees a socket, never blocks
//! and never reads a clock, so the same service runs over TCP, over a Unix socket and under a simulated clock in a
//! test. Back-pressure is not a callback: a service that finds no room leaves its input where it is, and the full input
//! buffer makes the connection stop reading.

mod discard;
mod echo;
mod http_page;
pub mod search;

pub use discard::Discard;
pub use echo::Echo;
pub use http_page::{Answer, HttpPage, Site};
pub use search::Search;

use crate::buffer::{Buffer, Lender};
use std::time::Instant;

/// What a service needs before it can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// More input, or its end. Once the input has ended and was served, the conversation is over: what is in the
    /// output is still sent, then the connection closes.
    Input,
    /// More room in the output. Nothing is read in the meantime: that is right for a service whose output follows from
    /// its input, and a deadlock for one that speaks first while the peer does, too. The service is called again when
    /// most of the output has gone.
    Room,
    /// More input, or more room in the output, whichever comes first: for a service whose output does not follow from its
    /// input, such as one that passes on what others say. Reading goes on in the meantime, as far as the input has room.
    /// Once the input has ended, only room is waited for; while the output is empty, only input.
    InputOrRoom,
    /// This instant, or more input, or most of a well-filled output gone, whichever comes first.
    Until(Instant),
    /// As [`Until`](Self::Until), with an instant that is kept to the microsecond where the system allows it, instead of to a
    /// tick of a millisecond. An instant that was named is waited for even when another one is named later, so that the
    /// service may be called for nothing: for a deadline that moves with every message, `Until` is cheaper.
    At(Instant),
    /// Nothing, ever again: send what is in the output, then close.
    Nothing,
    /// As [`Nothing`](Self::Nothing), because the peer did not keep to the protocol: see [`Service::complaint`].
    Refuse,
}

/// One side of one conversation.
///
/// `serve` is called when the connection opens, when input arrived, when the input ended, when room was freed, when the
/// instant it waited for has come, and when another thread woke the connection. It may be called for no visible
/// reason and must then simply say again what it waits for.
///
/// A service that panics ends its own conversation and no other. The panic hook, which writes to stderr by default, is the
/// process's own: see [`limit_panic_reports`](crate::server::limit_panic_reports).
///
/// ```
/// use multiconn::service::{Input, Output, Service, Wait};
/// use std::time::Instant;
///
/// /// Answers in upper case.
/// struct Upper;
///
/// impl Service for Upper {
///     fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _now: Instant) -> Wait {
///         let count = output.write(&input.bytes().to_ascii_uppercase());
///         input.consume(count);
///         if input.is_empty() { Wait::Input } else { Wait::Room }
///     }
/// }
/// ```
pub trait Service {
    /// Takes what it can from `input`, writes what it can to `output`, and says what it needs next.
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait;

    /// What was wrong with what the peer sent, in words for the log, once the service has refused it.
    fn complaint(&self) -> Option<String> {
        None
    }
}

impl<S: Service + ?Sized> Service for Box<S> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        (**self).serve(input, output, now)
    }

    fn complaint(&self) -> Option<String> {
        (**self).complaint()
    }
}

/// The bytes that came in and were not consumed yet.
#[derive(Debug)]
pub struct Input<'a> {
    buffer: &'a mut Buffer,
    ended: bool,
}

impl<'a> Input<'a> {
    /// Input from `buffer`; `ended` says that no more will follow.
    pub fn new(buffer: &'a mut Buffer, ended: bool) -> Self {
        Self { buffer, ended }
    }

    /// The bytes waiting, oldest first.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// Whether no byte is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether the peer has shut its sending half: what is here now is all there will ever be.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Drops the oldest `count` bytes: they were dealt with.
    ///
    /// # Panics
    ///
    /// When fewer than `count` bytes are waiting.
    pub fn consume(&mut self, count: usize) {
        self.buffer.consume(count);
    }

    /// Drops every byte.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }
}

/// The bytes that go out, as far as there is room for them.
#[derive(Debug)]
pub struct Output<'a> {
    buffer: &'a mut Buffer,
    lender: &'a mut Lender,
    limit: usize,
}

impl<'a> Output<'a> {
    /// Output into `buffer`, which may hold up to `limit` bytes and borrows its storage from `lender`.
    pub fn new(buffer: &'a mut Buffer, lender: &'a mut Lender, limit: usize) -> Self {
        Self { buffer, lender, limit }
    }

    /// How many bytes can be written now, in bytes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.buffer.len())
    }

    /// Writes as many of `bytes` as there is room for, and returns how many that were.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() && self.room() > 0 {
            self.lender.make_room(self.buffer, self.limit);
            let spare = self.buffer.spare(self.limit);
            let count = spare.len().min(bytes.len() - written);
            spare[..count].copy_from_slice(&bytes[written..written + count]);
            self.buffer.commit(count);
            written += count;
        }
        written
    }

    /// Writes all of `bytes` if there is room for all of them, else nothing; returns whether it did.
    #[must_use = "when there was no room, nothing was written"]
    pub fn write_whole(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.room();
        if fits {
            self.write(bytes);
        }
        fits
    }

    /// Moves as much of the input as there is room for to the output. Into an empty output it moves without copying:
    /// the two buffers change places.
    #[inline]
    pub fn take(&mut self, input: &mut Input<'_>) {
        if self.buffer.is_empty() && input.buffer.len() <= self.limit {
            std::mem::swap(self.buffer, input.buffer);
        } else {
            let count = self.write(input.bytes());
            input.consume(count);
        }
    }
}
