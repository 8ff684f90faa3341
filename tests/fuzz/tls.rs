//! TLS bytes into a session, on both sides: damaged bytes never become plaintext, and the memory is counted.

use super::{Choices, Memory, Target};
use crate::socket::{
    ByteStream, Identity, MAX_TLS_BYTES, Stream, TlsAcceptor, TlsClientOptions, TlsConnector, TlsServerOptions,
};
use mio::net::UnixStream;
use std::io::{ErrorKind, Read, Write};
use std::sync::LazyLock;

/// Two sessions with their handshakes, and the buffers of the test.
const MEMORY: Memory = Memory { fixed: 2 * 1024 * 1024, per_byte: 64 };

/// What a session may hold beyond the bytes that it reports: the objects around it.
const UNCOUNTED_BYTES: usize = 16 * 1024;

/// Steps of a conversation.
const MAX_STEPS: usize = 200;

static ACCEPTOR: LazyLock<TlsAcceptor> = LazyLock::new(|| {
    let options = TlsServerOptions::new(Identity::SelfSigned { names: Vec::new() });
    TlsAcceptor::new(&options).expect("it is self-signed")
});

static CONNECTOR: LazyLock<TlsConnector> = LazyLock::new(|| {
    let options = TlsClientOptions { insecure: true, ..TlsClientOptions::new("localhost") };
    TlsConnector::new(&options).expect("the name is valid")
});

#[test]
fn tls_server() {
    Target { name: "tls_server", memory: MEMORY, check: |input| check_bytes(input, accept) }.fuzz();
}

#[test]
fn tls_client() {
    Target { name: "tls_client", memory: MEMORY, check: |input| check_bytes(input, connect) }.fuzz();
}

#[test]
fn tls_conversation() {
    Target { name: "tls_conversation", memory: MEMORY, check: check_conversation }.fuzz();
}

fn accept(socket: UnixStream) -> Stream {
    ACCEPTOR.accept(Stream::Unix(socket)).expect("the configuration is valid")
}

fn connect(socket: UnixStream) -> Stream {
    CONNECTOR.connect(Stream::Unix(socket)).expect("the configuration is valid")
}

/// Bytes of a peer that has no keys: none is plaintext.
fn check_bytes(input: &[u8], open: fn(UnixStream) -> Stream) {
    let mut choices = Choices(input);
    let part_bytes = 1 + choices.word();
    let (socket, mut peer) = UnixStream::pair().expect("descriptors are free");
    let mut side = None;
    let used = allocation_counter::measure(|| {
        let stream = side.insert(Side::new(open(socket)));
        stream.turn();
        for part in choices.0.chunks(part_bytes) {
            if peer.write_all(part).is_err() {
                break;
            }
            stream.turn();
            drain(&mut peer);
        }
    });
    let side = side.expect("it was made above");
    assert_eq!(side.received, 0, "bytes without encryption are plaintext");
    let limit = side.stream.held_bytes() + UNCOUNTED_BYTES;
    assert!(used.bytes_current <= i64::try_from(limit).unwrap_or(i64::MAX), "{} of {limit} bytes", used.bytes_current);
}

/// One end of a conversation. Both send the same pattern, so that each byte is known by its position.
struct Side {
    stream: Stream,
    /// Bytes of the pattern that were written and read.
    sent: usize,
    received: usize,
    has_failed: bool,
    has_ended: bool,
}

impl Side {
    fn new(stream: Stream) -> Self {
        Self { stream, sent: 0, received: 0, has_failed: false, has_ended: false }
    }

