//! PROXY protocol: the header with which a proxy passes on the address of its client (HAProxy, `proxy-protocol.txt`).
//!
//! The header comes before every other byte of a connection, and before a TLS handshake. Version 1 is a line of text,
//! version 2 is binary.

mod receive;

pub use receive::{ProxyHeader, receive_header};

use super::byte_stream::ByteStream;
use super::{Address, Stream};
use crate::error::Error;
use ppp::{v1, v2};
use std::fmt;
use std::io::{self, ErrorKind};
use std::str::FromStr;

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyVersion {
    /// The header of a connection from `source` to `destination`. Addresses other than two of the same IP version are sent
    /// as unknown (version 1) or unspecified (version 2); the receiver then uses those of its socket.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "the header has a fixed length")]
    pub fn header(self, source: &Address, destination: &Address) -> Vec<u8> {
        let pair = match (source.clone().canonical(), destination.clone().canonical()) {
            (Address::Ip(source), Address::Ip(destination)) if source.is_ipv4() == destination.is_ipv4() => {
                Some((source, destination))
            }
            _ => None,
        };
        match self {
            Self::V1 => pair.map_or(v1::Addresses::Unknown, v1::Addresses::from).to_string().into_bytes(),
            Self::V2 => {
                let protocol = if pair.is_some() { v2::Protocol::Stream } else { v2::Protocol::Unspecified };
                let addresses = pair.map_or(v2::Addresses::Unspecified, v2::Addresses::from);
                let header = v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, protocol, addresses);
                header.build().expect("two addresses are shorter than 64 KiB")
            }
        }
    }
}

impl FromStr for ProxyVersion {
    type Err = Error;

    /// Parses `v1` or `v2`.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(Error::Usage(format!("{text:?} is not a version of the PROXY protocol; give v1 or v2"))),
        }
    }
}

impl fmt::Display for ProxyVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// Sends the header of a connected stream as its first bytes, from its own address to that of its peer. They go below a
/// TLS layer.
///
/// # Errors
///
/// Those of getsockname(2), getpeername(2) and send(2). A new socket has room for a header; if it takes only a part, the
/// error is [`ErrorKind::WriteZero`].
pub fn send_header(version: ProxyVersion, stream: &mut Stream) -> io::Result<()> {
    if let Stream::Tls(layer) = stream {
        return send_header(version, layer.socket_mut());
    }
    let [source, destination] = stream.end_addresses()?;
    let header = version.header(&source, &destination);
    let count = stream.write(&header)?;
    if count == header.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
}

#[cfg(test)]
mod tests {
    use super::ProxyVersion;
    use crate::socket::Address;
    use ppp::v2::PROTOCOL_PREFIX;

    fn address(text: &str) -> Address {
        Address::Ip(text.parse().expect("an address"))
    }

    /// A version 2 header by its parts.
    fn v2_header(family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).expect("a short block").to_be_bytes();
        [PROTOCOL_PREFIX, &[0x21, family], &length, block].concat()
    }

    #[test]
    fn headers_have_the_documented_form() {
        let (source, destination) = (address("192.0.2.1:56324"), address("192.0.2.2:443"));
        assert_eq!(ProxyVersion::V1.header(&source, &destination), b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n");
        let block = [192, 0, 2, 1, 192, 0, 2, 2, 220, 4, 1, 187];
        assert_eq!(ProxyVersion::V2.header(&source, &destination), v2_header(0x11, &block));
        let (source, destination) = (address("[2001:db8::1]:1"), address("[::1]:65535"));
        assert_eq!(ProxyVersion::V1.header(&source, &destination), b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n");
        let v2 = ProxyVersion::V2.header(&source, &destination);
        assert_eq!((&v2[12..16], v2.len()), (&[0x21, 0x21, 0, 36][..], 52));
    }

    #[test]
    fn other_addresses_are_unknown() {
        let (ipv4, ipv6, unix) = (address("192.0.2.1:1"), address("[2001:db8::1]:1"), Address::Unix("m.sock".into()));
        for (source, destination) in [(&unix, &unix), (&ipv4, &unix), (&ipv4, &ipv6), (&ipv6, &ipv4)] {
            assert_eq!(ProxyVersion::V1.header(source, destination), b"PROXY UNKNOWN\r\n");
            assert_eq!(ProxyVersion::V2.header(source, destination), v2_header(0, &[]));
        }
        let mapped = address("[::ffff:192.0.2.1]:1");
        assert_eq!(ProxyVersion::V1.header(&mapped, &ipv4), b"PROXY TCP4 192.0.2.1 192.0.2.1 1 1\r\n");
    }

    #[test]
    fn a_version_is_parsed_by_its_name() {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            assert_eq!(version.to_string().parse::<ProxyVersion>().ok(), Some(version));
        }
        let error = "1".parse::<ProxyVersion>().expect_err("no version").to_string();
        assert!(error.contains("\"1\"") && error.contains("v2"), "{error}");
    }
}
