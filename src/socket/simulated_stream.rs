//! Connected byte streams of the simulated kernel.

use super::byte_stream::ByteStream;
use super::tcp_info::Delivery;
use super::tls::TlsLayer;
use super::{Address, TlsFacts};
use crate::simulated_kernel::SimulatedStream;
use mio::event::Source;
use mio::net::UnixStream;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};

/// TLS over a socket.
pub type TlsStream = TlsLayer<Stream>;

/// The address of the simulated listener (RFC 5737).
const LISTENER: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 7);

/// A connected, non-blocking stream socket.
#[derive(Debug)]
pub enum Stream {
    /// Of the simulated kernel.
    Simulated(SimulatedStream),
    /// Of the real one. It compiles, and is never polled.
    Unix(UnixStream),
    /// With TLS, over one of the others.
    Tls(Box<TlsStream>),
}

impl ByteStream for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Simulated(stream) => stream.read(buf),
            Self::Unix(_) => real(),
            Self::Tls(stream) => stream.read(buf),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Simulated(stream) => stream.write(bytes),
            Self::Unix(_) => real(),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(slices.first().map_or(&[], |slice| slice))
    }

    fn shut_sending(&mut self) -> io::Result<()> {
        match self {
            Self::Simulated(stream) => stream.shut_sending(),
            Self::Unix(_) => real(),
            Self::Tls(stream) => return stream.shut_sending(),
        }
        Ok(())
    }

    fn drained_by(&self, offered: usize, received: usize) -> bool {
        self.tls().map_or(received < offered, |stream| stream.drained_by(offered, received))
    }

    fn is_handshaking(&self) -> bool {
        self.tls().is_some_and(ByteStream::is_handshaking)
    }

    fn negotiated(&self) -> &dyn fmt::Display {
        self.tls().map_or(&"no handshake", |stream| stream)
    }

    fn holds_unsent(&self) -> bool {
        self.tls().is_some_and(ByteStream::holds_unsent)
    }

    fn flush(&mut self) -> io::Result<usize> {
        if let Self::Tls(stream) = self { stream.flush() } else { Ok(0) }
    }

    fn held_bytes(&self) -> usize {
        self.tls().map_or(0, ByteStream::held_bytes)
    }

    fn delivery(&self) -> Option<Delivery> {
        match self {
            Self::Simulated(stream) => {
                let (acknowledged_bytes, lacks_end) = stream.delivery();
                Some(Delivery { acknowledged_bytes, lacks_end })
            }
            Self::Unix(_) => None,
            Self::Tls(stream) => stream.socket().delivery(),
        }
    }

    fn local_address(&self) -> Option<Address> {
        Some(Address::Ip(SocketAddr::from(LISTENER)))
    }

    fn tls_facts(&self) -> Option<TlsFacts<'_>> {
        self.tls().and_then(ByteStream::tls_facts)
    }

    fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::Simulated(stream) => stream.take_error(),
            Self::Unix(_) => real(),
            Self::Tls(stream) => stream.socket().take_error(),
        }
    }

    fn needs_close_notify(&self) -> bool {
        self.tls().is_some_and(ByteStream::needs_close_notify)
    }
}

impl Stream {
    /// The event source to register with the event loop.
    pub fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Simulated(stream) => stream,
            Self::Unix(stream) => stream,
            Self::Tls(stream) => stream.socket_mut().source(),
        }
    }

    /// Receives from the socket below a TLS layer, or copies what has arrived.
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    pub fn receive_below_tls(&self, buf: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
        let received = match self {
            Self::Simulated(stream) if flags.contains(RecvFlags::PEEK) => stream.peek(buf),
            Self::Simulated(stream) => stream.read(buf),
            Self::Unix(_) => real(),
            Self::Tls(stream) => return stream.socket().receive_below_tls(buf, flags),
        };
        received.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// The addresses of the two ends of the socket, its own first.
    ///
    /// # Errors
    ///
    /// None.
    pub fn end_addresses(&self) -> io::Result<[Address; 2]> {
        match self {
            Self::Simulated(stream) => Ok([LISTENER.into(), stream.peer_address()].map(Address::Ip)),
            Self::Unix(_) => real(),
            Self::Tls(stream) => stream.socket().end_addresses(),
        }
    }

    /// Arrival times are not simulated.
    ///
    /// # Errors
    ///
    /// None.
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as for real streams")]
    pub fn report_arrivals(&self) -> io::Result<()> {
        Ok(())
    }

    /// Makes close send a reset, which discards unsent output.
    pub fn reset_on_close(&self) {
        match self {
            Self::Simulated(stream) => stream.reset_on_close(),
            Self::Unix(_) => {}
            Self::Tls(stream) => stream.socket().reset_on_close(),
        }
    }

    /// The TLS layer, if there is one.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsStream> {
        if let Self::Tls(stream) = self { Some(stream) } else { None }
    }
}

fn real() -> ! {
    unreachable!("a real socket in a simulation")
}
