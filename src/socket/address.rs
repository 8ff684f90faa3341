//! Endpoints to listen on or connect to as the user types them, and the addresses they resolve to.

mod parse;

use super::unix_path::check_path;
use super::zone::check_zone;
use crate::error::Error;
use crate::escape;
use crate::python_repr::{AddressRepr, StrRepr};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// The host that means the limited broadcast address, as in Python's socket module.
const BROADCAST_HOST: &str = "<broadcast>";

/// An endpoint as the user types it: a host and a port, or the path of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A host and a port.
    Tcp {
        /// An IPv4 or IPv6 address, a host name, an empty string for every interface, or `<broadcast>` for
        /// 255.255.255.255.
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

    /// Resolves the endpoint to its addresses, without duplicates, in the order of the resolver. An empty host becomes
    /// the unspecified address, on which a listener accepts IPv4 and IPv6. The host `<broadcast>` becomes
    /// 255.255.255.255. An IPv4-mapped address becomes an IPv4 address.
    ///
    /// # Errors
    ///
    /// [`Error::Resolve`] when the host is neither an address nor a name that resolves; [`Error::Usage`] when the path
    /// of a Unix socket is empty or too long, or when a link-local address does not name its interface.
    pub fn resolve(&self) -> Result<Vec<Address>, Error> {
        if let Some(addresses) = self.resolve_literal() {
            return addresses;
        }
        let Self::Tcp { host, port } = self else { return Ok(Vec::new()) };
        let bare = without_brackets(host);
        check_zone(bare)?;
        let found = (bare, *port).to_socket_addrs().map_err(|source| Error::Resolve {
            host: host.clone(),
            reason: source.to_string(),
            source,
        })?;
        let mut addresses: Vec<Address> = Vec::new();
        for address in found.map(|address| Address::Ip(address).canonical()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    /// Resolves the endpoint if that needs no lookup, and so does not block. Returns `None` for a name. No lookup is needed
    /// for the path of a Unix socket, an IP address without a zone, an empty host and `<broadcast>`.
    ///
    /// # Errors
    ///
    /// Those of [`resolve`](Self::resolve).
    pub(crate) fn resolve_literal(&self) -> Option<Result<Vec<Address>, Error>> {
        let (host, port) = match self {
            Self::Unix(path) => return Some(check_path(path).map(|()| vec![Address::Unix(path.clone())])),
            Self::Tcp { host, port } => (host.as_str(), *port),
        };
        let ip: IpAddr = match host {
            "" => Ipv6Addr::UNSPECIFIED.into(),
            BROADCAST_HOST => Ipv4Addr::BROADCAST.into(),
            host => without_brackets(host).parse().ok()?,
        };
        let checked = check_zone(without_brackets(host));
        Some(checked.map(|()| vec![Address::Ip((ip, port).into()).canonical()]))
    }
}

/// An IPv6 address may be typed in brackets, as in `[::1]:80`.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') && !host.starts_with('[') => write!(out, "[{host}]:{port}"),
            // unix:80 is a path.
            Self::Tcp { host, port } if host.eq_ignore_ascii_case("unix") => write!(out, "tcp://{host}:{port}"),
            Self::Tcp { host, port } => write!(out, "{host}:{port}"),
            Self::Unix(path) => write!(out, "{}", escape::path(path)),
        }
    }
}

/// The address of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IPv4 or IPv6 address with its port.
    Ip(SocketAddr),
    /// The path of a Unix socket; empty for an unnamed peer.
    Unix(PathBuf),
}

impl Address {
    /// The transport of the address as a word: `tcp` or `unix`.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Ip(_) => "tcp",
            Self::Unix(_) => "unix",
        }
    }

    /// The address as Python's socket module shows it: `('127.0.0.1', 65432)`; an unnamed Unix socket is `''`.
    #[must_use]
    pub fn in_python(&self) -> String {
        match self {
            Self::Ip(address) => AddressRepr(*address).to_string(),
            Self::Unix(path) => StrRepr(&path.to_string_lossy()).to_string(),
        }
    }

    /// The port of an IP address; none for a Unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Ip(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// The address with another port; the path of a Unix socket has none, and stays as it is.
    #[must_use]
    pub(crate) fn with_port(&self, port: u16) -> Self {
        match self {
            Self::Ip(address) => Self::Ip({
                let mut address = *address;
                address.set_port(port);
                address
            }),
            Self::Unix(_) => self.clone(),
        }
    }

    /// The address with an IPv4-mapped IPv6 address (`::ffff:127.0.0.1`) replaced by the IPv4 address.
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            // Other IPv6 addresses keep their zone.
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
    fn the_broadcast_host_is_an_ipv4_address() {
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
        assert!(std::error::Error::source(&error).is_some(), "the resolver's error is kept");
    }
}
