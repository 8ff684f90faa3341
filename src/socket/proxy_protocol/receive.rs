//! Receiving a header without buffering: it is peeked at until it is complete, and then exactly its bytes are read.

use crate::socket::{Address, Stream};
use ppp::{v1, v2};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::RecvFlags;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// Maximum length of a version 1 header, including its CR LF (`proxy-protocol.txt`, section 2.1).
const MAX_V1_BYTES: usize = 107;

/// Maximum length of a version 2 header. The format allows 64 KiB; addresses and the fields of real proxies (a server
/// name, an identifier, facts about a certificate) take a few hundred bytes.
const MAX_V2_BYTES: usize = 4096;

/// First bytes of a version 1 header.
const V1_SIGNATURE: &[u8] = b"PROXY ";

/// Length of what comes before the length field of a version 2 header, and of that field.
const V2_FIXED_BYTES: usize = v2::PROTOCOL_PREFIX.len() + 4;

/// Version and command of a version 2 header for a connection of the proxy itself, such as a health check.
const V2_LOCAL: u8 = 0x20;

/// Version and command of a version 2 header for a connection of a client.
const V2_PROXY: u8 = 0x21;

/// A header that names no TCP connection.
const WITHOUT_ADDRESSES: ProxyHeader = ProxyHeader::Ready { source: None, destination: None };

/// What has arrived of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Not all of it; an event follows when more arrives.
    Pending,
    /// The whole header, which was consumed. `None` where the header names no TCP connection: the addresses are then those
    /// of the socket.
    Ready {
        /// Address of the proxy's client.
        source: Option<Address>,
        /// Address to which that client connected.
        destination: Option<Address>,
    },
    /// Something else, for the reason given.
    Invalid(String),
}

/// Receives the header that a stream begins with. Nothing is consumed until the header is complete, and then nothing
/// behind it.
///
/// With `is_hung_up` an event has announced the end of the input, or urgent data. A header that is incomplete by then is
/// invalid, since no further event may follow.
///
/// # Errors
///
/// Those of recv(2).
pub fn receive_header(stream: &Stream, is_hung_up: bool) -> io::Result<ProxyHeader> {
    let mut bytes = [0; MAX_V2_BYTES];
    let count = match retry_on_intr(|| stream.receive_below_tls(&mut bytes, RecvFlags::PEEK)) {
        Ok(0) => return Ok(invalid("the input ended before it")),
        Ok(count) => count,
        Err(Errno::AGAIN) => return Ok(ProxyHeader::Pending),
        Err(error) => return Err(error.into()),
    };
    match parse(&bytes[..count]) {
        (ProxyHeader::Pending, _) if is_hung_up => Ok(invalid("the input ended within it")),
        (header, 0) => Ok(header),
        (header, length) => {
            let consumed = retry_on_intr(|| stream.receive_below_tls(&mut bytes[..length], RecvFlags::empty()))?;
            if consumed == length { Ok(header) } else { Err(ErrorKind::UnexpectedEof.into()) }
        }
    }
}

/// Parses the header that `bytes` begin with. Returns its length as well, if it is complete and valid.
fn parse(bytes: &[u8]) -> (ProxyHeader, usize) {
    let begins_with = |signature: &[u8]| bytes.iter().zip(signature).all(|(byte, expected)| byte == expected);
    if begins_with(v2::PROTOCOL_PREFIX) {
        parse_v2(bytes)
    } else if begins_with(V1_SIGNATURE) {
        parse_v1(bytes)
    } else {
        (invalid("it begins with another signature"), 0)
    }
}

fn parse_v1(bytes: &[u8]) -> (ProxyHeader, usize) {
    let bytes = &bytes[..bytes.len().min(MAX_V1_BYTES)];
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        let is_too_long = bytes.len() == MAX_V1_BYTES;
        return (if is_too_long { invalid("its line is longer than 107 bytes") } else { ProxyHeader::Pending }, 0);
    };
    let line = &bytes[..=end];
    let after_unknown = line.strip_prefix(b"PROXY UNKNOWN").and_then(|rest| rest.strip_suffix(b"\r\n"));
    if after_unknown.is_some_and(|rest| rest.first().is_none_or(|first| *first == b' ')) {
        // The rest of the line has no meaning.
        return (WITHOUT_ADDRESSES, line.len());
    }
    match v1::Header::try_from(line).map(|header| header.addresses) {
        Ok(v1::Addresses::Tcp4(ip)) => (between_ipv4(ip), line.len()),
        Ok(v1::Addresses::Tcp6(ip)) => (between_ipv6(ip), line.len()),
        Ok(v1::Addresses::Unknown) => (WITHOUT_ADDRESSES, line.len()),
        Err(error) => (invalid(&error.to_string()), 0),
    }
}

fn parse_v2(bytes: &[u8]) -> (ProxyHeader, usize) {
    if bytes.get(12).is_some_and(|command| ![V2_LOCAL, V2_PROXY].contains(command)) {
        return (invalid("its version or command is unknown"), 0);
    }
    let Some(fixed) = bytes.get(..V2_FIXED_BYTES) else { return (ProxyHeader::Pending, 0) };
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > MAX_V2_BYTES {
        return (invalid("it is longer than 4 KiB"), 0);
    }
    let Some(bytes) = bytes.get(..length) else { return (ProxyHeader::Pending, 0) };
    if fixed[12] == V2_LOCAL {
        // The rest of the header has no meaning.
        return (WITHOUT_ADDRESSES, length);
    }
    match v2::Header::try_from(bytes) {
        Ok(v2::Header { protocol: v2::Protocol::Stream, addresses: v2::Addresses::IPv4(ip), .. }) => {
            (between_ipv4(ip), length)
        }
        Ok(v2::Header { protocol: v2::Protocol::Stream, addresses: v2::Addresses::IPv6(ip), .. }) => {
            (between_ipv6(ip), length)
        }
        Ok(_) => (WITHOUT_ADDRESSES, length),
        Err(error) => (invalid(&error.to_string()), 0),
    }
}

fn between_ipv4(ip: v2::IPv4) -> ProxyHeader {
    between((ip.source_address, ip.source_port), (ip.destination_address, ip.destination_port))
}

fn between_ipv6(ip: v2::IPv6) -> ProxyHeader {
    between((ip.source_address, ip.source_port), (ip.destination_address, ip.destination_port))
}

fn between(source: impl Into<SocketAddr>, destination: impl Into<SocketAddr>) -> ProxyHeader {
    ProxyHeader::Ready {
        source: Some(Address::Ip(source.into()).canonical()),
        destination: Some(Address::Ip(destination.into()).canonical()),
    }
}

fn invalid(detail: &str) -> ProxyHeader {
    ProxyHeader::Invalid(detail.trim_end_matches('.').to_owned())
}

// They use real sockets.
#[cfg(all(test, not(multiconn_simulated)))]
mod tests;
