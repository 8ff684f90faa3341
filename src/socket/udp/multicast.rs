//! Multicast groups (ip(7), ipv6(7)): membership, interface, TTL and loopback.

use crate::error::Error;
use nix::net::if_::if_nametoindex;
use rustix::net::sockopt::set_ip_multicast_if_with_ifindex;
use socket2::{InterfaceIndexOrAddress, Socket};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

/// A network interface of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// The interface with this IPv4 address.
    Address(Ipv4Addr),
    /// The interface with this index (netdevice(7)).
    Index(u32),
}

impl FromStr for Interface {
    type Err = Error;

    /// Parses an IPv4 address or a name of an interface.
    fn from_str(text: &str) -> Result<Self, Error> {
        let by_name = |_| if_nametoindex(text).map(Self::Index);
        text.parse().map(Self::Address).or_else(by_name).map_err(|_| {
            Error::Usage(format!(
                "{text:?} is no interface of this machine; give a name like eth0, or its IPv4 address"
            ))
        })
    }
}

/// Multicast options. `None` keeps the system's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Multicast {
    /// The interface for memberships and for sending to groups. Default: the system's choice.
    pub interface: Option<Interface>,
    /// The hop limit of datagrams sent to a group: 0 stays on this machine. Default: 1, the local network.
    pub ttl: Option<u8>,
    /// Whether datagrams sent to a group also reach members on this machine. Default: yes.
    pub loopback: Option<bool>,
}

impl Multicast {
    /// The address to bind for `group`. A link-local group must name its interface (RFC 4007).
    pub(super) fn address(&self, group: IpAddr, port: u16) -> SocketAddr {
        match (group, self.interface) {
            (IpAddr::V6(group), Some(Interface::Index(index))) => SocketAddrV6::new(group, port, 0, index).into(),
            _ => SocketAddr::new(group, port),
        }
    }

    /// Makes `socket` a member of `group`. An inherited socket may be a member already.
    pub(super) fn join(&self, socket: &Socket, group: IpAddr) -> io::Result<()> {
        let joined = match (group, self.interface) {
            (IpAddr::V4(group), Some(Interface::Address(address))) => socket.join_multicast_v4(&group, &address),
            (IpAddr::V4(group), Some(Interface::Index(index))) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
            }
            (IpAddr::V4(group), None) => socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED),
            (IpAddr::V6(group), Some(Interface::Index(index))) => socket.join_multicast_v6(&group, index),
            (IpAddr::V6(_), Some(Interface::Address(_))) => Err(needs_interface_name()),
            (IpAddr::V6(group), None) => socket.join_multicast_v6(&group, 0),
        };
        match joined {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            joined => joined,
        }
    }

    /// Sets the options for sending to `group`.
    pub(super) fn prepare_sending(&self, socket: &Socket, group: IpAddr) -> io::Result<()> {
        match (group, self.interface) {
            (_, None) => {}
            (IpAddr::V4(_), Some(Interface::Address(address))) => socket.set_multicast_if_v4(&address)?,
            (IpAddr::V4(_), Some(Interface::Index(index))) => {
                let any = Ipv4Addr::UNSPECIFIED;
                set_ip_multicast_if_with_ifindex(socket, &any, &any, index)?;
            }
            (IpAddr::V6(_), Some(Interface::Index(index))) => socket.set_multicast_if_v6(index)?,
            (IpAddr::V6(_), Some(Interface::Address(_))) => return Err(needs_interface_name()),
        }
        if let Some(ttl) = self.ttl.map(u32::from) {
            if group.is_ipv4() { socket.set_multicast_ttl_v4(ttl)? } else { socket.set_multicast_hops_v6(ttl)? }
        }
        if let Some(on) = self.loopback {
            if group.is_ipv4() { socket.set_multicast_loop_v4(on)? } else { socket.set_multicast_loop_v6(on)? }
        }
        Ok(())
    }
}

fn needs_interface_name() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a group of IPv6 needs the interface's name, not its IPv4 address")
}
