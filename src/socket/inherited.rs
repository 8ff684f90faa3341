//! Listening sockets inherited from the old process of a handover or from a service manager.
//!
//! They are served like sockets that this process opens. The configured socket options apply to them; their addresses
//! stay as they are.

use super::bind::{bind, listen};
use super::fd_passing::{INHERIT_VARIABLE, InheritedSocket, ParentProcess};
use super::listen_fds::PassedSockets;
use super::options::GrantedOptions;
use super::udp::{BoundDatagrams, Multicast, adopt_datagrams, bind_datagrams, is_datagram};
use super::unix_path::PathGuard;
use super::{Address, BoundListener, Endpoint, Listener, SocketOptions, sys};
use crate::error::Error;
use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// How long the old process may take to send its sockets. It has already collected them, and started this process a
/// moment ago.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The name in errors of a socket that the service manager passes.
const PASSED: &str = "a socket of LISTEN_FDS";

/// Listening sockets that another process opened.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<InheritedSocket>,
    /// Whether the sockets replace all configured endpoints.
    replaces_endpoints: bool,
    parent: Option<ParentProcess>,
}

impl Inherited {
    /// Takes the sockets that the environment announces. These are the sockets of the old process
    /// (`MULTICONN_INHERIT`), or else those of the service manager (`LISTEN_FDS`, sd_listen_fds(3)), which replace all
    /// configured endpoints. Usually there are none. Those of the service manager need the Cargo feature `systemd`.
    ///
    /// Call it once, at the start, before another thread is started.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when the old process does not hand over its sockets. [`Error::Listen`] when a descriptor of
    /// the service manager is neither a stream nor a datagram socket. [`Error::Usage`] when the variables of the
    /// service manager are invalid.
    pub fn from_environment() -> Result<Self, Error> {
        let passed = PassedSockets::from_environment()?;
        if let Ok(mark) = std::env::var(INHERIT_VARIABLE) {
            let action = "take over the listening sockets";
            if let Some(parent) = ParentProcess::find(&mark).map_err(Error::system(action))? {
                let sockets = parent.receive(RECEIVE_TIMEOUT).map_err(Error::system(action))?;
                return Ok(Self::of(sockets, Some(parent)));
            }
        }
        let sockets = passed.take().map_err(|error| not_usable("", error))?;
        let unnamed = |socket| InheritedSocket { socket, name: String::new(), owns_path: false };
        Ok(Self::of(sockets.into_iter().map(unnamed).collect(), None))
    }

    pub(super) fn of(sockets: Vec<InheritedSocket>, parent: Option<ParentProcess>) -> Self {
        let replaces_endpoints = sockets.iter().any(|inherited_socket| inherited_socket.name.is_empty());
        Self { sockets, replaces_endpoints, parent }
    }

    /// The old process, to which readiness is to be reported.
    pub(crate) fn take_parent(&mut self) -> Option<ParentProcess> {
        self.parent.take()
    }

