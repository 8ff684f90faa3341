//! Causes of failed connections, as reports and results count them.

use crate::connection::CloseReason;
use crate::error::{cause_in_words, errno_name, has_words, in_words, in_words_with_errno, kind_name};
use crate::socket::TlsFault;
use rustix::io::Errno;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, ErrorKind};

/// Why a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Failure {
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
    WrongReply,
    /// The peer closed instead of sending a second reply.
    ClosedAfterReply,
    /// A reply violates the framing.
    BadFrame,
    /// The peer closed in the middle of a reply.
    IncompleteFrame,
    /// Interactive mode: the input could not be read, or the output could not be written.
    LocalIo,
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
    /// The connection was not open at the start of the load.
    NotOpenAtStart,
    /// The run was stopped first.
    Stopped,
    /// Another system error.
    System(ErrorKind),
    /// A system error whose [`ErrorKind`] has no text, by its number (errno(3)). Each connection holds a failure, and two
    /// bytes keep it small.
    Errno(u16),
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
            Some(errno) if !has_words(error.kind()) => Self::Errno(errno.raw_os_error().try_into().unwrap_or(0)),
            _ => Self::System(error.kind()),
        }
    }

    /// Stable name for scripts, such as `connect_timeout`: the key in results.
    pub(super) fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Tls(fault) => return Cow::Owned(format!("tls_{}", fault.name())),
            Self::Truncated => "truncated",
            Self::ReplyTimeout => "reply_timeout",
            Self::SendTimeout => "send_timeout",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed_early",
            Self::Mismatch => "mismatch",
            Self::WrongReply => "wrong_reply",
            Self::ClosedAfterReply => "closed_after_reply",
            Self::BadFrame => "bad_frame",
            Self::IncompleteFrame => "incomplete_frame",
            Self::LocalIo => "local_io",
            Self::Unsendable => "unsendable",
            Self::OutOfPorts => "out_of_ports",
            Self::NeedsBroadcast => "needs_broadcast",
            Self::NoGroupRoute => "no_group_route",
            Self::OutOfDescriptors => "out_of_descriptors",
            Self::NotOpenAtStart => "not_open_at_start",
            Self::Stopped => "stopped",
            Self::System(kind) => kind_name(kind),
            Self::Errno(errno) => return Cow::Owned(errno_name(errno.into()).to_lowercase()),
        })
    }

    /// Whether it is a wrong reply to a message.
    pub(super) fn is_wrong_reply(self) -> bool {
        matches!(self, Self::Mismatch | Self::WrongReply | Self::BadFrame | Self::IncompleteFrame)
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
            Self::Errno(errno) => out.write_str(&in_words_with_errno(&io::Error::from_raw_os_error((*errno).into()))),
            _ => out.write_str(&cause_in_words(&self.name())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use crate::error::cause_in_words;
    use crate::socket::TlsFault;
    use std::io::ErrorKind;

    /// A variant without a text would show its name.
    #[test]
    fn every_failure_has_a_text() {
        use {Failure as F, TlsFault as T};
        for failure in [
            F::Refused,
            F::ConnectTimeout,
            F::HandshakeTimeout,
            F::Truncated,
            F::ReplyTimeout,
            F::SendTimeout,
            F::Reset,
            F::ClosedEarly,
            F::Mismatch,
            F::ClosedAfterReply,
            F::BadFrame,
            F::IncompleteFrame,
            F::LocalIo,
            F::Unsendable,
            F::OutOfPorts,
            F::NeedsBroadcast,
            F::NoGroupRoute,
            F::OutOfDescriptors,
            F::NotOpenAtStart,
            F::Stopped,
        ] {
            assert_ne!(failure.to_string(), failure.name().replace('_', " "));
        }
        for fault in [
            T::PlainText,
            T::Http,
            T::Echoed,
            T::ClosedEarly,
            T::UnknownIssuer,
            T::UnknownClientIssuer,
            T::Expired,
            T::NotYetValid,
            T::WrongName,
            T::NoNames,
            T::BadSignature,
            T::BadCertificate,
            T::NoCertificate,
            T::Incompatible,
            T::NoProtocol,
            T::Alert(1),
            T::Corrupted,
            T::ProtocolViolation,
            T::TooLarge,
            T::Internal,
        ] {
            assert!(fault.to_string().contains(' '), "{fault}");
            assert_eq!(Failure::Tls(fault).to_string(), cause_in_words(&Failure::Tls(fault).name()));
        }
    }

    #[test]
    fn failures_have_stable_names() {
        for (failure, name) in [
            (Failure::Refused, "refused"),
            (Failure::ReplyTimeout, "reply_timeout"),
            (Failure::OutOfDescriptors, "out_of_descriptors"),
            (Failure::Tls(TlsFault::UnknownIssuer), "tls_unknown_issuer"),
            (Failure::Tls(TlsFault::Alert(40)), "tls_alert_40"),
            (Failure::System(ErrorKind::HostUnreachable), "host_unreachable"),
            (Failure::Errno(u16::try_from(rustix::io::Errno::NOSYS.raw_os_error()).expect("it is small")), "enosys"),
        ] {
            assert_eq!(failure.name(), name);
            assert_eq!(cause_in_words(name), failure.to_string());
        }
    }
}
