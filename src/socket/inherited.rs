//! Listening sockets that this process did not open itself: a predecessor's, or those of a service manager.
//!
//! They are served like one's own. The options of the configuration hold for them, too; their addresses are what they are.

use super::descriptors::raise_descriptor_limit;
use super::fd_passing::{INHERIT_VARIABLE, InheritedSocket, ParentProcess};
use super::listener::{bind, listen};
use super::options::GrantedOptions;
use super::udp::{BoundDatagrams, Multicast, adopt_datagrams, bind_datagrams, is_datagram};
use super::unix_path::PathGuard;
use super::{Address, BoundListener, Endpoint, Listener, SocketOptions};
use crate::error::Error;
use crate::units::format_count;
use listenfd::ListenFd;
use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// How long the predecessor may take to send its sockets: it has them at hand, and started this process a moment ago.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first descriptor that a service manager passes (sd_listen_fds(3)).
const FIRST_PASSED: u64 = 3;

/// The most descriptors that a process can have where the system sets no limit: that of Linux (proc_sys_fs(5), nr_open).
const MOST_DESCRIPTORS: u64 = 1 << 20;

/// Listening sockets that were there before this process.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<InheritedSocket>,
    /// Whether they stand in place of all endpoints.
    stands_in: bool,
    parent: Option<ParentProcess>,
}

impl Inherited {
    /// Takes what the environment says that this process inherits: the sockets of a predecessor (`MULTICONN_INHERIT`), or
    /// else those of the service manager (`LISTEN_FDS`, sd_listen_fds(3)), which stand in place of all endpoints. Nothing,
    /// as a rule.
    ///
    /// To be called once, at the start, before there is another thread.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when the predecessor does not hand its sockets over, [`Error::Listen`] when a descriptor of the
    /// service manager is neither a stream socket nor one for datagrams, [`Error::Usage`] when its variables cannot be right.
    pub fn from_environment() -> Result<Self, Error> {
        check_passed()?;
        // It also clears the variables, for whatever this process may start.
        let mut passed = ListenFd::from_env();
        if let Ok(mark) = std::env::var(INHERIT_VARIABLE) {
            let action = "take over the listening sockets";
            if let Some(parent) = ParentProcess::find(&mark).map_err(Error::system(action))? {
                let sockets = parent.receive(PATIENCE).map_err(Error::system(action))?;
                return Ok(Self::of(sockets, Some(parent)));
            }
        }
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let socket = take(&mut passed, index).map_err(|error| not_usable("a socket of LISTEN_FDS", &error))?;
            sockets.push(InheritedSocket { socket, name: String::new(), owns_path: false });
        }
        Ok(Self::of(sockets, None))
    }

    fn of(sockets: Vec<InheritedSocket>, parent: Option<ParentProcess>) -> Self {
        let stands_in = sockets.iter().any(|inherited_socket| inherited_socket.name.is_empty());
        Self { sockets, stands_in, parent }
    }

    /// Whom to tell that this process accepts.
    pub fn take_parent(&mut self) -> Option<ParentProcess> {
        self.parent.take()
    }

    /// Listens at one more endpoint, on what was inherited for it if anything was. To be asked before
    /// [`listen`](Self::listen), which expects to be told of all the rest. The `purpose`, one word, tells it from the others,
    /// which may be written the same: with port 0 two endpoints are.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    pub fn listen_for(
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
            bound.place.name.clone_from(&name);
        }
        Ok(bound)
    }

    /// Listens on all of `endpoints`: on what was inherited where there is such, on new sockets elsewhere. There is at
    /// least one listener for each of `workers`, and there are more where more were inherited.
    ///
    /// # Errors
    ///
    /// As [`bind`]; and [`Error::Listen`] when an inherited descriptor is not a listening stream socket, or belongs to
    /// none of the endpoints.
    pub fn listen(
        mut self,
        endpoints: &[Endpoint],
        options: &SocketOptions,
        workers: usize,
    ) -> Result<Vec<BoundListener>, Error> {
        let instead = self.take("");
        if self.stands_in {
            return adopt(instead, options, workers);
        }
        let mut bound = Vec::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let before = endpoints[..index].iter().filter(|other| *other == endpoint).count();
            bound.append(&mut self.listen_for(&format!("serve-{before}"), endpoint, options, workers)?);
        }
        match self.sockets.first() {
            // Closing it here would not reset those who wait, but after its predecessor nobody would let them in.
            Some(left) => Err(Error::Listen {
                address: left.name.clone(),
                reason: "the predecessor listens there, and this process is not told to".to_owned(),
            }),
            None => Ok(bound),
        }
    }

    /// Opens datagram sockets at `endpoint`, and for `groups` on its port, or takes what was inherited for that. To be asked
    /// before [`listen`](Self::listen).
    ///
    /// # Errors
    ///
    /// As [`bind_datagrams`]; and [`Error::Listen`] when what was inherited cannot be used.
    pub fn listen_for_datagrams(
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
        if !sockets.is_empty() || self.stands_in {
            let sockets = sockets.into_iter().map(|inherited_socket| (inherited_socket.socket, inherited_socket.name));
            return adopt_datagrams(sockets, options, workers).map_err(|error| not_usable(&name, &error));
        }
        let mut bound = bind_datagrams(endpoint, groups, multicast, options, workers)?;
        for bound in &mut bound {
            bound.place.name.clone_from(&name);
        }
        Ok(bound)
    }

    fn take(&mut self, name: &str) -> Vec<InheritedSocket> {
        self.sockets.extract_if(.., |inherited_socket| inherited_socket.name == name).collect()
    }
}

