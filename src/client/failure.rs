//! Why a connection failed, as reports and records count it.

use crate::connection::CloseReason;
use crate::error::{has_words, in_words, in_words_with_errno};
use crate::socket::TlsFault;
use rustix::io::Errno;
use std::fmt;
use std::io::{self, ErrorKind};

/// Why a connection did not do what it was opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody listens there.
    Refused,
    /// The connect took longer than the connect timeout, or than the system waits.
    ConnectTimeout,
    /// The TLS handshake was not complete within the connect timeout.
    HandshakeTimeout,
    /// TLS could not be set up, or did not hold.
    Tls(TlsFault),
    /// The input broke off without TLS's farewell: what came may not be all.
    Truncated,
    /// A reply took longer than the reply timeout.
    ReplyTimeout,
    /// The peer accepted no bytes for the reply timeout: the socket's buffer stayed full.
    SendTimeout,
    /// The peer reset the connection.
    Reset,
    /// The peer closed before everything had come back.
    ClosedEarly,
    /// What came back is not what was sent.
    Mismatch,
    /// What came is no answer of the message protocol, or not the right one.
    WrongAnswer,
    /// The peer closed where the second answer should have come.
    NotKept,
    /// An answer is not framed as answers should be.
    BadFrame,
    /// The peer closed in the middle of an answer.
    CutFrame,
    /// What was typed could not be read, or what the server says could not be written.
    OwnEnd,
    /// A line of the input is no message that the framing can carry.
    Unsendable,
    /// No port is left on this side for one more connection to this target.
    OutOfPorts,
    /// The target is the broadcast address of a network, which takes `SO_BROADCAST`.
    NeedsBroadcast,
    /// No route leads to a multicast group, and no interface was named.
    NoGroupRoute,
    /// This process may open no more descriptors.
    OutOfDescriptors,
    /// The run was ended first.
    Stopped,
    /// Another error of the system.
    System(ErrorKind),
    /// An error of the system without a kind of its own, by its number (errno(3)).
    Errno(i32),
}

impl Failure {
    /// The failure behind an error of connect(2).
    pub(super) fn of_connect(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::CONNREFUSED) => Self::Refused,
            Some(Errno::TIMEDOUT) => Self::ConnectTimeout,
            Some(Errno::CONNRESET) => Self::Reset,
            Some(Errno::ADDRNOTAVAIL) => Self::OutOfPorts,
            Some(Errno::MFILE | Errno::NFILE) => Self::OutOfDescriptors,
            // Not from the system, but from our own look at the socket and the clock.
            None if error.kind() == ErrorKind::ConnectionRefused => Self::Refused,
            None if error.kind() == ErrorKind::TimedOut => Self::ConnectTimeout,
            Some(errno) if !has_words(error.kind()) => Self::Errno(errno.raw_os_error()),
            _ => Self::System(error.kind()),
        }
    }

    /// Whether it can be otherwise in a moment: nobody listens there yet, the system there was busy, or no port was free.
    pub(super) fn may_pass(self) -> bool {
        matches!(self, Self::Refused | Self::ConnectTimeout | Self::OutOfPorts | Self::System(ErrorKind::NotFound))
    }

    /// The failure behind the end of a conversation that was not done.
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
            Self::Refused => out.write_str("connection refused: nothing listens there"),
            Self::ConnectTimeout => out.write_str("timed out connecting"),
            Self::HandshakeTimeout => out.write_str("timed out in the TLS handshake"),
            Self::Tls(fault) => write!(out, "TLS: {fault}"),
            Self::Truncated => out.write_str("truncated by peer: the connection ended without close_notify"),
            Self::ReplyTimeout => out.write_str("timed out waiting for a reply"),
            Self::SendTimeout => out.write_str("timed out sending: the server accepts no bytes"),
            Self::Reset => out.write_str("reset by peer"),
            Self::ClosedEarly => out.write_str("closed early by peer"),
            Self::Mismatch => out.write_str("wrong bytes came back"),
            Self::WrongAnswer => out.write_str("wrong answer"),
            Self::NotKept => out.write_str(
                "closed by peer before a second answer: a server of one message per connection takes --messages 1",
            ),
            Self::BadFrame => out.write_str("an answer that is no frame"),
            Self::CutFrame => out.write_str("closed by peer in the middle of an answer"),
            Self::OwnEnd => out.write_str("the input could not be read, or the output not be written"),
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
