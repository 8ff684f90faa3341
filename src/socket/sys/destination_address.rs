//! IPv4 destination and source of a datagram as `IP_RECVDSTADDR` and `IP_SENDSRCADDR` (ip(4)): FreeBSD.

use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, setsockopt, sockopt};
use socket2::Socket;
use std::io;
use std::net::Ipv4Addr;

/// Makes `socket` report the IPv4 destination of each datagram.
pub(in crate::socket) fn receive_v4_destinations(socket: &Socket) -> io::Result<()> {
    // An IPv6 socket reports a mapped address as an IPv6 destination instead.
    if super::domain(socket)? == socket2::Domain::IPV6 {
        return Ok(());
    }
    Ok(setsockopt(socket, sockopt::Ipv4RecvDstAddr, &true)?)
}

/// The destination of a datagram and the local address that received it, if `control` holds them. The system reports only
/// the destination; that of a broadcast or a multicast is no local address.
pub(in crate::socket) fn v4_destination(control: &ControlMessageOwned) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let ControlMessageOwned::Ipv4RecvDstAddr(address) = control else { return None };
    let to = Ipv4Addr::from(u32::from_be(address.s_addr));
    let is_shared = to.is_multicast() || to.is_broadcast();
    Some((to, if is_shared { Ipv4Addr::UNSPECIFIED } else { to }))
}

/// The IPv4 source address of a datagram to be sent.
pub(in crate::socket) struct V4Source(libc::in_addr);

impl V4Source {
    pub(in crate::socket) fn new(ip: Ipv4Addr) -> Self {
        Self(libc::in_addr { s_addr: u32::from(ip).to_be() })
    }

    pub(in crate::socket) fn control(&self) -> ControlMessage<'_> {
        ControlMessage::Ipv4SendSrcAddr(&self.0)
    }

    /// Bytes that the control message of a destination or a source takes.
    pub(in crate::socket) fn space() -> usize {
        nix::cmsg_space!(libc::in_addr).capacity()
    }
}
