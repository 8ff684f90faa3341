//! A listening socket (TCP, Unix).

use super::{Address, Stream};
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

/// A listening, non-blocking socket.
#[derive(Debug)]
pub enum Listener {
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
        match self {
            Self::Tcp(listener) => {
                listener.accept().map(|(stream, peer)| (Stream::Tcp(stream), Address::Ip(peer).canonical()))
            }
            // The name of a Unix peer, if it has one, is of no use to an operator.
            Self::Unix(listener) => {
                listener.accept().map(|(stream, _)| (Stream::Unix(stream), Address::Unix(PathBuf::new())))
            }
        }
    }

    /// A duplicate of the listener with the same socket and queue.
    ///
    /// # Errors
    ///
    /// Those of dup(2).
    pub fn try_clone(&self) -> io::Result<Self> {
        let copy = self.as_fd().try_clone_to_owned()?;
        Ok(match self {
            Self::Tcp(_) => Self::Tcp(TcpListener::from_std(copy.into())),
            Self::Unix(_) => Self::Unix(UnixListener::from_std(copy.into())),
        })
    }

    /// The address of the socket; an empty path for an unnamed Unix socket.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_address(&self) -> io::Result<Address> {
        Ok(match self {
            Self::Tcp(listener) => Address::Ip(listener.local_addr()?),
            Self::Unix(listener) => {
                Address::Unix(listener.local_addr()?.as_pathname().map_or_else(PathBuf::new, Into::into))
            }
        })
    }

    /// The event source to register with the event loop.
    pub fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) => listener,
            Self::Unix(listener) => listener,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}
