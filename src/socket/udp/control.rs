//! Control messages of the batches: destination, source, hop limit and dropped datagrams.

use super::DatagramSocket;
use crate::socket::sys::{self, V4Source};
use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, RecvMsg, SockaddrStorage};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The metadata of a received datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct ControlHeader {
    pub(super) len: usize,
    pub(super) peer: SocketAddr,
    pub(super) local: Option<IpAddr>,
    pub(super) to_many: bool,
    pub(super) hops: Option<u8>,
    pub(super) arrival: Option<Duration>,
}

/// What all datagrams of one send have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    /// The source address; the system's choice if none.
    pub(super) from: Option<IpAddr>,
    /// The hop limit; the socket's own if none.
    pub(super) hops: Option<u8>,
}

/// Receives into `slots` and appends a header per datagram to `headers`. Returns how many
/// datagrams the kernel has dropped on the socket so far, if it reported that.
pub(super) fn receive<'a>(
    socket: &DatagramSocket,
    slots: impl Iterator<Item = &'a mut [u8]>,
    headers: &mut Vec<ControlHeader>,
) -> io::Result<Option<u32>> {
    let control_bytes = V4Source::space()
        + nix::cmsg_space!(libc::in6_pktinfo, u32, libc::c_int, libc::c_int, libc::timespec).capacity();
    let mut overrun = None;
    sys::receive_datagrams(socket.as_raw_fd(), slots, control_bytes, |message| {
        let mut header = ControlHeader {
            len: message.bytes,
            peer: peer_of(message),
            local: None,
            to_many: false,
            hops: None,
            arrival: None,
        };
        // Control messages are never truncated: there is space for all that are enabled.
        for control in message.cmsgs().into_iter().flatten() {
            if let Some((to, local)) = sys::v4_destination(&control) {
                header.to_many = to != local;
                header.local = (!header.to_many).then_some(IpAddr::V4(local));
            } else if let ControlMessageOwned::Ipv6PacketInfo(info) = control {
                set_ipv6_local(&mut header, info.ipi6_addr.s6_addr.into());
            } else {
                overrun = sys::overrun(&control).or(overrun);
                header.hops = sys::received_hops(&control).or(header.hops);
                header.arrival = sys::received_at(&control).or(header.arrival);
            }
        }
        headers.push(header);
    })?;
    Ok(overrun)
}

/// Sends each payload to its address, all by the same route. Returns how many were sent.
pub(super) fn send(
    socket: &DatagramSocket,
    datagrams: &[(Option<SocketAddr>, &[u8])],
    route: Route,
) -> io::Result<usize> {
    let slices: Vec<_> = datagrams.iter().map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
    let addresses: Vec<_> = datagrams.iter().map(|(to, _)| to.map(SockaddrStorage::from)).collect();
    let (v4, v6);
    // The system refuses space that no control message fills.
    let mut space = 0;
    let from = match route.from {
        None => None,
        Some(IpAddr::V4(ip)) => {
            v4 = V4Source::new(ip);
            space += V4Source::space();
            Some(v4.control())
        }
        Some(IpAddr::V6(ip)) => {
            v6 = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
            space += nix::cmsg_space!(libc::in6_pktinfo).capacity();
            Some(ControlMessage::Ipv6PacketInfo(&v6))
        }
    };
    let is_v4 = datagrams[0].0.is_some_and(|to| to.ip().to_canonical().is_ipv4());
    let hops = route.hops.map(libc::c_int::from);
    let hops = hops.as_ref().and_then(|hops| sys::hop_limit(hops, is_v4));
    space += hops.map_or(0, |_| nix::cmsg_space!(libc::c_int).capacity());
    let controls: Vec<_> = from.into_iter().chain(hops).collect();
    sys::send_datagrams(socket.as_raw_fd(), &slices, &addresses, &controls, space)
}

fn peer_of(message: &RecvMsg<'_, '_, SockaddrStorage>) -> SocketAddr {
    let storage = message.address.as_ref();
    let v4 = storage.and_then(SockaddrStorage::as_sockaddr_in).map(|peer| SocketAddr::V4((*peer).into()));
    let v6 = || storage.and_then(SockaddrStorage::as_sockaddr_in6).map(|peer| SocketAddr::V6((*peer).into()));
    // A peer without an address cannot be answered, which port 0 expresses.
    v4.or_else(v6).unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into())
}

/// Sets the destination from IPv6 packet information. An IPv4 datagram on an IPv6 socket has both kinds; the IPv4 one
/// comes last and takes precedence.
fn set_ipv6_local(header: &mut ControlHeader, to: Ipv6Addr) {
    header.to_many = to.is_multicast();
    header.local = (!header.to_many).then_some(IpAddr::V6(to));
}
