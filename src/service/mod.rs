//! What a conversation is about: one method that turns input into output.
//!
//! A service sees bytes that came in, room for bytes that go out, and the time. It never sees a socket, never blocks
//! and never reads a clock, so the same service runs over TCP, over a Unix socket and under a simulated clock in a
//! test. Back-pressure is not a callback: a service that finds no room leaves its input where it is, and the full input
//! buffer makes the connection stop reading.

mod chargen;
mod datagram;
mod delayed;
mod discard;
mod echo;
mod framed;
mod http;
mod input;
mod never_read;
mod one_shot;
mod output;
pub mod search;
mod text_functions;
mod unframed;

pub use chargen::Chargen;
pub use datagram::{
    ChargenDatagram, DaytimeDatagram, DiscardDatagram, EchoDatagram, FixedDatagram, Reply, Responder, ReverseDatagram,
    SHORT_REPLY_BYTES, TimeDatagram, UpperDatagram,
};
pub use delayed::Delayed;
pub use discard::Discard;
pub use echo::Echo;
pub use framed::{Framed, Respond};
pub use http::{HttpResponse, HttpService, Routes};
pub use input::Input;
pub use never_read::NeverRead;
pub use one_shot::{OneShot, WallClock, clock, daytime, greet, time};
pub use output::Output;
pub use search::Search;
pub use text_functions::{reverse, upper};
pub use unframed::Unframed;

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
    Writable,
    /// More input, or more room in the output, whichever comes first: for a service whose output does not follow from its
    /// input, such as one that passes on what others say. Reading goes on in the meantime, as far as the input has room.
    /// Once the input has ended, only room is waited for; while the output is empty, only input.
    Either,
    /// This instant, or more input, or most of a well-filled output gone, whichever comes first. After an instant that has
    /// passed already the service is called again with the next tick, about a millisecond later. The limits of the
    /// connection hold meanwhile, whatever instants are named.
    Deadline(Instant),
    /// As [`Deadline`](Self::Deadline), with an instant that is kept to the microsecond where the system allows it, instead of to a
    /// tick of a millisecond. One that has passed already is the same as with `Deadline`. An instant that was named is waited for
    /// even when another one is named later, so that the service may be called for nothing: for a deadline that moves with
    /// every message, `Deadline` is cheaper.
    PreciseDeadline(Instant),
    /// Nothing, ever again: send what is in the output, then close.
    Close,
    /// As [`Close`](Self::Close), because the peer did not keep to the protocol: see [`Service::error_detail`].
    Abort,
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
///         if input.is_empty() { Wait::Input } else { Wait::Writable }
///     }
/// }
/// ```
pub trait Service {
    /// Takes what it can from `input`, writes what it can to `output`, and says what it needs next.
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait;

    /// What was wrong with what the peer sent, in words for the log, once the service has refused it.
    fn error_detail(&self) -> Option<String> {
        None
    }

    /// How many bytes of heap the service holds between calls on behalf of the peer, such as a reply that found no room or a
    /// queue; asked after each turn of the connection, so it should only add up a few numbers.
    ///
    /// They count towards the memory limit of the server, as the buffers of the connection do. Memory that another thread may
    /// add before the service is called again should be included. Memory of a fixed size per connection need not be.
    fn held_bytes(&self) -> usize {
        0
    }
}

impl<S: Service + ?Sized> Service for Box<S> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        (**self).serve(input, output, now)
    }

    fn error_detail(&self) -> Option<String> {
        (**self).error_detail()
    }

    fn held_bytes(&self) -> usize {
        (**self).held_bytes()
    }
}
