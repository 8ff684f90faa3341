//! Binding of listening sockets (TCP, Unix): one per worker, or one shared by all workers.

use super::fd_passing::BoundEndpoint;
use super::options::GrantedOptions;
use super::unix_path::{PathGuard, clear_path};
use super::{Address, Endpoint, Listener, SocketOptions, sys};
use crate::error::{Error, in_words};
use crate::escape;
use mio::net::{TcpListener, UnixListener};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

/// How many free ports are tried when the port that the system chose for the first address is in use on another one.
const PORT_ATTEMPTS: usize = 16;

/// The listeners of one address.
#[derive(Debug)]
pub struct BoundListener {
    /// The address as the system granted it (with the chosen port where port 0 was asked for), and the endpoint it
    /// belongs to.
    pub endpoint: BoundEndpoint,
    /// One listener per worker, or more. On TCP each has its own queue (`SO_REUSEPORT`), where the system distributes
    /// connections over them; elsewhere, and on a Unix socket, they share one queue.
    pub listeners: Vec<Listener>,
    /// Removes the path of a Unix socket when dropped.
    path: Option<PathGuard>,
}

impl BoundListener {
    pub(super) fn new(address: Address, name: String, listeners: Vec<Listener>, path: Option<PathGuard>) -> Self {
        Self {
            endpoint: BoundEndpoint { address, name, owns_path: path.is_some(), is_datagram: false },
            listeners,
            path,
        }
    }

    /// Gives every worker a listener: workers share a socket when there are too few. A further `SO_REUSEPORT` socket
    /// would change which queue incoming connections are assigned to.
    pub(super) fn share_among(&mut self, workers: usize) -> io::Result<()> {
        for index in 0..workers.saturating_sub(self.listeners.len()) {
            self.listeners.push(self.listeners[index].try_clone()?);
        }
        Ok(())
    }

    /// Sets whether the path of a Unix socket is removed at the end. The default is true for a socket bound by this
    /// process, and false for an inherited one.
    pub fn set_owns_path(&mut self, owns_path: bool) {
        if let Some(path) = &mut self.path {
            path.set_owns_path(owns_path);
        }
    }
}

/// Listens on every address of `endpoint`, with one listener for each of `workers`.
///
/// An address that this machine does not have (for example with IPv6 disabled) is skipped with a warning, as long as
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
            Err((address, error)) => return Err(listen_error(&Address::Ip(address), error)),
        }
    }
}

/// Binds all of `addresses`, all to the same port when the system chooses it.
fn bind_addresses(
    addresses: &[SocketAddr],
    options: &SocketOptions,
    workers: usize,
) -> Result<Vec<BoundListener>, (SocketAddr, io::Error)> {
    let mut bound: Vec<BoundListener> = Vec::new();
    let mut missing = None;
    for &wanted in addresses {
        let mut address = wanted;
        if let Some(port) = bound.first().and_then(|first| first.endpoint.address.port()) {
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

/// Whether the error means that the machine does not have the address.
pub(super) fn is_missing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

fn bind_tcp(address: SocketAddr, options: &SocketOptions, workers: usize) -> io::Result<BoundListener> {
    // Exclusively first: two programs that both set SO_REUSEPORT would silently share a port that is in use.
    let alone = match open_tcp(address, false) {
        // Without IPv6, fall back to the unspecified IPv4 address.
        Err(error) if is_missing(&error) && address.ip() == Ipv6Addr::UNSPECIFIED => {
            open_tcp((Ipv4Addr::UNSPECIFIED, address.port()).into(), false)?
        }
        result => result?,
    };
    let mut granted = local_address(&alone)?;
    let mut sockets = vec![alone];
    if workers > 1 && sys::REUSE_PORT_BALANCES {
        sockets.clear();
        granted.set_port(address.port());
        for _ in 0..workers {
            let socket = open_tcp(granted, true)?;
            granted = local_address(&socket)?;
            sockets.push(socket);
        }
    }
    sockets.iter().try_for_each(|socket| listen(socket, options))?;
    log::debug!("options of {granted}: {}", GrantedOptions::of(&sockets[0])?);
    let listener = |socket| Listener::Tcp(TcpListener::from_std(OwnedFd::from(socket).into()));
    let listeners = sockets.into_iter().map(listener).collect();
    let mut bound = BoundListener::new(Address::Ip(granted), String::new(), listeners, None);
    bound.share_among(workers)?;
    Ok(bound)
}

/// Sets the options and listens. On a socket that already listens it changes the backlog.
pub(super) fn listen(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    options.apply(socket, sys::domain(socket)?)?;
    socket.listen(options.backlog.try_into().unwrap_or(i32::MAX))
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| ErrorKind::Unsupported.into())
}

/// A TCP socket bound to `address`, not listening yet.
fn open_tcp(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = sys::nonblocking(Domain::for_address(address), Type::STREAM)?;
    if address.is_ipv6() {
        // The unspecified address also accepts IPv4; any other IPv6 address does not.
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
    let open = || -> io::Result<BoundListener> {
        let socket = sys::nonblocking(Domain::UNIX, Type::STREAM)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let guard = PathGuard::new(path);
        listen(&socket, options)?;
        log::debug!("options of {}: {}", escape::path(path), GrantedOptions::of(&socket)?);
        let listener = Listener::Unix(UnixListener::from_std(OwnedFd::from(socket).into()));
        let mut bound = BoundListener::new(address.clone(), String::new(), vec![listener], Some(guard));
        bound.share_among(workers)?;
        Ok(bound)
    };
    open().map_err(|error| listen_error(&address, error))
}

pub(super) fn listen_error(address: &Address, source: io::Error) -> Error {
    let way_out = match (source.kind(), address) {
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
    Error::Listen {
        address: address.to_string(),
        reason: format!("{}{way_out}", in_words(&source)),
        source: Some(source),
    }
}
