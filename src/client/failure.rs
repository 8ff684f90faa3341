//! Causes of failed connections, as reports and results count them.

use crate::connection::CloseReason;
use crate::error::{errno_name, has_words, in_words, in_words_with_errno};
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

/// Failures without data.
const NAMED: [Failure; 20] = [
    Failure::Refused,
    Failure::ConnectTimeout,
    Failure::HandshakeTimeout,
    Failure::Truncated,
    Failure::ReplyTimeout,
    Failure::SendTimeout,
    Failure::Reset,
    Failure::ClosedEarly,
    Failure::Mismatch,
    Failure::WrongAnswer,
    Failure::NotKept,
    Failure::BadFrame,
    Failure::CutFrame,
    Failure::OwnEnd,
    Failure::Unsendable,
    Failure::OutOfPorts,
    Failure::NeedsBroadcast,
    Failure::NoGroupRoute,
    Failure::OutOfDescriptors,
    Failure::Stopped,
];

/// Kinds of system errors that have a text of their own or come from a connection.
const KINDS: [ErrorKind; 12] = [
    ErrorKind::AddrInUse,
    ErrorKind::AddrNotAvailable,
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionAborted,
    ErrorKind::ConnectionReset,
    ErrorKind::HostUnreachable,
    ErrorKind::NetworkDown,
    ErrorKind::NetworkUnreachable,
    ErrorKind::NotConnected,
    ErrorKind::NotFound,
    ErrorKind::PermissionDenied,
    ErrorKind::TimedOut,
];

/// The largest error number of Linux (errno(3)).
const MAX_ERRNO: i32 = 133;

/// Text of the cause with this name in a results file; the same text in every report.
pub(crate) fn cause_in_words(name: &str, is_datagram: bool) -> String {
    match (Failure::named(name), name) {
        (_, "refused") if is_datagram => "refused: nothing listens there".to_owned(),
        (Some(failure), _) => failure.to_string(),
        (None, "lost") => "lost: no reply within the reply timeout".to_owned(),
        (None, _) => match name.strip_prefix("receive_").and_then(Failure::named) {
            Some(failure) => format!("not received: {failure}"),
            None => name.replace('_', " "),
        },
    }
}

impl Failure {
    /// Failure with this [name](Failure::name).
    fn named(name: &str) -> Option<Self> {
        let alert = name.strip_prefix("tls_alert_").and_then(|number| number.parse().ok()).map(TlsFault::Alert);
        let all = NAMED.into_iter().chain(TlsFault::ALL.into_iter().chain(alert).map(Self::Tls));
        let all = all.chain(KINDS.into_iter().map(Self::System));
        let errno = |number: &i32| errno_name(*number).to_lowercase() == name;
        all.into_iter().find(|failure| failure.name() == name).or_else(|| (1..=MAX_ERRNO).find(errno).map(Self::Errno))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => out.write_str("connection refused: nothing listens there"),
            Self::ConnectTimeout => out.write_str("timed out connecting"),
            Self::HandshakeTimeout => out.write_str("timed out in the TLS handshake"),
            Self::Tls(fault) => write!(out, "TLS: {fault}"),
            Self::Truncated => out.write_str("truncated by peer: the connection ended without close_notify"),
            Self::ReplyTimeout => out.write_str("timed out waiting for a reply"),
            Self::SendTimeout => out.write_str("timed out sending: the server accepts no bytes"),
            Self::Reset => out.write_str("reset by peer"),
            Self::ClosedEarly => out.write_str("closed early by peer"),
            Self::Mismatch => out.write_str("echo mismatch"),
            Self::WrongAnswer => out.write_str("wrong answer"),
            Self::NotKept => out.write_str(
                "closed by peer before a second reply: use --messages 1 for a server of one message per connection",
            ),
            Self::BadFrame => out.write_str("a reply violates the framing"),
            Self::CutFrame => out.write_str("closed by peer in the middle of a reply"),
            Self::OwnEnd => out.write_str("the input could not be read, or the output could not be written"),
            Self::Unsendable => out.write_str("a line of the input was not sent, because the framing cannot carry it"),
            Self::OutOfPorts => out.write_str(
                "out of ports: no local port is free for this target; widen net.ipv4.ip_local_port_range, or connect from more \
                 addresses (--source)",
            ),
            Self::NeedsBroadcast => out.write_str("permission denied (a broadcast address needs --broadcast)"),
            Self::NoGroupRoute => out.write_str(
                "the network cannot be reached: name the interface of the group, such as --multicast-interface eth0",
            ),
            Self::OutOfDescriptors => out.write_str("too many open files: raise the limit on descriptors (ulimit -n)"),
            Self::Stopped => out.write_str("interrupted"),
            Self::System(kind) => out.write_str(&in_words(&(*kind).into())),
            Self::Errno(errno) => out.write_str(&in_words_with_errno(&io::Error::from_raw_os_error(*errno))),
        }
    }
}
