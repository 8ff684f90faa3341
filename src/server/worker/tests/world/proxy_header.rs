//! PROXY protocol headers of peers: valid ones, damaged ones, and none.
//!
//! What the server must make of a header is known by how it was made. The bytes are written here, and not by the code that
//! is tested.

use crate::simulated_kernel::Rng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes before the addresses of a version 2 header: signature, command, family, and length.
const V2_FIXED_BYTES: usize = 16;

const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Address of the listener, as proxies name it.
const DESTINATIONS: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// What follows from a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The connection is that of this client.
    Client(SocketAddr),
    /// The connection is that of the peer of the socket.
    Socket,
    /// The connection is closed, once so many bytes have arrived.
    Invalid(usize),
}

/// The header of a peer.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) bytes: Vec<u8>,
    pub(super) meaning: Meaning,
}

impl Header {
    /// A header of the peer `number`, whose client has that port.
    pub(super) fn new(rng: &mut Rng, number: usize) -> Self {
        let port = u16::try_from(number).unwrap_or(u16::MAX);
        let host = 1 + rng.below(2);
        let ip: IpAddr = if rng.one_in(2) {
            Ipv4Addr::new(203, 0, 113, u8::try_from(host).unwrap_or_default()).into()
        } else {
            Ipv6Addr::new(0x2001, 0xdb8, u16::try_from(host).unwrap_or_default(), 0, 0, 0, 0, 5).into()
        };
        let client = SocketAddr::from((ip, port));
        match rng.below(10) {
            0..3 => Self { bytes: v1(client), meaning: Meaning::Client(client) },
            3..6 => Self { bytes: v2(client, 0x21, &tlvs(rng)), meaning: Meaning::Client(client) },
            6 => Self { bytes: without_addresses(rng, client), meaning: Meaning::Socket },
            _ => invalid(rng, client),
        }
    }

    /// None, as for a server that expects none.
    pub(super) fn none() -> Self {
        Self { bytes: Vec::new(), meaning: Meaning::Socket }
    }

    pub(super) fn is_valid(&self) -> bool {
        !matches!(self.meaning, Meaning::Invalid(_))
    }
}

fn v1(client: SocketAddr) -> Vec<u8> {
    let is_v6 = usize::from(client.is_ipv6());
    let family = ["TCP4", "TCP6"][is_v6];
    format!("PROXY {family} {} {} {} 7\r\n", client.ip(), DESTINATIONS[is_v6], client.port()).into_bytes()
}

fn v2(client: SocketAddr, command: u8, tlvs: &[u8]) -> Vec<u8> {
    let destination: IpAddr = DESTINATIONS[usize::from(client.is_ipv6())].parse().expect("an address");
    let mut block = Vec::new();
    for ip in [client.ip(), destination] {
        match ip {
            IpAddr::V4(ip) => block.extend(ip.octets()),
            IpAddr::V6(ip) => block.extend(ip.octets()),
        }
    }
    block.extend([client.port(), 7].map(u16::to_be_bytes).as_flattened());
    block.extend(tlvs);
    v2_of_parts(command, if client.is_ipv6() { 0x21 } else { 0x11 }, &block)
}

fn v2_of_parts(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a header is short").to_be_bytes();
    [&V2_SIGNATURE[..], &[command, family], &length, block].concat()
}

/// Up to three further fields of a version 2 header. They may contain what looks like a header, or like its end.
fn tlvs(rng: &mut Rng) -> Vec<u8> {
    let mut fields = Vec::new();
    for _ in 0..rng.below(4) {
        let value = rng.pick(&[&b""[..], b"\r\n", b"PROXY ", &V2_SIGNATURE, &[7; 100]]);
        fields.push(rng.pick(&[0x01, 0x02, 0x04, 0xE0]));
        fields.extend(u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
        fields.extend(value);
    }
    fields
}

/// A header that names no TCP connection.
fn without_addresses(rng: &mut Rng, client: SocketAddr) -> Vec<u8> {
    match rng.below(4) {
        0 => b"PROXY UNKNOWN\r\n".to_vec(),
        1 => b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
        // LOCAL: a connection of the proxy itself, whatever follows.
        2 => v2(client, 0x20, &tlvs(rng)),
        _ => v2_of_parts(0x21, 0, &tlvs(rng)),
    }
}

/// A header that is refused.
fn invalid(rng: &mut Rng, client: SocketAddr) -> Header {
    let from = |bytes: Vec<u8>, decided_at: usize| Header { bytes, meaning: Meaning::Invalid(decided_at) };
    let whole = |bytes: Vec<u8>| Header { meaning: Meaning::Invalid(bytes.len()), bytes };
    match rng.below(8) {
        // None: a line of the stream. A stream of no bytes ends before the header.
        0 => from(b"x\n".to_vec(), 1),
        // A wrong byte in the signature.
        1 => {
            let mut bytes = v2(client, 0x21, &[]);
            let index = rng.index(V2_SIGNATURE.len());
            bytes[index] = b'x';
            from(bytes, index + 1)
        }
        2 => {
            let mut bytes = v1(client);
            let index = rng.index(6);
            bytes[index] = b'x';
            from(bytes, index + 1)
        }
        3 => from(v2(client, rng.pick(&[0x11, 0x22, 0x2F]), &[]), 13),
        // Longer than any header, by its length field, and by its line.
        4 => from([&v2_of_parts(0x21, 0x11, &[])[..14], &[0xFF, 0xFF], &[0; 20]].concat(), V2_FIXED_BYTES),
        5 => from([&b"PROXY TCP4 "[..], &[b'1'; 96]].concat(), 107),
        // Too short for its addresses.
        6 => whole(v2_of_parts(0x21, 0x21, &[1; 12])),
        _ => {
            let line = rng.pick(&[
                "TCP4 1.2.3 1.2.3.4 1 2",
                "TCP4 ::1 ::1 1 2",
                "TCP4 1.2.3.4 1.2.3.4 1 65536",
                "tcp4 1.2.3.4 1.2.3.4 1 2",
            ]);
            whole(format!("PROXY {line}\r\n").into_bytes())
        }
    }
}