    /// Reads until nothing is left, as a turn of a connection does.
    fn turn(&mut self) {
        let mut buffer = [0; 4096];
        while !self.has_failed && !self.has_ended {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.has_ended = true,
                Ok(count) => {
                    for byte in &buffer[..count] {
                        assert_eq!(*byte, pattern(self.received), "byte {}", self.received);
                        self.received += 1;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.has_failed = true,
            }
        }
        // An alert is sent even after a fault.
        let _ = self.stream.flush();
        let held = self.stream.held_bytes();
        assert!(held <= MAX_TLS_BYTES, "{held} bytes are held");
    }

    fn write(&mut self, count: usize) {
        let bytes: Vec<u8> = (self.sent..self.sent + count).map(pattern).collect();
        if let Ok(written) = self.stream.write(&bytes) {
            self.sent += written;
        }
    }
}

/// The byte at a position; positions that are near each other, or a power of two apart, have different bytes.
#[allow(clippy::cast_possible_truncation, reason = "the low byte is wanted")]
fn pattern(position: usize) -> u8 {
    (position % 251) as u8
}

fn drain(socket: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // It ends with `WouldBlock`.
    let _ = socket.read_to_end(&mut bytes);
    bytes
}

/// A client and a server, with an attacker between them who has the input as a script. Each side reads a prefix of what
/// the other wrote; without an attack, all of it.
fn check_conversation(input: &[u8]) {
    let mut choices = Choices(input);
    let (client, mut from_client) = UnixStream::pair().expect("descriptors are free");
    let (server, mut from_server) = UnixStream::pair().expect("descriptors are free");
    let mut sides = [Side::new(connect(client)), Side::new(accept(server))];
    // Bytes on the way from each side.
    let mut ways = [Vec::new(), Vec::new()];
    let mut is_attacked = false;
    for _ in 0..MAX_STEPS {
        if choices.0.is_empty() {
            break;
        }
        let from = choices.below(2);
        match choices.below(8) {
            0..3 => deliver(&mut sides, &mut ways, [&mut from_client, &mut from_server], from, usize::MAX),
            3 => {
                let count = choices.word();
                deliver(&mut sides, &mut ways, [&mut from_client, &mut from_server], from, count);
            }
            4 => sides[from].write(choices.word() / 4),
            5 => drop(sides[from].stream.shut_sending()),
            _ => {
                is_attacked = true;
                attack(&mut ways[from], &mut choices);
            }
        }
    }
    if !is_attacked {
        for round in 0..20 {
            deliver(&mut sides, &mut ways, [&mut from_client, &mut from_server], round % 2, usize::MAX);
        }
    }
    for (side, other) in [(0, 1), (1, 0)] {
        let (received, sent) = (sides[side].received, sides[other].sent);
        assert!(received <= sent, "{received} bytes of {sent}");
        if !is_attacked && sides.iter().all(|side| !side.has_failed) {
            assert_eq!(received, sent, "without an attack");
        }
    }
}

/// Lets up to `count` bytes of one side arrive at the other.
fn deliver(sides: &mut [Side; 2], ways: &mut [Vec<u8>; 2], sockets: [&mut UnixStream; 2], from: usize, count: usize) {
    let [of_client, of_server] = sockets;
    sides[from].turn();
    let (source, target) = if from == 0 { (of_client, of_server) } else { (of_server, of_client) };
    ways[from].extend(drain(source));
    let way = &mut ways[from];
    let part = &way[..count.min(way.len())];
    // A socket that is full takes a part; one that was closed takes nothing more.
    let taken = target.write(part).unwrap_or_else(|error| match error.kind() {
        ErrorKind::WouldBlock => 0,
        _ => part.len(),
    });
    way.drain(..taken);
    sides[1 - from].turn();
}

/// Changes the bytes on one way.
fn attack(way: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let (kind, at, value) = (choices.below(5), choices.word() % (way.len() + 1), choices.byte());
    match kind {
        0 if at < way.len() => way[at] ^= 1 << (value % 8),
        1 => way.truncate(at),
        2 => way.insert(at, value),
        3 => {
            let count = choices.0.len().min(value.into());
            let (bytes, rest) = choices.0.split_at(count);
            way.splice(at..at, bytes.iter().copied());
            choices.0 = rest;
        }
        _ => {
            let end = (at + usize::from(value)).min(way.len());
            let part = way[at..end].to_vec();
            way.splice(at..at, part);
        }
    }
}
