//! Headers that are parsed, truncated, corrupted, and received from sockets.

use super::{Address, MAX_V2_BYTES, ProxyHeader, Stream, WITHOUT_ADDRESSES, parse, receive_header, v2};
use crate::socket::ProxyVersion;
use mio::net::{TcpStream, UnixStream};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use rustix::io::Errno;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

fn address(text: &str) -> Address {
    Address::Ip(text.parse().expect("an address"))
}

fn ready(source: &Address, destination: &Address) -> ProxyHeader {
    ProxyHeader::Ready { source: Some(source.clone()), destination: Some(destination.clone()) }
}

/// A version 2 header by its parts.
fn v2_header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a short block").to_be_bytes();
    [v2::PROTOCOL_PREFIX, &[command, family], &length, block].concat()
}

fn is_invalid(bytes: &[u8]) -> bool {
    matches!(parse(bytes), (ProxyHeader::Invalid(_), 0))
}

fn versions() -> impl Strategy<Value = ProxyVersion> {
    prop_oneof![Just(ProxyVersion::V1), Just(ProxyVersion::V2)]
}

/// Two addresses of one IP version.
fn pairs() -> impl Strategy<Value = (Address, Address)> {
    let v4 = any::<[(u32, u16); 2]>().prop_map(|pair| pair.map(|(ip, port)| (Ipv4Addr::from(ip), port).into()));
    let v6 = any::<[(u128, u16); 2]>().prop_map(|pair| {
        // Never an IPv4-mapped address.
        pair.map(|(ip, port)| (Ipv6Addr::from(ip | 1 << 127), port).into())
    });
    prop_oneof![v4, v6]
        .prop_map(|[source, destination]: [SocketAddr; 2]| (Address::Ip(source), Address::Ip(destination)))
}

proptest! {
    #[test]
    fn a_header_is_parsed_back(version in versions(), (source, destination) in pairs(), rest in any::<Vec<u8>>()) {
        let header = version.header(&source, &destination);
        let parsed = parse(&[&header[..], &rest].concat());
        assert_eq!(parsed, (ready(&source, &destination), header.len()));
    }

    #[test]
    fn every_truncation_is_pending(version in versions(), (source, destination) in pairs()) {
        let header = version.header(&source, &destination);
        for length in 0..header.len() {
            assert_eq!(parse(&header[..length]), (ProxyHeader::Pending, 0), "{length} of {header:?}");
        }
    }

    #[test]
    fn a_wrong_signature_is_invalid_at_its_first_wrong_byte(version in versions(), index in 0_usize..12, byte in any::<u8>()) {
        let mut header = version.header(&address("192.0.2.1:1"), &address("192.0.2.2:2"));
        let index = if version == ProxyVersion::V1 { index % 6 } else { index };
        // The first byte alone tells the two versions apart.
        let is_other = header[index] != byte && !(index == 0 && (byte == b'P' || byte == b'\r'));
        header[index] = byte;
        assert_eq!(is_invalid(&header[..=index]), is_other, "{index} {byte}");
        assert!(!is_invalid(&header[..index]));
    }

    #[test]
    fn any_bytes_are_parsed_without_a_panic(version in versions(), bytes in any::<Vec<u8>>(), kept in 0_usize..16) {
        let mut header = version.header(&address("[2001:db8::1]:1"), &address("[2001:db8::2]:2"));
        header.truncate(kept);
        header.extend(bytes);
        let (parsed, length) = parse(&header);
        assert!(length <= header.len());
        assert_eq!(length > 0, matches!(parsed, ProxyHeader::Ready { .. }));
    }
}

#[test]
fn a_header_without_addresses_is_parsed_back() {
    let unix = Address::Unix("m.sock".into());
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        assert_eq!(parse(&version.header(&unix, &unix)).0, WITHOUT_ADDRESSES);
    }
}

#[test]
fn a_line_is_parsed_strictly() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN  a b c d e f g\r\n", &longest] {
        assert_eq!(parse(unknown.as_bytes()), (WITHOUT_ADDRESSES, unknown.len()), "{unknown:?}");
    }
    for bad in [
        "PROXY \r\n",
        "PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOWN\n",
        "PROXY TCP4 1.1.1.\u{e9} 2.2.2.2 1 2\r\n",
    ] {
        assert!(is_invalid(bad.as_bytes()), "{bad:?}");
    }
    let endless = [b"PROXY UNKNOWN ", &[b'x'; 93][..]].concat();
    assert_eq!(parse(&endless[..106]).0, ProxyHeader::Pending);
    assert!(is_invalid(&endless));
}

