//! Control messages of the batches: destination, source, hop limit, length of merged datagrams, dropped datagrams.

use super::DatagramSocket;
use crate::socket::sys::{self, V4Source};
use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, RecvMsg, SockaddrStorage};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The metadata of a received datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct ControlHeader {
    /// Number of the slot, and the place of the payload in it.
    pub(super) slot: usize,
    pub(super) start: usize,
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

/// Receives into `slots` and appends a header per datagram to `headers`. A slot holds several datagrams if the kernel
/// has merged them. Returns how many datagrams the kernel has dropped on the socket so far, if it reported that.
pub(super) fn receive<'a>(
    socket: &DatagramSocket,
    slots: impl Iterator<Item = &'a mut [u8]>,
    headers: &mut Vec<ControlHeader>,
) -> io::Result<Option<u32>> {
    let control_bytes = V4Source::space()
        + nix::cmsg_space!(libc::in6_pktinfo, u32, libc::c_int, libc::c_int, libc::c_int, libc::timespec).capacity();
    let (mut overrun, mut slot) = (None, 0);
    sys::receive_datagrams(socket.as_raw_fd(), slots, control_bytes, |message| {
        let mut segment = None;
        let mut header = ControlHeader {
            slot,
            start: 0,
            len: 0,
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
                segment = sys::received_segment(&control).or(segment);
            }
        }
        let datagrams = split(message.bytes, segment);
        headers.extend(datagrams.map(|datagram| ControlHeader {
            start: datagram.start,
            len: datagram.len(),
            ..header
        }));
        slot += 1;
    })?;
    Ok(overrun)
}

/// The places of the datagrams in a received message of `len` bytes: datagrams of `segment` bytes, of which the last may be
/// shorter. An impossible length of a segment, which no kernel reports, makes it one datagram.
fn split(len: usize, segment: Option<usize>) -> impl Iterator<Item = Range<usize>> {
    let segment = segment.filter(|segment| (1..len).contains(segment)).unwrap_or(len);
    (0..len.max(1)).step_by(segment.max(1)).map(move |start| start..len.min(start + segment))
}

/// Sends each payload to its address, all by the same route. With a `segment` the kernel splits payloads into datagrams of
/// this many bytes. Returns how many payloads were sent.
pub(super) fn send(
    socket: &DatagramSocket,
    payloads: &[(Option<SocketAddr>, &[u8])],
    route: Route,
    segment: Option<u16>,
) -> io::Result<usize> {
    let slices: Vec<_> = payloads.iter().map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
    let addresses: Vec<_> = payloads.iter().map(|(to, _)| to.map(SockaddrStorage::from)).collect();
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
    let is_v4 = payloads[0].0.is_some_and(|to| to.ip().to_canonical().is_ipv4());
    let hops = route.hops.map(libc::c_int::from);
    let hops = hops.as_ref().and_then(|hops| sys::hop_limit(hops, is_v4));
    space += hops.map_or(0, |_| nix::cmsg_space!(libc::c_int).capacity());
    let segment = segment.as_ref().and_then(sys::segment);
    space += segment.map_or(0, |_| nix::cmsg_space!(u16).capacity());
    let controls: Vec<_> = from.into_iter().chain(hops).chain(segment).collect();
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

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn merged_datagrams_are_split() {
        let split = |len, segment| split(len, segment).map(|place| (place.start, place.len())).collect::<Vec<_>>();
        assert_eq!(split(7, Some(3)), [(0, 3), (3, 3), (6, 1)]);
        assert_eq!(split(6, Some(3)), [(0, 3), (3, 3)]);
        assert_eq!(split(65_507, Some(1)).len(), 65_507);
        // Without a segment, and with an impossible one.
        for segment in [None, Some(0), Some(3), Some(4), Some(usize::MAX)] {
            assert_eq!(split(3, segment), [(0, 3)], "{segment:?}");
            assert_eq!(split(0, segment), [(0, 0)], "{segment:?}");
        }
    }
}
