//! Reasons why a connection closed, with the texts of logs and reports and the names in metrics.

use crate::error::kind_name;
use std::fmt;
use std::io;

/// Defines [`CloseReason`] from the description, both names and the text of each reason, so that no list of them can be
/// incomplete.
macro_rules! close_reasons {
    ($($(#[$description:meta])+ $name:ident = $metric:literal, $text:literal;)+) => {
        /// Why a connection closed. A peer's fault leads to one of these; [`Error`](crate::error::Error) is for faults on
        /// our side.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum CloseReason {
            $($(#[$description])+ $name,)+
            /// The operating system reported another kind of error.
            Failed(io::ErrorKind),
        }

        impl CloseReason {
            /// Every reason except [`Failed`](Self::Failed).
            pub const EXCEPT_FAILED: [Self; [$($text),+].len()] = [$(Self::$name),+];

            /// Stable name for scripts and metrics, such as `peer_closed`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $metric,)+
                    Self::Failed(kind) => kind_name(kind),
                }
            }
        }

        impl fmt::Display for CloseReason {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => out.write_str($text),)+
                    Self::Failed(kind) => write!(out, "{kind}"),
                }
            }
        }
    };
}

close_reasons! {
    /// The peer shut down its sending half, and everything it had sent was answered.
    PeerClosed = "peer_closed", "closed by peer";
    /// The service closed the connection.
    Completed = "completed", "completed";
    /// The peer reset the connection, or disappeared while output was on its way.
    Reset = "reset", "reset by peer";
    /// No byte moved in either direction during the idle timeout.
    Idle = "idle_timeout", "idle timeout";
    /// The peer did not send a byte within the first-byte timeout.
    FirstByteTimeout = "first_byte_timeout", "first-byte timeout";
    /// The peer acknowledged none of the waiting output during the write timeout.
    WriteTimeout = "write_timeout", "write timeout";
    /// The peer did not complete the handshake within the handshake timeout.
    HandshakeTimeout = "handshake_timeout", "handshake timeout";
    /// The handshake failed.
    HandshakeFailed = "handshake_failed", "handshake failed";
    /// The connection did not begin with a valid PROXY protocol header.
    ProxyHeaderInvalid = "proxy_header_invalid", "invalid PROXY header";
    /// The client in a PROXY protocol header was refused. The refusal is also counted by its own reason.
    Refused = "refused", "refused after its PROXY header";
    /// The input ended without the message that marks its end (TLS: close_notify, RFC 8446, section 6.1).
    Truncated = "truncated", "truncated by peer";
    /// The input was damaged or forged on its way.
    Damaged = "damaged", "damaged input";
    /// The connection reached its maximum lifetime.
    Lifetime = "lifetime", "lifetime over";
    /// All connections together reached the memory limit.
    MemoryLimit = "memory_limit", "memory limit";
    /// The peer violated the service's protocol.
    ProtocolError = "protocol_error", "protocol error";
    /// A frame does not fit the input buffer and so can never be complete.
    FrameTooLarge = "frame_too_large", "frame too large";
    /// A reply does not fit the output buffer and so can never be sent.
    ReplyTooLarge = "reply_too_large", "reply too large";
    /// The server is shutting down; everything received before was answered first.
    Drained = "drained", "drained";
    /// The server is shutting down, and the connection was still busy at the drain timeout.
    DrainCut = "drain_timeout", "cut at the drain timeout";
    /// The loop was told to stop at once.
    Stopped = "stopped", "stopped";
    /// The service panicked while it was created for or called by this connection.
    ServicePanicked = "service_panicked", "service panicked";
    /// The service waits for something that cannot happen: see [`Wait`](crate::service::Wait).
    NoProgress = "no_progress", "no progress possible";
    /// The host name of an outgoing connection did not resolve.
    Unresolved = "unresolved", "name not resolved";
    /// The peer of an outgoing connection refused it.
    ConnectRefused = "connect_refused", "connect refused";
    /// An outgoing connection was not established within the connect timeout.
    ConnectTimeout = "connect_timeout", "connect timeout";
    /// An outgoing connection was not established for another reason.
    ConnectFailed = "connect_failed", "connect failed";
    /// The server had its maximum number of outgoing connections.
    OutgoingLimit = "outgoing_limit", "too many outgoing connections";
    /// The connection at the other end of a tunnel failed.
    TunnelFailed = "tunnel_failed", "tunnel failed";
}

impl CloseReason {
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

#[cfg(test)]
mod tests {
    use super::CloseReason;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_a_text_and_a_name_of_its_own_that_the_manual_explains() {
        let manual = include_str!("../../docs/server.md");
        let texts: BTreeSet<String> = CloseReason::EXCEPT_FAILED.iter().map(ToString::to_string).collect();
        let names: BTreeSet<String> =
            CloseReason::EXCEPT_FAILED.iter().map(|reason| reason.name().to_owned()).collect();
        assert_eq!([texts.len(), names.len()], [CloseReason::EXCEPT_FAILED.len(); 2]);
        for text in texts.iter().chain(&names) {
            assert!(manual.contains(&format!("`{text}`")), "docs/server.md does not explain `{text}`");
        }
    }
}
