//! Listening sockets: one per worker, or one that the workers share.

use super::fd_passing::BoundPlace;
use super::options::GrantedOptions;
use super::unix_path::{PathGuard, clear_path};
use super::{Address, Endpoint, SocketOptions, Stream};
use crate::error::{Error, in_words};
use crate::escape;
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How often another free port is tried when the one the system chose for the first address is taken on the next.
const PORT_ATTEMPTS: usize = 16;

/// A listening, non-blocking socket.
#[derive(Debug)]
pub enum Listener {
    /// On an IPv4 or IPv6 address.
    Tcp(TcpListener),
    /// On a Unix domain socket.
    Unix(UnixListener),
}

impl Listener {
    /// Takes the connection that has waited longest.
    ///
    /// # Errors
    ///
    /// Those of accept(2).
    pub fn accept(&self) -> io::Result<(Stream, Address)> {
        match self {
            Self::Tcp(listener) => {
                listener.accept().map(|(stream, peer)| (Stream::Tcp(stream), Address::Ip(peer).canonical()))
            }
            // A peer's own name, if it has one, tells an operator nothing.
            Self::Unix(listener) => {
                listener.accept().map(|(stream, _)| (Stream::Unix(stream), Address::Unix(PathBuf::new())))
            }
        }
    }

    /// Another listener of the same socket and the same queue.
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

    /// The address of the socket; of a Unix socket that has no path, an empty one.
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

    /// What a loop registers.
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

/// One address that is listened on.
#[derive(Debug)]
pub struct BoundListener {
    /// The address as the system granted it (with the port it chose where port 0 was asked for), and whose it is.
    pub place: BoundPlace,
    /// A listener for each worker, or more. On TCP each has a queue of its own (`SO_REUSEPORT`); on a Unix socket they
    /// share one.
    pub listeners: Vec<Listener>,
    /// Removes the name of a Unix socket at the end.
    path: Option<PathGuard>,
}

impl BoundListener {
    pub(super) fn new(address: Address, name: String, listeners: Vec<Listener>, path: Option<PathGuard>) -> Self {
        Self { place: BoundPlace { address, name, owns_path: path.is_some(), is_datagram: false }, listeners, path }
    }

