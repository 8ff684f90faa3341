//! IPv4 destination and source of a datagram as `IP_PKTINFO` (ip(7)): Linux, macOS.

use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, setsockopt, sockopt};
use socket2::Socket;
use std::io;
use std::net::Ipv4Addr;

/// Makes `socket` report the IPv4 destination of each datagram.
pub(in crate::socket) fn receive_v4_destinations(socket: &Socket) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?)
}

/// The destination of a datagram and the local address that received it, if `control` holds them. They differ for a
/// broadcast and for a multicast.
pub(in crate::socket) fn v4_destination(control: &ControlMessageOwned) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let ControlMessageOwned::Ipv4PacketInfo(info) = control else { return None };
    let address = |from: libc::in_addr| Ipv4Addr::from(u32::from_be(from.s_addr));
    Some((address(info.ipi_addr), address(info.ipi_spec_dst)))
}

/// The IPv4 source address of a datagram to be sent.
pub(in crate::socket) struct V4Source(libc::in_pktinfo);

impl V4Source {
    pub(in crate::socket) fn new(ip: Ipv4Addr) -> Self {
        let source = libc::in_addr { s_addr: u32::from(ip).to_be() };
        Self(libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: libc::in_addr { s_addr: 0 } })
    }

    pub(in crate::socket) fn control(&self) -> ControlMessage<'_> {
        ControlMessage::Ipv4PacketInfo(&self.0)
    }

    /// Bytes that the control message of a destination or a source takes.
    pub(in crate::socket) fn space() -> usize {
        nix::cmsg_space!(libc::in_pktinfo).capacity()
    }
}
