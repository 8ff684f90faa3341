//! Opens UDP sockets: of a server, one per worker and address; and of a client, towards one peer.

use super::Multicast;
use super::hop_limit::MAX_REPLY_HOPS;
use crate::error::{Error, in_words};
use crate::socket::bind::{is_missing, listen_error};
use crate::socket::fd_passing::BoundEndpoint;
use crate::socket::source_address::bind_source;
use crate::socket::zone::example_interface;
use crate::socket::{Address, Endpoint, SocketOptions, sys};
use mio::event::Source;
use mio::net::UdpSocket;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A non-blocking UDP socket.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: UdpSocket,
    /// Each socket of a port receives a copy of a broadcast or multicast datagram. Only this one answers it.
    answers_many: bool,
    /// The kernel passes several datagrams of one sender, or to one peer, as one message.
    merges: bool,
}

impl DatagramSocket {
    /// A socket that receives and sends each datagram by itself.
    fn new(socket: Socket, answers_many: bool) -> Self {
        Self { socket: UdpSocket::from_std(OwnedFd::from(socket).into()), answers_many, merges: false }
    }

    /// A socket that exchanges merged datagrams with the kernel, where the kernel can do that.
    fn merging(socket: Socket, answers_many: bool) -> Self {
        let merges = sys::merge_datagrams(&socket);
        Self { merges, ..Self::new(socket, answers_many) }
    }

    /// Whether one message may carry several datagrams.
    pub(super) fn merges(&self) -> bool {
        self.merges
    }

    /// Whether this is the one socket of its port that answers broadcast and multicast datagrams.
    #[must_use]
    pub fn answers_many(&self) -> bool {
        self.answers_many
    }