    /// Listens on one more endpoint, on the sockets inherited for it if there are any. Call it before
    /// [`listen`](Self::listen), which refuses inherited sockets that are left over. The `purpose`, one word,
    /// distinguishes endpoints that are written the same, such as two with port 0.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    pub(crate) fn listen_for(
        &mut self,
        purpose: &str,
        endpoint: &Endpoint,
        options: &SocketOptions,
        workers: usize,
    ) -> Result<Vec<BoundListener>, Error> {
        let name = format!("{purpose} {endpoint}");
        let sockets = self.take(&name);
        if !sockets.is_empty() {
            return adopt(sockets, options, workers);
        }
        let mut bound = bind(endpoint, options, workers)?;
        for bound in &mut bound {
            bound.endpoint.name.clone_from(&name);
        }
        Ok(bound)
    }

    /// Listens on all of `endpoints`: on inherited sockets where there are any, on new sockets elsewhere. There is at
    /// least one listener for each of `workers`, and more if more were inherited.
    ///
    /// # Errors
    ///
    /// As [`bind`]; also [`Error::Listen`] when an inherited descriptor is not a listening stream socket, or belongs to
    /// none of the endpoints.
    pub(crate) fn listen(
        mut self,
        endpoints: &[Endpoint],
        options: &SocketOptions,
        workers: usize,
    ) -> Result<Vec<BoundListener>, Error> {
        let instead = self.take("");
        if self.replaces_endpoints {
            return adopt(instead, options, workers);
        }
        let mut bound = Vec::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let before = endpoints[..index].iter().filter(|other| *other == endpoint).count();
            bound.append(&mut self.listen_for(&format!("serve-{before}"), endpoint, options, workers)?);
        }
        match self.sockets.first() {
            // Closing it here would not reset pending connections, but once the old process exits, none would be
            // accepted.
            Some(left) => Err(Error::Listen {
                address: address_in(&left.name).to_owned(),
                reason: "the old process listens there, but this process is not configured to; a handover keeps all \
                         addresses; to drop one, restart the server"
                    .to_owned(),
                source: None,
            }),
            None => Ok(bound),
        }
    }

    /// Opens datagram sockets at `endpoint` and, on its port, for `groups`; uses inherited sockets if there are any.
    /// Call it before [`listen`](Self::listen).
    ///
    /// # Errors
    ///
    /// As [`bind_datagrams`]; also [`Error::Listen`] when an inherited socket cannot be used.
    pub(crate) fn listen_for_datagrams(
        &mut self,
        endpoint: &Endpoint,
        groups: &[IpAddr],
        multicast: &Multicast,
        options: &SocketOptions,
        workers: usize,
    ) -> Result<Vec<BoundDatagrams>, Error> {
        let name = format!("datagrams {endpoint}");
        let is_ours = |inherited_socket: &mut InheritedSocket| {
            is_datagram(inherited_socket.socket.as_fd())
                && (inherited_socket.name.is_empty() || inherited_socket.name == name)
        };
        let sockets: Vec<_> = self.sockets.extract_if(.., is_ours).collect();
        if !sockets.is_empty() || self.replaces_endpoints {
            let sockets = sockets.into_iter().map(|inherited_socket| (inherited_socket.socket, inherited_socket.name));
            return adopt_datagrams(sockets, options).map_err(|error| not_usable(&name, error));
        }
        let mut bound = bind_datagrams(endpoint, groups, multicast, options, workers)?;
        for bound in &mut bound {
            bound.endpoint.name.clone_from(&name);
        }
        Ok(bound)
    }

    fn take(&mut self, name: &str) -> Vec<InheritedSocket> {
        self.sockets.extract_if(.., |inherited_socket| inherited_socket.name == name).collect()
    }
}

/// Groups the sockets of one endpoint by address, and gives every worker at least one.
fn adopt(sockets: Vec<InheritedSocket>, options: &SocketOptions, workers: usize) -> Result<Vec<BoundListener>, Error> {
    let mut bound: Vec<BoundListener> = Vec::new();
    for InheritedSocket { socket, name, owns_path } in sockets {
        let socket = Socket::from(socket);
        let refuse = |error: io::Error| not_usable(&name, error);
        let address = prepare(&socket, options).map_err(refuse)?;
        let listener = wrap(&address, socket);
        if let Some(bound) = bound.iter_mut().find(|bound| bound.endpoint.address == address) {
            bound.listeners.push(listener);
            continue;
        }
        let guard = match &address {
            Address::Unix(path) if owns_path => Some(PathGuard::of_parent(path)),
            _ => None,
        };
        bound.push(BoundListener::new(address, name, vec![listener], guard));
    }
    for bound in &mut bound {
        bound.share_among(workers).map_err(|error| not_usable(&bound.endpoint.name, error))?;
    }
    Ok(bound)
}

/// Checks that `socket` is a listening stream socket, and sets the options. Returns its address.
fn prepare(socket: &Socket, options: &SocketOptions) -> io::Result<Address> {
    let domain = sys::domain(socket)?;
    let is_known = [Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain);
    if !is_known || socket.r#type()? != Type::STREAM || !sys::is_listener(socket)? {
        return Err(io::Error::other("it is not a listening TCP or Unix stream socket (UDP takes datagram sockets)"));
    }
    socket.set_nonblocking(true)?;
    listen(socket, options)?;
    let local = socket.local_addr()?;
    let address = match local.as_socket() {
        Some(address) => Address::Ip(address),
        None => Address::Unix(local.as_pathname().map_or_else(PathBuf::new, Into::into)),
    };
    log::debug!("options of {address}: {}", GrantedOptions::of(socket)?);
    Ok(address)
}

fn wrap(address: &Address, socket: Socket) -> Listener {
    let socket = OwnedFd::from(socket);
    match address {
        Address::Ip(_) => Listener::Tcp(TcpListener::from_std(socket.into())),
        Address::Unix(_) => Listener::Unix(UnixListener::from_std(socket.into())),
    }
}

fn not_usable(name: &str, source: io::Error) -> Error {
    Error::Listen { address: address_in(name).to_owned(), reason: source.to_string(), source: Some(source) }
}

/// The address in the name of a passed socket (`PURPOSE ADDRESS`). Those of the service manager have no name.
fn address_in(name: &str) -> &str {
    name.split_once(' ').map_or(PASSED, |(_purpose, address)| address)
}