    /// Says whether the path of a Unix socket, if this is one, is to be removed at the end: yes for one that was bound
    /// here, no for a predecessor's, as long as nothing else is said.
    pub fn set_path_ours(&mut self, ours: bool) {
        if let Some(path) = &mut self.path {
            path.set_ours(ours);
        }
    }
}

/// Listens on every address that `endpoint` stands for, with one listener for each of `workers`.
///
/// An address that this machine does not have (IPv6 switched off, for example) is left out with a warning, as long as
/// another one remains.
///
/// # Errors
///
/// [`Error::Resolve`] when the host is unknown, [`Error::Listen`] when the system refuses, [`Error::Usage`] for a path
/// that can never be bound.
pub fn bind(endpoint: &Endpoint, options: &SocketOptions, workers: usize) -> Result<Vec<BoundListener>, Error> {
    let mut addresses = Vec::new();
    for address in endpoint.resolve()? {
        match address {
            Address::Unix(path) => return Ok(vec![bind_unix(&path, options, workers)?]),
            Address::Ip(address) => addresses.push(address),
        }
    }
    let chooses_port = addresses.len() > 1 && addresses[0].port() == 0;
    let mut attempts = if chooses_port { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match bind_addresses(&addresses, options, workers) {
            Ok(bound) => return Ok(bound),
            Err((_, error)) if error.kind() == ErrorKind::AddrInUse && attempts > 0 => {}
            Err((address, error)) => return Err(listen_error(&Address::Ip(address), &error)),
        }
    }
}

/// Binds all of `addresses`, on the same port where the system chooses one.
fn bind_addresses(
    addresses: &[SocketAddr],
    options: &SocketOptions,
    workers: usize,
) -> Result<Vec<BoundListener>, (SocketAddr, io::Error)> {
    let mut bound: Vec<BoundListener> = Vec::new();
    let mut missing = None;
    for &wanted in addresses {
        let mut address = wanted;
        if let Some(port) = bound.first().and_then(|first| first.place.address.port()) {
            address.set_port(port);
        }
        match bind_tcp(address, options, workers) {
            Ok(listeners) => bound.push(listeners),
            Err(error) if is_missing(&error) => missing = Some((address, error)),
            Err(error) => return Err((address, error)),
        }
    }
    match missing {
        Some(missing) if bound.is_empty() => return Err(missing),
        Some((address, error)) => log::warn!("not listening on {address}: {}", in_words(&error)),
        None => {}
    }
    Ok(bound)
}

/// Whether the machine simply does not have such an address.
pub(super) fn is_missing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

fn bind_tcp(address: SocketAddr, options: &SocketOptions, workers: usize) -> io::Result<BoundListener> {
    // Alone first: two programs that both set SO_REUSEPORT would silently share a port that is in use.
    let alone = match open_tcp(address, false) {
        // Without IPv6, every interface is every IPv4 interface.
        Err(error) if is_missing(&error) && address.ip() == Ipv6Addr::UNSPECIFIED => {
            open_tcp((Ipv4Addr::UNSPECIFIED, address.port()).into(), false)?
        }
        result => result?,
    };
    let mut granted = local_address(&alone)?;
    let mut sockets = vec![alone];
    if workers > 1 {
        sockets.clear();
        granted.set_port(address.port());
        for _ in 0..workers {
            let socket = open_tcp(granted, true)?;
            granted = local_address(&socket)?;
            sockets.push(socket);
        }
    }
    let mut listeners = Vec::with_capacity(workers);
    for socket in sockets {
        listen(&socket, options)?;
        if listeners.is_empty() {
            log::debug!("Options of {granted}: {}", GrantedOptions::of(&socket)?);
        }
        listeners.push(Listener::Tcp(TcpListener::from_std(OwnedFd::from(socket).into())));
    }
    Ok(BoundListener::new(Address::Ip(granted), String::new(), listeners, None))
}

/// Sets the options and listens; on a socket that listens already it changes the backlog.
pub(super) fn listen(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    options.apply(socket, socket.domain()?)?;
    socket.listen(options.backlog.try_into().unwrap_or(i32::MAX))
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| ErrorKind::Unsupported.into())
}

/// A TCP socket bound to `address`, not listening yet.
fn open_tcp(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    if address.is_ipv6() {
        // The unspecified address serves IPv4 as well; any other IPv6 address only itself.
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path, options: &SocketOptions, workers: usize) -> Result<BoundListener, Error> {
    clear_path(path)?;
    let address = Address::Unix(path.to_owned());
    let open = || -> io::Result<(PathGuard, Vec<Listener>)> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let guard = PathGuard::new(path);
        listen(&socket, options)?;
        log::debug!("Options of {}: {}", escape::path(path), GrantedOptions::of(&socket)?);
        let share = |_| Ok(Listener::Unix(UnixListener::from_std(OwnedFd::from(socket.try_clone()?).into())));
        Ok((guard, (0..workers).map(share).collect::<io::Result<_>>()?))
    };
    match open() {
        Ok((guard, listeners)) => Ok(BoundListener::new(address, String::new(), listeners, Some(guard))),
        Err(error) => Err(listen_error(&address, &error)),
    }
}

pub(super) fn listen_error(address: &Address, error: &io::Error) -> Error {
    let way_out = match (error.kind(), address) {
        (ErrorKind::AddrInUse, Address::Ip(_)) => {
            "; stop the program that listens there, or choose another port (0 takes a free one)"
        }
        (ErrorKind::AddrNotAvailable, _) => "; give an address of this machine, or \"\" for every interface",
        (ErrorKind::PermissionDenied, Address::Ip(_)) => {
            "; ports below 1024 need the right to bind them (CAP_NET_BIND_SERVICE): choose one from 1024 up"
        }
        (ErrorKind::PermissionDenied, Address::Unix(_)) => "; choose a folder in which you may create files",
        (ErrorKind::NotFound, Address::Unix(_)) => "; the folder of the path must exist",
        _ => "",
    };
    Error::Listen { address: address.to_string(), reason: format!("{}{way_out}", in_words(error)) }
}
