//! Where to listen and where to connect: what the user typed, and the addresses it means.

mod parse;

use super::unix_path::check_path;
use super::zone::check_zone;
use crate::error::Error;
use crate::escape;
use crate::python_repr::{AddressRepr, StrRepr};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// The host that means the limited broadcast address, as in Python's socket module.
const BROADCAST_HOST: &str = "<broadcast>";

/// A place as the user names it: a host and a port, or the path of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A host and a port.
    Tcp {
        /// An IPv4 or IPv6 address, a name, nothing for every interface, or `<broadcast>` for 255.255.255.255.
        host: String,
        /// The port; 0 lets the system choose one.
        port: u16,
    },
    /// The path of a Unix domain socket (unix(7)).
    Unix(PathBuf),
}

impl Endpoint {
    /// A host (an address, a name, or `""` for every interface) and a port (0 for a free one).
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp { host: host.into(), port }
    }

    /// The path of a Unix domain socket.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::Unix(path.into())
    }

    /// The port; none for a Unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
            Self::Unix(_) => None,
        }
    }

    /// All addresses that the endpoint stands for, each once, in the order of the resolver. An empty host is the
    /// unspecified address, which a listener serves for IPv4 and IPv6 alike. The host `<broadcast>` is 255.255.255.255. An
    /// IPv4-mapped address is an IPv4 address.
    ///
    /// # Errors
    ///
    /// [`Error::Resolve`] when the host is neither an address nor a name that can be looked up; [`Error::Usage`] when the
    /// path of a Unix socket is empty or too long, or a link-local address does not name its interface.
    pub fn resolve(&self) -> Result<Vec<Address>, Error> {
        let (host, port) = match self {
            Self::Unix(path) => return check_path(path).map(|()| vec![Address::Unix(path.clone())]),
            Self::Tcp { host, port } => (host.as_str(), *port),
        };
        if host.is_empty() {
            return Ok(vec![Address::Ip((Ipv6Addr::UNSPECIFIED, port).into())]);
        }
        if host == BROADCAST_HOST {
            return Ok(vec![Address::Ip((Ipv4Addr::BROADCAST, port).into())]);
        }
        // `[::1]` is how an IPv6 address stands beside a port; people type it alone as well.
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        check_zone(bare)?;
        let found = (bare, port)
            .to_socket_addrs()
            .map_err(|source| Error::Resolve { host: host.to_owned(), reason: source.to_string() })?;
        let mut addresses: Vec<Address> = Vec::new();
        for address in found.map(|address| Address::Ip(address).canonical()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') && !host.starts_with('[') => write!(out, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(out, "{host}:{port}"),
            Self::Unix(path) => write!(out, "{}", escape::path(path)),
        }
    }
}

/// One address of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IPv4 or IPv6 address with its port.
    Ip(SocketAddr),
    /// The path of a Unix socket; empty for a peer, which has none of its own.
    Unix(PathBuf),
}

impl Address {
    /// The word for the kind of transport behind the address, `tcp` or `unix`.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Ip(_) => "tcp",
            Self::Unix(_) => "unix",
        }
    }

    /// The address as Python shows it: `('127.0.0.1', 65432)`; a peer on a Unix socket is `''`.
    #[must_use]
    pub fn in_python(&self) -> String {
        match self {
            Self::Ip(address) => AddressRepr(*address).to_string(),
            Self::Unix(path) => StrRepr(&path.to_string_lossy()).to_string(),
        }
    }

    /// The port, where there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Ip(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// The same address with an IPv4 address that came in over IPv6 (`::ffff:127.0.0.1`) written as what it is.
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            // Any other IPv6 address keeps its zone.
            Self::Ip(SocketAddr::V6(address)) if address.ip().to_ipv4_mapped().is_some() => {
                Self::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
            }
            other => other,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(out, "{address}"),
            Self::Unix(path) if path.as_os_str().is_empty() => out.write_str("a local peer"),
            Self::Unix(path) => write!(out, "{}", escape::path(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Endpoint};
    use std::net::SocketAddr;

    #[test]
    fn an_address_is_itself() {
        for (host, shown) in [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("[::1]", "[::1]:80")] {
            let endpoint = Endpoint::tcp(host, 80);
            assert_eq!(endpoint.to_string(), shown);
            let addresses = endpoint.resolve().expect("an address resolves");
            assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), [shown]);
        }
    }

    #[test]
    fn a_mapped_address_resolves_to_ipv4() {
        let addresses = Endpoint::tcp("::ffff:127.0.0.1", 80).resolve().expect("an address resolves");
        assert_eq!(addresses, [Address::Ip("127.0.0.1:80".parse().expect("an address"))]);
    }

    #[test]
    fn a_link_local_address_keeps_its_zone() {
        let address: SocketAddr = "[fe80::1%3]:80".parse().expect("an address");
        assert_eq!(Address::Ip(address).canonical(), Address::Ip(address));
    }

    #[test]
    fn nothing_is_every_interface() {
        let addresses = Endpoint::tcp("", 0).resolve().expect("nothing resolves");
        assert_eq!(addresses, [Address::Ip("[::]:0".parse().expect("an address"))]);
    }

    #[test]
    fn broadcast_is_an_address_of_ipv4() {
        let addresses = Endpoint::tcp("<broadcast>", 9).resolve().expect("an address resolves");
        assert_eq!(addresses, [Address::Ip("255.255.255.255:9".parse().expect("an address"))]);
    }

    #[test]
    fn a_mapped_address_is_shown_as_ipv4() {
        let mapped = Address::Ip("[::ffff:127.0.0.1]:80".parse().expect("an address"));
        assert_eq!(mapped.canonical().to_string(), "127.0.0.1:80");
    }

    #[test]
    fn an_unknown_name_is_named() {
        let error = Endpoint::tcp("no such host", 80).resolve().expect_err("not a name");
        assert!(error.to_string().contains("\"no such host\""), "{error}");
    }
}
