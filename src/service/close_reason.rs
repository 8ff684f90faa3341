//! Reasons why a connection closed, with the texts that logs, counters and reports share.

use std::fmt;
use std::io;

/// Why a connection closed. A peer's fault leads to one of these; [`Error`](crate::error::Error) is for faults on our
/// side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer shut down its sending half, and everything it had sent was answered.
    PeerClosed,
    /// The service closed the connection.
    Completed,
    /// The peer reset the connection, or disappeared while output was on its way.
    Reset,
    /// No byte moved in either direction during the idle timeout.
    Idle,
    /// The peer did not send a byte within the first-byte timeout.
    FirstByteTimeout,
    /// The peer acknowledged none of the waiting output during the write timeout.
    WriteTimeout,
    /// The peer did not complete the handshake within the handshake timeout.
    HandshakeTimeout,
    /// The handshake failed.
    HandshakeFailed,
    /// The connection did not begin with a valid header of the PROXY protocol.
    ProxyHeaderInvalid,
    /// The client that a header of the PROXY protocol names was refused; the refusal is counted by its own reason, too.
    Refused,
    /// The input ended without the message that marks its end (TLS: close_notify, RFC 8446, section 6.1).
    Truncated,
    /// The input was damaged or forged on its way.
    Damaged,
    /// The connection reached its maximum lifetime.
    Lifetime,
    /// All connections together reached the memory limit.
    MemoryLimit,
    /// The peer violated the service's protocol.
    ProtocolError,
    /// A frame does not fit the input buffer and so can never be complete.
    FrameTooLarge,
    /// A reply does not fit the output buffer and so can never be sent.
    ReplyTooLarge,
    /// The server is shutting down; everything received before was answered first.
    Drained,
    /// The server is shutting down, and the connection was still busy at the drain timeout.
    DrainCut,
    /// The loop was told to stop at once.
    Stopped,
    /// The service panicked while it was created for or called by this connection.
    ServicePanicked,
    /// The service waits for something that cannot happen: see [`Wait`](crate::service::Wait).
    NoProgress,
    /// The host name of an outgoing connection did not resolve.
    Unresolved,
    /// The peer of an outgoing connection refused it.
    ConnectRefused,
    /// An outgoing connection was not established within the connect timeout.
    ConnectTimeout,
    /// An outgoing connection was not established for another reason.
    ConnectFailed,
    /// The server had its maximum number of outgoing connections.
    OutgoingLimit,
    /// The connection at the other end of a tunnel failed.
    TunnelFailed,
    /// The operating system reported another kind of error.
    Failed(io::ErrorKind),
}

impl CloseReason {
    /// Every reason except [`Failed`](Self::Failed).
    pub const EXCEPT_FAILED: [Self; 28] = [
        Self::PeerClosed,
        Self::Completed,
        Self::Reset,
        Self::Idle,
        Self::FirstByteTimeout,
        Self::WriteTimeout,
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::ProxyHeaderInvalid,
        Self::Refused,
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
        Self::NoProgress,
        Self::Unresolved,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectFailed,
        Self::OutgoingLimit,
        Self::TunnelFailed,
    ];

    /// Returns the reason for a failed read or write on an established connection.
    #[must_use]
    pub fn from_error(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::Reset,
            // No socket reports these two, only a layer above it that knows what must follow.
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
            Self::ProxyHeaderInvalid => out.write_str("invalid PROXY header"),
            Self::Refused => out.write_str("refused after its PROXY header"),
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
            Self::NoProgress => out.write_str("no progress possible"),
            Self::Unresolved => out.write_str("name not resolved"),
            Self::ConnectRefused => out.write_str("connect refused"),
            Self::ConnectTimeout => out.write_str("connect timeout"),
            Self::ConnectFailed => out.write_str("connect failed"),
            Self::OutgoingLimit => out.write_str("too many outgoing connections"),
            Self::TunnelFailed => out.write_str("tunnel failed"),
            Self::Failed(kind) => write!(out, "{kind}"),
        }
    }
}