    /// The address of the socket.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Makes received datagrams carry their arrival time, where the system reports it.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn report_arrivals(&self) -> io::Result<()> {
        sys::report_arrivals(self)
    }

    /// The event source to register with the event loop.
    pub fn source(&mut self) -> &mut dyn Source {
        &mut self.socket
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for DatagramSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The UDP sockets of one address.
#[derive(Debug)]
pub struct BoundDatagrams {
    /// The address as the system granted it, and the endpoint it belongs to.
    pub endpoint: BoundEndpoint,
    /// One per worker (`SO_REUSEPORT`), or a single one where the system does not distribute datagrams. A group has a
    /// single socket, because each would receive a copy of every datagram. One worker serves a socket: several would
    /// reorder the replies to a peer.
    pub sockets: Vec<DatagramSocket>,
}

/// Opens sockets on every address of `endpoint`, one for each of `workers`, and one for each of `groups` on the same
/// port.
///
/// # Errors
///
/// [`Error::Resolve`] when the host is unknown, [`Error::Listen`] when the system refuses.
pub fn bind_datagrams(
    endpoint: &Endpoint,
    groups: &[IpAddr],
    multicast: &Multicast,
    options: &SocketOptions,
    workers: usize,
) -> Result<Vec<BoundDatagrams>, Error> {
    let mut bound: Vec<BoundDatagrams> = Vec::new();
    let mut missing = None;
    for address in endpoint.resolve()? {
        let Address::Ip(mut address) = address else {
            return Err(Error::config(
                &["datagrams.listen"],
                "datagrams need a host and a port, such as 127.0.0.1 65432",
            ));
        };
        if let Some(port) = bound.first().and_then(|first| first.endpoint.address.port()) {
            address.set_port(port);
        }
        match bind_all(address, options, workers, !groups.is_empty()) {
            Ok(sockets) => bound.push(sockets),
            Err(error) if is_missing(&error) => missing = Some((address, error)),
            Err(error) => return Err(listen_error(&Address::Ip(address), error)),
        }
    }
    match (missing, bound.first().and_then(|first| first.endpoint.address.port())) {
        (Some((address, error)), None) => return Err(listen_error(&Address::Ip(address), error)),
        (Some((address, error)), Some(_)) => {
            log::warn!("not listening on {address}: {}", in_words(&error));
        }
        (None, _) => {}
    }
    let port = bound.first().and_then(|first| first.endpoint.address.port()).unwrap_or_default();
    for &group in groups {
        let address = multicast.address(group, port);
        bound.push(bind_group(address, multicast, options).map_err(|error| group_error(address, multicast, error))?);
    }
    Ok(bound)
}

/// Opens one socket per worker. With `has_groups`, sockets for groups share the port.
fn bind_all(
    wanted: SocketAddr,
    options: &SocketOptions,
    workers: usize,
    has_groups: bool,
) -> io::Result<BoundDatagrams> {
    // Exclusively first: two programs that both set SO_REUSEPORT would silently share a port that is in use.
    let alone = match open_bound(wanted, options, false) {
        // Without IPv6, fall back to the unspecified IPv4 address.
        Err(error) if is_missing(&error) && wanted.ip() == Ipv6Addr::UNSPECIFIED => {
            open_bound((Ipv4Addr::UNSPECIFIED, wanted.port()).into(), options, false)?
        }
        result => result?,
    };
    let granted = local_address(&alone)?;
    // Every datagram to a broadcast address reaches all sockets.
    let is_single = !sys::REUSE_PORT_BALANCES || may_be_broadcast(granted.ip());
    let count = if is_single { 1 } else { workers };
    let sockets = if count > 1 || has_groups {
        drop(alone);
        (0..count).map(|_| open_bound(granted, options, true)).collect::<io::Result<Vec<_>>>()?
    } else {
        vec![alone]
    };
    let is_first = |(index, socket): (usize, Socket)| DatagramSocket::merging(socket, index == 0);
    let sockets = sockets.into_iter().enumerate().map(is_first).collect();
    Ok(BoundDatagrams { endpoint: bound_endpoint(granted, String::new()), sockets })
}

fn bind_group(address: SocketAddr, multicast: &Multicast, options: &SocketOptions) -> io::Result<BoundDatagrams> {
    let socket = open(address, options)?;
    // Members of a group share its port, also with other programs.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    sys::limit_hops(&socket, address, MAX_REPLY_HOPS)?;
    socket.bind(&address.into())?;
    multicast.join(&socket, address.ip())?;
    let sockets = vec![DatagramSocket::new(socket, true)];
    Ok(BoundDatagrams { endpoint: bound_endpoint(address, String::new()), sockets })
}

fn group_error(group: SocketAddr, multicast: &Multicast, source: io::Error) -> Error {
    if multicast.interface.is_some() {
        return listen_error(&Address::Ip(group), source);
    }
    Error::Listen {
        address: group.to_string(),
        reason: format!(
            "{}: no route leads to the group; name its interface, such as {}",
            in_words(&source),
            example_interface(None)
        ),
        source: Some(source),
    }
}

fn bound_endpoint(address: SocketAddr, name: String) -> BoundEndpoint {
    BoundEndpoint { address: Address::Ip(address), name, owns_path: false, is_datagram: true }
}

/// Whether an address may be a broadcast address. That depends on the network's prefix length, which is not known here;
/// 255 as the last octet is the usual case.
fn may_be_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[3] == 255)
}

