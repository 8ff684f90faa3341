//! A connected byte stream, TCP or Unix, with or without TLS on it.

use super::tcp_info::{Delivery, delivery};
use super::tls::TlsStream;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use rustix::io::Errno;
use socket2::SockRef;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

/// What the pump needs of a stream. All calls return at once; `WouldBlock` says that nothing can be done for now.
pub trait Transport {
    /// Reads into `room` as read(2) does; 0 is the end of the input.
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize>;

    /// Writes as much of `bytes` as the stream takes.
    ///
    /// # Errors
    ///
    /// Those of send(2).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Shuts the sending half: the peer reads the end after everything sent before.
    ///
    /// # Errors
    ///
    /// Those of shutdown(2).
    fn shut_sending(&mut self) -> io::Result<()>;

    /// Whether a read that gave `received` of `offered` bytes shows that nothing more is there for now. True of
    /// kernel sockets when it was short (epoll(7), question 9), unless an event hinted at an end or at urgent data; not
    /// of a layer that holds bytes of its own.
    fn drained_by(&self, offered: usize, received: usize) -> bool {
        received < offered
    }

    /// Whether a handshake has to be completed before bytes can be exchanged. Reads carry it on, and `WouldBlock` until it is
    /// complete; nothing may be written before.
    #[inline]
    fn is_handshaking(&self) -> bool {
        false
    }

    /// The parameters agreed on in the handshake, for logs.
    fn negotiated(&self) -> &dyn fmt::Display {
        &"no handshake"
    }

    /// Whether the layer holds bytes that the socket has not taken yet.
    #[inline]
    fn holds_unsent(&self) -> bool {
        false
    }

    /// Offers the socket what the layer holds. Returns how much it took, in bytes; when that was not all, it takes no more for
    /// now.
    ///
    /// # Errors
    ///
    /// Those of send(2).
    fn flush(&mut self) -> io::Result<usize> {
        Ok(0)
    }

    /// How much memory the layer holds on behalf of the peer, in bytes; nothing for a kernel socket.
    #[inline]
    fn held_bytes(&self) -> usize {
        0
    }

    /// What the peer's system has acknowledged of the bytes that the socket took; none where that is not known.
    fn delivery(&self) -> Option<Delivery> {
        None
    }

    /// Whether the sending half must be shut even for a peer that has shut its own: not of kernel sockets, where closing says
    /// the same.
    #[inline]
    fn needs_close_notify(&self) -> bool {
        false
    }
}

/// A connected, non-blocking stream socket.
#[derive(Debug)]
pub enum Stream {
    /// Over IPv4 or IPv6.
    Tcp(TcpStream),
    /// Over a Unix domain socket.
    Unix(UnixStream),
    /// With TLS, over one of the others.
    Tls(Box<TlsStream>),
}

impl Transport for Stream {
    #[inline]
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(room),
            Self::Unix(stream) => stream.read(room),
            Self::Tls(stream) => return stream.read(room),
        }
        .map_err(with_kind)
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => return stream.write(bytes),
        }
        .map_err(with_kind)
    }

    fn shut_sending(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tls(stream) => stream.shut_sending(),
        }
    }

    #[inline]
    fn drained_by(&self, offered: usize, received: usize) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => received < offered,
            Self::Tls(stream) => stream.drained_by(offered, received),
        }
    }

    #[inline]
    fn is_handshaking(&self) -> bool {
        self.tls().is_some_and(Transport::is_handshaking)
    }

    fn negotiated(&self) -> &dyn fmt::Display {
        self.tls().map_or(&"no handshake", |stream| stream)
    }

    #[inline]
    fn holds_unsent(&self) -> bool {
        self.tls().is_some_and(Transport::holds_unsent)
    }

    fn flush(&mut self) -> io::Result<usize> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(0),
            Self::Tls(stream) => stream.flush(),
        }
    }

    #[inline]
    fn held_bytes(&self) -> usize {
        self.tls().map_or(0, Transport::held_bytes)
    }

    fn delivery(&self) -> Option<Delivery> {
        match self {
            Self::Tcp(stream) => delivery(stream),
            Self::Unix(_) => None,
            Self::Tls(stream) => stream.socket().delivery(),
        }
    }

    fn needs_close_notify(&self) -> bool {
        self.tls().is_some_and(Transport::needs_close_notify)
    }
}

/// Std knows no kind for `ENOBUFS` (recv(2), send(2)), which is the kernel's memory at its end.
#[cold]
fn with_kind(error: io::Error) -> io::Error {
    let is_out_of_buffers = error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error());
    if is_out_of_buffers { ErrorKind::OutOfMemory.into() } else { error }
}

impl Stream {
    /// What a loop registers.
    pub fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
            Self::Tls(stream) => stream.socket_mut().source(),
        }
    }

    /// Makes closing it a reset, which throws away what the peer has not been sent yet: the peer must not take a reply that was
    /// cut for a whole one (socket(7), `SO_LINGER`). Unix sockets know no reset: there the peer reads the end of input.
    pub fn reset_on_close(&self) {
        match self {
            Self::Tcp(stream) => {
                // Without it the peer reads the end of input, and nothing worse.
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
            Self::Unix(_) => {}
            Self::Tls(stream) => stream.socket().reset_on_close(),
        }
    }

    /// The TLS on it, if there is any.
    #[inline]
    #[must_use]
    pub fn tls(&self) -> Option<&TlsStream> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            Self::Tls(stream) => Some(stream),
        }
    }

    /// Writes as much of `slices` as the socket takes, in one call (writev(2)). Of TLS it takes the first one only.
    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Unix(stream) => stream.write_vectored(slices),
            Self::Tls(stream) => return stream.write(slices.first().map_or(&[], |slice| slice)),
        }
        .map_err(with_kind)
    }
}
