//! Services: the application side of a connection, one method that turns input into output.
//!
//! A service gets received bytes, space for bytes to send, and a context. It never sees a socket, never blocks and never
//! reads a clock. The same service runs over TCP, over a Unix socket, and under a simulated clock in a test.
//! Back-pressure is not a callback: a service without output space leaves its input in place, and the full input buffer
//! makes the connection stop reading.

mod admin_pages;
mod chargen;
mod close_reason;
mod connect;
mod context;
mod datagram;
mod delayed;
mod discard;
mod echo;
mod framed;
mod handle;
#[cfg(feature = "http")]
mod http;
mod input;
mod limits;
mod never_read;
mod one_shot;
mod output;
mod pending_output;
mod proxy;
mod replies;
pub mod search;
mod text_functions;
mod tunnel;
mod unframed_text;
mod upstreams;

pub(crate) use admin_pages::AdminPages;
#[cfg(feature = "metrics")]
pub(crate) use admin_pages::AdminRoutes;
pub use chargen::Chargen;
pub use close_reason::CloseReason;
pub use connect::ConnectOptions;
pub use context::Context;
pub(crate) use context::{HandleSlot, Host};
pub use datagram::{
    ChargenDatagram, DaytimeDatagram, DiscardDatagram, EchoDatagram, FixedDatagram, Reply, Responder, ReverseDatagram,
    SHORT_REPLY_BYTES, TimeDatagram, UpperDatagram,
};
pub use delayed::Delayed;
pub use discard::Discard;
pub use echo::Echo;
pub use framed::Framed;
pub use handle::{Handle, SendError};
pub(crate) use handle::{NextSend, Notify};
#[cfg(feature = "http")]
pub use http::{HttpRequest, HttpResponse, HttpService, Routes};
pub use input::Input;
pub use limits::Limits;
pub use never_read::NeverRead;
pub use one_shot::{OneShot, WallClock, clock, daytime, greet, time};
pub use output::Output;
pub use pending_output::PendingOutput;
pub use proxy::Proxy;
pub use replies::{Replies, Respond};
pub use search::Search;
pub use text_functions::{reverse, upper};
pub use tunnel::Tunnel;
pub use unframed_text::Unframed;
pub use upstreams::{UpstreamCounts, Upstreams};

use std::time::Instant;

/// What a service needs before it can continue.
///
/// In each of them a connection can also end by a reset, one of its limits or timeouts, a handle, and a drain or stop of
/// the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// More input, or its end. Once the input has ended and was served, the connection finishes: the remaining output
    /// is sent, then the connection closes ([`CloseReason::PeerClosed`]). It also closes while the input buffer is full,
    /// because nothing more can arrive ([`CloseReason::FrameTooLarge`]).
    Input,
    /// More space in the output. Nothing is read in the meantime. That suits a service whose output follows from its
    /// input; it is a deadlock if both sides write first. The service is called again when the output has fallen to its
    /// low watermark. The connection closes while the output is empty, because there will never be more space
    /// ([`CloseReason::ReplyTooLarge`]; [`CloseReason::NoProgress`] after [`Output::end`]).
    Writable,
    /// More input or more space in the output, whichever comes first. It suits a service whose output does not follow
    /// from its input, such as one that forwards messages of others. Reading continues while the input buffer has
    /// space. After the end of input only output space ends the wait; while the output is empty, only input does. When
    /// neither can come, the connection finishes: [`CloseReason::PeerClosed`] after the end of input if all of it was
    /// consumed, otherwise [`CloseReason::NoProgress`].
    Either,
    /// A wake from a [`Handle`], more input, its end, or a well-filled output that falls to its low watermark. The
    /// connection stays open meanwhile, also after the end of input, with a full input buffer and with an empty output.
    /// It suits a service that waits for another connection or another thread.
    Wake,
    /// This instant, or anything that [`Wake`](Self::Wake) waits for, whichever comes first. The connection stays open as
    /// with `Wake`. For an instant in the past the service is called again with the next tick, about a millisecond later.
    /// The limits of the connection apply regardless of the instant.
    Deadline(Instant),
    /// Like [`Deadline`](Self::Deadline), but with microsecond instead of millisecond resolution where the system
    /// allows it. An instant in the past is the same as with `Deadline`. A replaced instant may still cause a call, for
    /// which the service finds nothing to do. For a deadline that moves with every message `Deadline` is cheaper.
    PreciseDeadline(Instant),
    /// Close the connection after the remaining output is sent.
    Close,
    /// Like [`Close`](Self::Close), because the peer violated the protocol: see [`Service::error_detail`].
    Abort,
}

/// Application side of one connection.
///
/// `serve` is called when the connection opens, input arrives or ends, output space becomes free, the deadline expires,
/// or another thread wakes the connection. It may also be called for no visible reason; it must then return what it
/// waits for again.
///
/// A panic in a service closes its own connection only. The process's panic hook, which writes to stderr by default,
/// still runs: see [`limit_panic_reports`](crate::server::limit_panic_reports).
///
/// ```
/// use multiconn::service::{Context, Input, Output, Service, Wait};
///
/// /// Answers in upper case.
/// struct Upper;
///
/// impl Service for Upper {
///     fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
///         let count = output.write(&input.bytes().to_ascii_uppercase());
///         input.consume(count);
///         if input.is_empty() { Wait::Input } else { Wait::Writable }
///     }
/// }
/// ```
pub trait Service {
    /// Consumes `input`, writes to `output`, and returns what it needs next.
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait;

    /// The connection has ended for `reason`. Called exactly once, whatever ended the connection, after the last call of
    /// [`serve`](Self::serve); the service is dropped then.
    fn closed(&mut self, reason: CloseReason) {
        let _ = reason;
    }

    /// Whether the service still has work for its peer although nothing is buffered, such as a reply that it waits for.
    /// A drain waits for it until the drain timeout. By default, a connection with empty buffers has nothing to do.
    fn is_busy(&self) -> bool {
        false
    }

    /// Describes the peer's protocol violation for the log, after the service returned [`Wait::Abort`].
    fn error_detail(&self) -> Option<String> {
        None
    }

    /// Heap memory in bytes that the service holds for the peer between calls, such as a blocked reply or a queue.
    ///
    /// It counts towards the memory limit of the server, like the buffers of the connection. It is queried after each
    /// turn, so it must be cheap. Include memory that another thread may add before the next call. Memory of a fixed
    /// size per connection need not be included.
    fn held_bytes(&self) -> usize {
        0
    }
}

impl<S: Service + ?Sized> Service for Box<S> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        (**self).serve(input, output, context)
    }

    fn closed(&mut self, reason: CloseReason) {
        (**self).closed(reason);
    }

    fn is_busy(&self) -> bool {
        (**self).is_busy()
    }

    fn error_detail(&self) -> Option<String> {
        (**self).error_detail()
    }

    fn held_bytes(&self) -> usize {
        (**self).held_bytes()
    }
}
