//! A connected byte stream, TCP or Unix.

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use rustix::io::Errno;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

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
}

/// A connected, non-blocking stream socket.
#[derive(Debug)]
pub enum Stream {
    /// Over IPv4 or IPv6.
    Tcp(TcpStream),
    /// Over a Unix domain socket.
    Unix(UnixStream),
}

impl Transport for Stream {
    #[inline]
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(room),
            Self::Unix(stream) => stream.read(room),
        }
        .map_err(with_kind)
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
        .map_err(with_kind)
    }

    fn shut_sending(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
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
        }
    }
}
