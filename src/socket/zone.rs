//! Zones of link-local IPv6 addresses (RFC 4007): `fe80::1` is another machine on each interface, `fe80::1%eth0` is one.

use crate::error::Error;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrIn6;
use std::net::Ipv6Addr;

/// Whether `host`, if it is a link-local address, names an interface of this machine.
///
/// # Errors
///
/// [`Error::Usage`] when it does not; it names an interface that there is.
pub(super) fn check_zone(host: &str) -> Result<(), Error> {
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    let Ok(ip) = address.parse::<Ipv6Addr>() else { return Ok(()) };
    let is_known = |zone: &str| zone.parse::<u32>().is_ok() || if_nametoindex(zone).is_ok();
    let problem = match zone {
        None if ip.is_unicast_link_local() => "is a link-local address, which needs its interface".to_owned(),
        Some(zone) if !is_known(zone) => format!("names the interface {zone:?}, which this machine does not have"),
        _ => return Ok(()),
    };
    Err(Error::Usage(format!("{host:?} {problem}; give {address}%{}", example_interface(Some(ip)))))
}

/// The name of an interface for an error message: the one that has `address`, or one that leads to other machines.
pub(super) fn example_interface(address: Option<Ipv6Addr>) -> String {
    let all: Vec<InterfaceAddress> = getifaddrs().map(Iterator::collect).unwrap_or_default();
    let ipv6 = |interface: &InterfaceAddress| interface.address?.as_sockaddr_in6().map(SockaddrIn6::ip);
    let has_address = |interface: &&InterfaceAddress| address.is_some() && ipv6(interface) == address;
    let leads_elsewhere = |interface: &&InterfaceAddress| {
        interface.flags.contains(InterfaceFlags::IFF_UP) && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    };
    let best = all.iter().find(has_address).or_else(|| all.iter().find(leads_elsewhere)).or(all.first());
    best.map_or_else(|| "eth0".to_owned(), |interface| interface.interface_name.clone())
}

#[cfg(test)]
mod tests {
    use super::{check_zone, example_interface};
    use nix::net::if_::if_nametoindex;
    use std::net::Ipv6Addr;

    #[test]
    fn a_link_local_address_needs_its_interface() {
        for host in ["fe80::1", "febf::1:2", "fe80::1%none"] {
            let error = check_zone(host).expect_err("no interface").to_string();
            let given = error.rsplit_once("give fe").and_then(|(_, example)| example.split_once('%'));
            let (_, interface) = given.expect("an example");
            assert!(error.starts_with(&format!("{host:?}")) && if_nametoindex(interface).is_ok(), "{error}");
        }
        for host in ["fe80::1%1", "::1", "2001:db8::1", "ff02::1", "169.254.1.1", "localhost", "a%b", ""] {
            assert!(check_zone(host).is_ok(), "{host}");
        }
    }

    #[test]
    fn the_interface_of_an_own_address_is_the_example() {
        if std::net::UdpSocket::bind("[::1]:0").is_ok() {
            let interface = example_interface(Some(Ipv6Addr::LOCALHOST));
            assert!(interface.starts_with("lo"), "{interface}");
        }
    }
}
