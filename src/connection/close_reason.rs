//! Why a connection ended, in words that logs, counters and reports share.

use std::fmt;
use std::io;

/// Why a connection ended. A peer's fault ends in one of these; [`Error`](crate::error::Error) is for our own side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer shut its sending half; all it had sent was answered.
    PeerClosed,
    /// The service said that the conversation is over.
    Completed,
    /// The peer reset the connection, or went away while output was on its way.
    Reset,
    /// No byte moved in either direction for the idle timeout.
    Idle,
    /// The peer did not send a byte for the first-byte timeout.
    FirstByteTimeout,
    /// The peer acknowledged nothing of what waited for it for the write timeout.
    WriteTimeout,
    /// The peer did not complete the handshake within the handshake timeout.
    HandshakeTimeout,
    /// The handshake failed.
    HandshakeFailed,
    /// The input broke off without the farewell that tells its end from a cut (TLS: close_notify, RFC 8446, section 6.1).
    Truncated,
    /// What came in was damaged or forged on its way.
    Damaged,
    /// The connection had existed for its lifetime.
    Lifetime,
    /// All connections together held as much as they may.
    MemoryLimit,
    /// What the peer sent is not what the service's protocol allows.
    ProtocolError,
    /// A frame does not fit the input buffer and so can never be complete.
    FrameTooLarge,
    /// A reply does not fit the output buffer and so can never be sent.
    ReplyTooLarge,
    /// The server is ending; what had been received was answered first.
    Drained,
    /// The server is ending, and the connection was not done when the drain timeout passed.
    DrainCut,
    /// The loop was told to end at once.
    Stopped,
    /// The service panicked on this conversation, or when it was made for it.
    ServicePanicked,
    /// The system reported an error of another kind.
    Failed(io::ErrorKind),
}

impl CloseReason {
    /// Every reason but the errors that only the system knows.
    pub const OWN: [Self; 19] = [
        Self::PeerClosed,
        Self::Completed,
        Self::Reset,
        Self::Idle,
        Self::FirstByteTimeout,
        Self::WriteTimeout,
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::Truncated,
        Self::Damaged,
        Self::Lifetime,
        Self::MemoryLimit,
        Self::ProtocolError,
        Self::FrameTooLarge,
        Self::ReplyTooLarge,
        Self::Drained,
        Self::DrainCut,
        Self::Stopped,
        Self::ServicePanicked,
    ];

    /// The reason that belongs to an error of a read or write on an established connection.
    #[must_use]
    pub fn from_error(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::Reset,
            // No socket says these, only a layer that knows what should have come.
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            io::ErrorKind::InvalidData => Self::Damaged,
            kind => Self::Failed(kind),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerClosed => out.write_str("closed by peer"),
            Self::Completed => out.write_str("completed"),
            Self::Reset => out.write_str("reset by peer"),
            Self::Idle => out.write_str("idle timeout"),
            Self::FirstByteTimeout => out.write_str("first-byte timeout"),
            Self::WriteTimeout => out.write_str("write timeout"),
            Self::HandshakeTimeout => out.write_str("handshake timeout"),
            Self::HandshakeFailed => out.write_str("handshake failed"),
            Self::Truncated => out.write_str("truncated by peer"),
            Self::Damaged => out.write_str("damaged input"),
            Self::Lifetime => out.write_str("lifetime over"),
            Self::MemoryLimit => out.write_str("memory limit"),
            Self::ProtocolError => out.write_str("protocol error"),
            Self::FrameTooLarge => out.write_str("frame too large"),
            Self::ReplyTooLarge => out.write_str("reply too large"),
            Self::Drained => out.write_str("drained"),
            Self::DrainCut => out.write_str("cut at the drain timeout"),
            Self::Stopped => out.write_str("stopped"),
            Self::ServicePanicked => out.write_str("service panicked"),
            Self::Failed(kind) => write!(out, "{kind}"),
        }
    }
}