#[test]
fn a_binary_header_is_bounded_and_its_further_fields_are_skipped() {
    let block = [192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2];
    let (source, destination) = (address("192.0.2.1:1"), address("192.0.2.2:2"));
    let with_fields = |bytes: usize| v2_header(0x21, 0x11, &[&block[..], &vec![7; bytes]].concat());
    let largest = with_fields(MAX_V2_BYTES - 28);
    assert_eq!(parse(&largest), (ready(&source, &destination), MAX_V2_BYTES));
    assert_eq!(parse(&largest[..MAX_V2_BYTES - 1]).0, ProxyHeader::Pending);
    // The length alone decides, and so does the command.
    assert!(is_invalid(&v2_header(0x31, 0x11, &block)[..13]));
    assert!(is_invalid(&with_fields(MAX_V2_BYTES - 27)[..16]));
    for (command, family, length) in
        [(0x11, 0x11, 12), (0x22, 0x11, 12), (0x21, 0x41, 12), (0x21, 0x13, 12), (0x21, 0x11, 11)]
    {
        assert!(is_invalid(&v2_header(command, family, &block[..length])), "{command:x} {family:x} {length}");
    }
}

#[test]
fn a_binary_header_without_a_tcp_connection_has_no_addresses() {
    let block = [7; 216];
    // A check of the proxy itself, a datagram, Unix sockets, and an unknown protocol.
    for (command, family, length) in
        [(0x20, 0, 0), (0x20, 0x11, 0), (0x20, 0xff, 9), (0x21, 0x12, 12), (0x21, 0x31, 216), (0x21, 0, 9)]
    {
        let header = v2_header(command, family, &block[..length]);
        assert_eq!(parse(&header), (WITHOUT_ADDRESSES, header.len()), "{command:x} {family:x}");
    }
}

/// A connected stream, and the peer that writes to it.
fn pairs_of_streams() -> [(Stream, Box<dyn Peer>); 2] {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let peer = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    peer.set_nodelay(true).expect("a TCP socket");
    let (accepted, _) = listener.accept().expect("a connection");
    accepted.set_nonblocking(true).expect("a socket");
    let (unix, unix_peer) = UnixStream::pair().expect("descriptors are free");
    [(Stream::Tcp(TcpStream::from_std(accepted)), Box::new(peer)), (Stream::Unix(unix), Box::new(unix_peer))]
}

trait Peer: Write {
    fn shut(&self);
}

impl Peer for std::net::TcpStream {
    fn shut(&self) {
        self.shutdown(Shutdown::Write).expect("a connected socket");
    }
}

impl Peer for UnixStream {
    fn shut(&self) {
        self.shutdown(Shutdown::Write).expect("a connected socket");
    }
}

/// Receives until the result is no longer `before`. Loopback delivers at once, but not within the write.
fn received_after(before: &ProxyHeader, stream: &Stream, is_hung_up: bool) -> ProxyHeader {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let received = receive_header(stream, is_hung_up).expect("a connected socket");
        if received != *before || Instant::now() > end {
            return received;
        }
    }
}

/// Number of bytes that can be read now.
fn readable(stream: &mut Stream) -> Vec<u8> {
    let mut bytes = [0; 256];
    let read = match stream {
        Stream::Tcp(socket) => socket.read(&mut bytes),
        Stream::Unix(socket) => socket.read(&mut bytes),
        Stream::Tls(_) => unreachable!("no TLS"),
    };
    match read {
        Ok(count) => bytes[..count].to_vec(),
        Err(error) => {
            assert_eq!(Errno::from_io_error(&error), Some(Errno::AGAIN));
            Vec::new()
        }
    }
}

#[test]
fn a_header_in_two_parts_is_received_at_every_split() {
    let (source, destination) = (address("192.0.2.1:56324"), address("192.0.2.2:443"));
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let header = version.header(&source, &destination);
        for split in 1..header.len() {
            for (mut stream, mut peer) in pairs_of_streams() {
                assert_eq!(receive_header(&stream, false).expect("a socket"), ProxyHeader::Pending);
                peer.write_all(&header[..split]).expect("a connection");
                assert_eq!(receive_header(&stream, false).expect("a socket"), ProxyHeader::Pending);
                peer.write_all(&[&header[split..], b"GET"].concat()).expect("a connection");
                let received = received_after(&ProxyHeader::Pending, &stream, false);
                assert_eq!(received, ready(&source, &destination), "{version} {split}");
                assert_eq!(readable(&mut stream), b"GET", "{version} {split}");
            }
        }
    }
}

#[test]
fn an_end_before_or_within_a_header_is_an_error() {
    let header = ProxyVersion::V2.header(&address("192.0.2.1:1"), &address("192.0.2.2:2"));
    for length in [0, 1, header.len() - 1] {
        for (stream, mut peer) in pairs_of_streams() {
            peer.write_all(&header[..length]).expect("a connection");
            peer.shut();
            let received = received_after(&ProxyHeader::Pending, &stream, length > 0);
            assert!(matches!(&received, ProxyHeader::Invalid(detail) if detail.contains("ended")), "{received:?}");
        }
    }
    for (stream, mut peer) in pairs_of_streams() {
        peer.write_all(&header).expect("a connection");
        peer.shut();
        // A header that is complete counts, even if nothing follows.
        let received = received_after(&ProxyHeader::Pending, &stream, false);
        assert!(matches!(received, ProxyHeader::Ready { .. }), "{received:?}");
    }
}
