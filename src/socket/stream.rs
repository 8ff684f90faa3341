//! Connected byte streams: TCP, Unix, or TLS over one of them.
//!
//! On Linux, `read` and `write` are plain system calls. Those of the C library are cancellation points, which cost a part of
//! the instructions of a small message (pthreads(7)).

use super::byte_stream::ByteStream;
use super::sys;
use super::tcp_info::Delivery;
use super::tls::TlsLayer;
use super::{Address, TlsFacts};
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, send};
use socket2::SockRef;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// TLS over a socket.
pub type TlsStream = TlsLayer<Stream>;

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

impl ByteStream for Stream {
    #[inline(always)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let received = match self {
            Self::Tcp(stream) => recv(stream, buf, RecvFlags::empty()),
            Self::Unix(stream) => recv(stream, buf, RecvFlags::empty()),
            Self::Tls(stream) => return stream.read(buf),
        };
        received.map(|(count, _)| count).map_err(with_kind)
    }

    #[inline(always)]
    fn read_with_arrival(&mut self, buf: &mut [u8]) -> io::Result<(usize, Option<Duration>)> {
        match self {
            Self::Tcp(stream) => sys::receive_with_arrival(stream, buf).map_err(with_kind),
            Self::Unix(_) | Self::Tls(_) => Ok((self.read(buf)?, None)),
        }
    }

    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => send(stream, bytes, sys::SEND_FLAGS),
            Self::Unix(stream) => send(stream, bytes, sys::SEND_FLAGS),
            Self::Tls(stream) => return stream.write(bytes),
        }
        .map_err(with_kind)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Unix(stream) => stream.write_vectored(slices),
            Self::Tls(stream) => return stream.write_vectored(slices),
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
        self.tls().is_some_and(ByteStream::is_handshaking)
    }

    fn negotiated(&self) -> &dyn fmt::Display {
        self.tls().map_or(&"no handshake", |stream| stream)
    }

    #[inline]
    fn holds_unsent(&self) -> bool {
        self.tls().is_some_and(ByteStream::holds_unsent)
    }

    fn flush(&mut self) -> io::Result<usize> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(0),
            Self::Tls(stream) => stream.flush(),
        }
    }

    #[inline]
    fn held_bytes(&self) -> usize {
        self.tls().map_or(0, ByteStream::held_bytes)
    }

    fn delivery(&self) -> Option<Delivery> {
        match self {
            Self::Tcp(stream) => sys::delivery(stream),
            Self::Unix(_) => None,
            Self::Tls(stream) => stream.socket().delivery(),
        }
    }

    fn local_address(&self) -> Option<Address> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().map(|address| Address::Ip(address).canonical()),
            Self::Unix(stream) => {
                let address = stream.local_addr().ok()?;
                Some(Address::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned()))
            }
            Self::Tls(stream) => stream.socket().local_address(),
        }
    }

    fn tls_facts(&self) -> Option<TlsFacts<'_>> {
        self.tls().and_then(ByteStream::tls_facts)
    }

    fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::Tcp(stream) => stream.take_error().ok().flatten(),
            Self::Unix(stream) => stream.take_error().ok().flatten(),
            Self::Tls(stream) => stream.socket().take_error(),
        }
    }

    fn needs_close_notify(&self) -> bool {
        self.tls().is_some_and(ByteStream::needs_close_notify)
    }
}

/// Std has no [`ErrorKind`] for `ENOBUFS` (recv(2), send(2)), which means that the kernel is out of memory.
#[cold]
fn with_kind(error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    let is_out_of_buffers = error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error());
    if is_out_of_buffers { ErrorKind::OutOfMemory.into() } else { error }
}

impl Stream {
    /// The event source to register with the event loop.
    pub fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
            Self::Tls(stream) => stream.socket_mut().source(),
        }
    }

    /// Receives with `flags`, from the socket below a TLS layer (recv(2)).
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    pub fn receive_below_tls(&self, buf: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
        match self {
            Self::Tcp(stream) => recv(stream, buf, flags).map(|(count, _)| count),
            Self::Unix(stream) => recv(stream, buf, flags).map(|(count, _)| count),
            Self::Tls(stream) => stream.socket().receive_below_tls(buf, flags),
        }
    }

    /// The addresses of the two ends of the socket, its own first. Those of a Unix socket are empty.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2) and getpeername(2).
    pub fn end_addresses(&self) -> io::Result<[Address; 2]> {
        match self {
            Self::Tcp(stream) => Ok([Address::Ip(stream.local_addr()?), Address::Ip(stream.peer_addr()?)]),
            Self::Unix(_) => Ok([(); 2].map(|()| Address::Unix(PathBuf::new()))),
            Self::Tls(stream) => stream.socket().end_addresses(),
        }
    }

    /// Makes reads of a TCP connection without TLS return arrival times, where the system reports them; see
    /// [`read_with_arrival`](ByteStream::read_with_arrival).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn report_arrivals(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => sys::report_arrivals(stream),
            Self::Unix(_) | Self::Tls(_) => Ok(()),
        }
    }

    /// Makes close send a reset, which discards unsent output: the peer must not take a truncated reply for a complete
    /// one (socket(7), `SO_LINGER`). Unix sockets have no reset: there the peer reads end of input.
    pub fn reset_on_close(&self) {
        match self {
            Self::Tcp(stream) => {
                // If this fails, the peer reads end of input instead of a reset.
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
            Self::Unix(_) => {}
            Self::Tls(stream) => stream.socket().reset_on_close(),
        }
    }

    /// The TLS layer, if there is one.
    #[inline]
    #[must_use]
    pub fn tls(&self) -> Option<&TlsStream> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            Self::Tls(stream) => Some(stream),
        }
    }
}
