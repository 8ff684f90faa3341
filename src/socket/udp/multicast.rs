//! Groups (ip(7), ipv6(7)): joining them, and how far what is sent to them goes.

use crate::error::Error;
use nix::net::if_::if_nametoindex;
use rustix::net::sockopt::set_ip_multicast_if_with_ifindex;
use socket2::{InterfaceIndexOrAddress, Socket};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

/// One of this machine's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// The one with this address.
    Address(Ipv4Addr),
    /// The one with this number (netdevice(7)).
    Index(u32),
}

impl FromStr for Interface {
    type Err = Error;

    /// An IPv4 address of the interface, or its name.
    fn from_str(text: &str) -> Result<Self, Error> {
        let by_name = |_| if_nametoindex(text).map(Self::Index);
        text.parse().map(Self::Address).or_else(by_name).map_err(|_| {
            Error::Usage(format!(
                "{text:?} is no interface of this machine; give a name like eth0, or its IPv4 address"
            ))
        })
    }
}

/// The options of multicast. What is `None` is left as the system has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Multicast {
    /// The interface to join groups on and to send to them from. Default: the system's choice.
    pub interface: Option<Interface>,
    /// How many networks what is sent to a group may cross: 0 stays on this machine. Default: 1, the local network.
    pub ttl: Option<u8>,
    /// Whether what is sent to a group reaches its members on this machine, too. Default: yes.
    pub loopback: Option<bool>,
}

impl Multicast {
    /// The address to bind for `group`: a link-local one has to name the interface (RFC 4007).
    pub(super) fn address(&self, group: IpAddr, port: u16) -> SocketAddr {
        match (group, self.interface) {
            (IpAddr::V6(group), Some(Interface::Index(index))) => SocketAddrV6::new(group, port, 0, index).into(),
            _ => SocketAddr::new(group, port),
        }
    }

    /// Joins `group` with `socket`. A socket that was inherited may be a member already.
    pub(super) fn join(&self, socket: &Socket, group: IpAddr) -> io::Result<()> {
        let joined = match (group, self.interface) {
            (IpAddr::V4(group), Some(Interface::Address(address))) => socket.join_multicast_v4(&group, &address),
            (IpAddr::V4(group), Some(Interface::Index(index))) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
            }
            (IpAddr::V4(group), None) => socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED),
            (IpAddr::V6(group), Some(Interface::Index(index))) => socket.join_multicast_v6(&group, index),
            (IpAddr::V6(_), Some(Interface::Address(_))) => Err(name_it()),
            (IpAddr::V6(group), None) => socket.join_multicast_v6(&group, 0),
        };
        match joined {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            joined => joined,
        }
    }

    /// Sets what holds for sending to `group`.
    pub(super) fn prepare_sending(&self, socket: &Socket, group: IpAddr) -> io::Result<()> {
        match (group, self.interface) {
            (_, None) => {}
            (IpAddr::V4(_), Some(Interface::Address(address))) => socket.set_multicast_if_v4(&address)?,
            (IpAddr::V4(_), Some(Interface::Index(index))) => {
                let any = Ipv4Addr::UNSPECIFIED;
                set_ip_multicast_if_with_ifindex(socket, &any, &any, index)?;
            }
            (IpAddr::V6(_), Some(Interface::Index(index))) => socket.set_multicast_if_v6(index)?,
            (IpAddr::V6(_), Some(Interface::Address(_))) => return Err(name_it()),
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

fn name_it() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a group of IPv6 needs the interface's name, not its IPv4 address")
}
