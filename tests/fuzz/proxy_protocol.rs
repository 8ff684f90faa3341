//! PROXY protocol headers on a socket: the same header whatever the split, and nothing behind it is consumed.

use super::{Memory, Target};
use crate::socket::{Address, ProxyHeader, ProxyVersion, Stream, receive_header};
use mio::net::UnixStream;
use std::io::{Read, Write};

/// Longer headers are refused; more would not fit the buffer of a socket.
const MAX_INPUT_BYTES: usize = 16 * 1024;

const MEMORY: Memory = Memory { fixed: 32 * 1024, per_byte: 8 };

#[test]
fn proxy_protocol() {
    Target { name: "proxy_protocol", memory: MEMORY, check }.fuzz();
}

fn check(input: &[u8]) {
    let input = &input[..input.len().min(MAX_INPUT_BYTES)];
    let whole = receive(input, &[input.len()]);
    let sum = input.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    for split in [sum, sum / 16].map(|split| split % (input.len() + 1)) {
        assert_eq!(receive(input, &[split, input.len()]), whole, "split at {split}");
    }
    let (header, size) = whole;
    let limit = if input.starts_with(b"PROXY ") { 107 } else { 4096 };
    assert!(size <= limit, "a header of {size} bytes");
    if size == 0 {
        return;
    }
    // A header in one byte less is incomplete.
    assert_eq!(receive(&input[..size - 1], &[size - 1]), (ProxyHeader::Pending, 0));
    let ProxyHeader::Ready { source: Some(source), destination: Some(destination) } = &header else { return };
    let is_ipv4 = |address: &Address| matches!(address, Address::Ip(ip) if ip.is_ipv4());
    if is_ipv4(source) == is_ipv4(destination) {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let bytes = version.header(source, destination);
            assert_eq!(receive(&bytes, &[bytes.len()]), (header.clone(), bytes.len()), "as {version}");
        }
    }
}

/// Receives the header of a stream that arrives up to each of the `ends`. Returns its size as well: how many bytes were
/// consumed.
fn receive(input: &[u8], ends: &[usize]) -> (ProxyHeader, usize) {
    let (stream, mut peer) = UnixStream::pair().expect("descriptors are free");
    let mut stream = Stream::Unix(stream);
    let (mut header, mut sent) = (ProxyHeader::Pending, 0);
    for &end in ends {
        peer.write_all(&input[sent..end]).expect("it fits the socket's buffer");
        sent = end;
        if header == ProxyHeader::Pending {
            header = received(&stream, false);
        }
    }
    drop(peer);
    if header == ProxyHeader::Pending {
        let at_end = received(&stream, true);
        assert!(matches!(at_end, ProxyHeader::Invalid(_)), "{at_end:?} at the end");
    }
    let Stream::Unix(socket) = &mut stream else { unreachable!("made above") };
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).expect("the peer has closed");
    assert!(input.ends_with(&rest), "other bytes than those behind the header are left");
    let size = input.len() - rest.len();
    assert_eq!(size > 0, matches!(header, ProxyHeader::Ready { .. }), "{size} bytes are consumed");
    (header, size)
}

fn received(stream: &Stream, is_hung_up: bool) -> ProxyHeader {
    receive_header(stream, is_hung_up).expect("the socket works")
}
