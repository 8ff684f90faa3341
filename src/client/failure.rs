//! Causes of failed connections, as reports and results count them.

use crate::connection::CloseReason;
use crate::error::{cause_in_words, has_words, in_words, in_words_with_errno};
use crate::socket::TlsFault;
use rustix::io::Errno;
use std::fmt;
use std::io::{self, ErrorKind};

/// Why a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Failure {
    /// The connection was refused: nothing listens there.
    Refused,
    /// The connect took longer than the connect timeout, or than the system allows.
    ConnectTimeout,
    /// The TLS handshake was not complete within the connect timeout.
    HandshakeTimeout,
    /// TLS could not be established, or failed later.
    Tls(TlsFault),
    /// The input ended without TLS's close_notify, so data may be missing.
    Truncated,
    /// A reply took longer than the reply timeout.
    ReplyTimeout,
    /// The peer accepted no bytes for the reply timeout; the socket buffer stayed full.
    SendTimeout,
    /// The peer reset the connection.
    Reset,
    /// The peer closed before every reply had arrived.
    ClosedEarly,
    /// Echo mismatch: the received bytes differ from those sent.
    Mismatch,
    /// A reply is no message of the message protocol, or not the expected one.
    WrongAnswer,
    /// The peer closed instead of sending a second reply.
    NotKept,
    /// A reply violates the framing.
    BadFrame,
    /// The peer closed in the middle of a reply.
    CutFrame,
    /// Interactive mode: the input could not be read, or the output could not be written.
    OwnEnd,
    /// Interactive mode: the framing cannot carry a line of the input.
    Unsendable,
    /// No local port is free for another connection to this target.
    OutOfPorts,
    /// The target is a broadcast address, which needs `SO_BROADCAST`.
    NeedsBroadcast,
    /// There is no route to the multicast group, and no interface was given.
    NoGroupRoute,
    /// The limit on open descriptors was reached.
    OutOfDescriptors,
    /// The run was stopped first.
    Stopped,
    /// Another system error.
    System(ErrorKind),
    /// A system error whose [`ErrorKind`] has no text, by its number (errno(3)).
    Errno(i32),
}

impl Failure {
    /// Failure for an error of connect(2).
    pub(super) fn of_connect(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::CONNREFUSED) => Self::Refused,
            Some(Errno::TIMEDOUT) => Self::ConnectTimeout,
            Some(Errno::CONNRESET) => Self::Reset,
            Some(Errno::ADDRNOTAVAIL) => Self::OutOfPorts,
            Some(Errno::MFILE | Errno::NFILE) => Self::OutOfDescriptors,
            // Errors without an errno come from the client's own socket check and timeouts.
            None if error.kind() == ErrorKind::ConnectionRefused => Self::Refused,
            None if error.kind() == ErrorKind::TimedOut => Self::ConnectTimeout,
            Some(errno) if !has_words(error.kind()) => Self::Errno(errno.raw_os_error()),
            _ => Self::System(error.kind()),
        }
    }

    /// Whether a retry may succeed: the server may start to listen, answer in time, or a local port may become free.
    pub(super) fn is_transient(self) -> bool {
        matches!(self, Self::Refused | Self::ConnectTimeout | Self::OutOfPorts | Self::System(ErrorKind::NotFound))
    }

    /// Failure of a connection that was closed for `reason` before its exchange was complete.
    pub(super) fn of_close(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Reset => Self::Reset,
            CloseReason::Stopped => Self::Stopped,
            CloseReason::HandshakeTimeout => Self::HandshakeTimeout,
            CloseReason::Truncated => Self::Truncated,
            CloseReason::WriteTimeout => Self::SendTimeout,
            CloseReason::Failed(kind) => Self::System(kind),
            _ => Self::ClosedEarly,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(fault) => write!(out, "TLS: {fault}"),
            Self::System(kind) => out.write_str(&in_words(&(*kind).into())),
            Self::Errno(errno) => out.write_str(&in_words_with_errno(&io::Error::from_raw_os_error(*errno))),
            _ => out.write_str(&cause_in_words(&self.name())),
        }
    }
}