/// Looks at the variables of the service manager before any memory is taken for what they claim.
fn check_passed() -> Result<(), Error> {
    let Some(count) = number_in("LISTEN_FDS", "LISTEN_FDS=1")? else { return Ok(()) };
    if number_in("LISTEN_PID", "LISTEN_PID=4711")?.is_some_and(|pid| pid != u64::from(std::process::id())) {
        return Ok(());
    }
    // An addition of systemfd(1).
    let first = number_in("LISTEN_FDS_FIRST_FD", "LISTEN_FDS_FIRST_FD=3")?.unwrap_or(FIRST_PASSED);
    let limit = raise_descriptor_limit().map_or(MOST_DESCRIPTORS, |limit| limit.hard.min(MOST_DESCRIPTORS));
    if first.saturating_add(count) > limit {
        return Err(Error::Usage(format!(
            "LISTEN_FDS={count} from descriptor {first} on is more than the {} that this process may have; \
             give the number of sockets that are passed, such as LISTEN_FDS=1",
            format_count(limit)
        )));
    }
    Ok(())
}

/// The number in an environment variable; none if it is unset or empty.
fn number_in(variable: &str, example: &str) -> Result<Option<u64>, Error> {
    let Some(text) = std::env::var_os(variable).filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.to_str().and_then(|text| text.parse().ok());
    let refuse = || Error::Usage(format!("{variable}={} is not a number; example: {example}", text.display()));
    number.map(Some).ok_or_else(refuse)
}

/// The descriptor that the service manager passed at `index`.
fn take(passed: &mut ListenFd, index: usize) -> io::Result<OwnedFd> {
    if let Ok(Some(listener)) = passed.take_unix_listener(index) {
        return Ok(listener.into());
    }
    if let Ok(Some(socket)) = passed.take_udp_socket(index) {
        return Ok(socket.into());
    }
    match passed.take_tcp_listener(index)? {
        Some(listener) => Ok(listener.into()),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Puts the sockets of one endpoint together by their addresses, and sees to it that every worker has one.
fn adopt(sockets: Vec<InheritedSocket>, options: &SocketOptions, workers: usize) -> Result<Vec<BoundListener>, Error> {
    let mut bound: Vec<BoundListener> = Vec::new();
    for InheritedSocket { socket, name, owns_path } in sockets {
        let socket = Socket::from(socket);
        let refuse =
            |error: io::Error| not_usable(if name.is_empty() { "a socket of LISTEN_FDS" } else { &name }, &error);
        let address = prepare(&socket, options).map_err(refuse)?;
        let listener = wrap(&address, socket);
        if let Some(bound) = bound.iter_mut().find(|bound| bound.place.address == address) {
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
        // Several workers share a socket when there are too few. Another one beside it would change whose queue those
        // go to who are on their way in.
        for index in 0..workers.saturating_sub(bound.listeners.len()) {
            let copy = bound.listeners[index].try_clone().map_err(|error| not_usable(&bound.place.name, &error))?;
            bound.listeners.push(copy);
        }
    }
    Ok(bound)
}

/// Sees whether `socket` is what it should be, and sets the options.
fn prepare(socket: &Socket, options: &SocketOptions) -> io::Result<Address> {
    let domain = socket.domain()?;
    let is_known = [Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain);
    if !is_known || socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Err(io::Error::other("it is not a listening TCP or Unix stream socket (--udp takes datagram sockets)"));
    }
    socket.set_nonblocking(true)?;
    listen(socket, options)?;
    let local = socket.local_addr()?;
    let address = match local.as_socket() {
        Some(address) => Address::Ip(address),
        None => Address::Unix(local.as_pathname().map_or_else(PathBuf::new, Into::into)),
    };
    log::debug!("Options of {address}: {}", GrantedOptions::of(socket)?);
    Ok(address)
}

fn wrap(address: &Address, socket: Socket) -> Listener {
    let socket = OwnedFd::from(socket);
    match address {
        Address::Ip(_) => Listener::Tcp(TcpListener::from_std(socket.into())),
        Address::Unix(_) => Listener::Unix(UnixListener::from_std(socket.into())),
    }
}

fn not_usable(address: &str, error: &io::Error) -> Error {
    Error::Listen { address: address.to_owned(), reason: error.to_string() }
}
