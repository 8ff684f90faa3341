//! A listening socket of the simulated kernel.

use super::{Address, Stream};
use crate::simulated_kernel::SimulatedListener;
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// A listening, non-blocking socket. Real ones compile, and are never polled.
#[derive(Debug)]
pub enum Listener {
    /// Of the simulated kernel.
    Simulated(SimulatedListener),
    /// On an IPv4 or IPv6 address.
    Tcp(TcpListener),
    /// On a Unix domain socket.
    Unix(UnixListener),
}

impl Listener {
    /// Accepts the oldest pending connection.
    ///
    /// # Errors
    ///
    /// Those of accept(2).
    pub fn accept(&self) -> io::Result<(Stream, Address)> {
        let Self::Simulated(listener) = self else { real() };
        listener.accept().map(|(stream, peer)| (Stream::Simulated(stream), Address::Ip(peer)))
    }

    /// A duplicate of the listener with the same socket and queue.
    ///
    /// # Errors
    ///
    /// Those of dup(2).
    #[allow(clippy::unnecessary_wraps, reason = "as for real sockets")]
    pub fn try_clone(&self) -> io::Result<Self> {
        let Self::Simulated(listener) = self else { real() };
        Ok(Self::Simulated(listener.duplicate()))
    }

    /// The address of the socket.
    ///
    /// # Errors
    ///
    /// None.
    #[allow(clippy::unnecessary_wraps, reason = "as for real sockets")]
    pub fn local_address(&self) -> io::Result<Address> {
        let Self::Simulated(listener) = self else { real() };
        Ok(Address::Ip(listener.address()))
    }

    /// The event source to register with the event loop.
    pub fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Simulated(listener) => listener,
            Self::Tcp(listener) => listener,
            Self::Unix(listener) => listener,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Simulated(_) => unreachable!("a simulated listener has no descriptor"),
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

fn real() -> ! {
    unreachable!("a real socket in a simulation")
}