fn open_bound(address: SocketAddr, options: &SocketOptions, shared: bool) -> io::Result<Socket> {
    let socket = open(address, options)?;
    socket.set_reuse_port(shared)?;
    receive_destinations(&socket, address)?;
    sys::limit_hops(&socket, address, MAX_REPLY_HOPS)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn open(address: SocketAddr, options: &SocketOptions) -> io::Result<Socket> {
    let socket = sys::nonblocking(Domain::for_address(address), Type::DGRAM)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    options.apply_buffers(&socket)?;
    sys::report_overrun(&socket)?;
    Ok(socket)
}

/// Makes a socket on the unspecified address report the destination of each datagram. The reply is sent from that
/// address, because a peer discards a reply from another one. Also keeps out datagrams for groups that other sockets
/// have joined.
fn receive_destinations(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if !address.ip().is_unspecified() {
        return Ok(());
    }
    // An IPv6 socket also receives IPv4 datagrams. It needs both kinds of information to recognize a broadcast.
    sys::receive_v4_destinations(socket)?;
    if address.is_ipv6() {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    sys::only_own_groups(socket, address.is_ipv6())
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Whether `socket` is a datagram socket.
pub(in crate::socket) fn is_datagram(socket: BorrowedFd<'_>) -> bool {
    SockRef::from(&socket).r#type().is_ok_and(|kind| kind == Type::DGRAM)
}

/// Groups inherited sockets by address.
pub(in crate::socket) fn adopt_datagrams(
    sockets: impl IntoIterator<Item = (OwnedFd, String)>,
    options: &SocketOptions,
) -> io::Result<Vec<BoundDatagrams>> {
    let mut bound: Vec<BoundDatagrams> = Vec::new();
    for (socket, name) in sockets {
        let socket = Socket::from(socket);
        let address = local_address(&socket)?;
        socket.set_nonblocking(true)?;
        options.apply_buffers(&socket)?;
        sys::report_overrun(&socket)?;
        receive_destinations(&socket, address)?;
        sys::limit_hops(&socket, address, MAX_REPLY_HOPS)?;
        match bound.iter_mut().find(|bound| bound.endpoint.address == Address::Ip(address)) {
            Some(bound) => bound.sockets.push(DatagramSocket::merging(socket, false)),
            None => bound.push(BoundDatagrams {
                endpoint: bound_endpoint(address, name),
                sockets: vec![DatagramSocket::merging(socket, true)],
            }),
        }
    }
    Ok(bound)
}

/// The peer of a client's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A single peer: the socket is connected to it, receives only from it, and reports when nothing listens there
    /// (udp(7)).
    One(SocketAddr),
    /// A broadcast or multicast address: any host may answer.
    Many(SocketAddr),
}

/// Whether `address` is a broadcast address, so that a socket may send to it only with `SO_BROADCAST` (socket(7)). The
/// kernel returns the same error for a route that prohibits the destination.
#[must_use]
pub fn needs_broadcast(address: SocketAddr) -> bool {
    let connect = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        socket.set_broadcast(true)?;
        socket.connect(&address.into())
    };
    connect().is_ok()
}

/// Opens a client's socket towards `peer`, from the address `source` if one is given. Its port differs from the peer's: a
/// server does not answer datagrams from its own port.
///
/// # Errors
///
/// Those of socket(2), setsockopt(2), bind(2) and connect(2).
pub fn open_towards(
    peer: Peer,
    source: Option<IpAddr>,
    multicast: &Multicast,
    options: &SocketOptions,
) -> io::Result<DatagramSocket> {
    let (Peer::One(address) | Peer::Many(address)) = peer;
    let socket = client_socket(peer, source, multicast, options)?;
    // While the first socket holds the port, the system chooses another one.
    let has_peers_port = local_address(&socket)?.port() == address.port();
    let socket = if has_peers_port { client_socket(peer, source, multicast, options)? } else { socket };
    Ok(match peer {
        Peer::One(_) => DatagramSocket::merging(socket, true),
        Peer::Many(_) => DatagramSocket::new(socket, true),
    })
}

fn client_socket(
    peer: Peer,
    source: Option<IpAddr>,
    multicast: &Multicast,
    options: &SocketOptions,
) -> io::Result<Socket> {
    let (Peer::One(address) | Peer::Many(address)) = peer;
    let socket = sys::nonblocking(Domain::for_address(address), Type::DGRAM)?;
    options.apply_buffers(&socket)?;
    match peer {
        Peer::One(address) => {
            if let Some(source) = source {
                bind_source(&socket, source)?;
            }
            socket.connect(&address.into())?;
        }
        Peer::Many(address) => {
            if address.ip().is_multicast() {
                multicast.prepare_sending(&socket, address.ip())?;
            } else {
                socket.set_broadcast(true)?;
            }
            let any = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
            socket.bind(&SocketAddr::new(source.unwrap_or(any), 0).into())?;
        }
    }
    Ok(socket)
}
