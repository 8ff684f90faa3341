//! Blocking peers on real sockets. Every socket call is bounded by [`PATIENCE`].

use super::{PATIENCE, uninterrupted};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Connects to `address`.
#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE);
    let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("the time is not zero");
    stream
}

/// Connects to `address` from another loopback address, such as 127.0.0.2.
#[track_caller]
pub(crate) fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let source: IpAddr = source.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a descriptor is free");
    socket.bind(&SocketAddr::new(source, 0).into()).expect("every 127.x.x.x is this machine");
    socket.connect_timeout(&address.into(), PATIENCE).expect("the server listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    socket.set_write_timeout(Some(PATIENCE)).expect("the time is not zero");
    socket.into()
}

/// Connects to the Unix socket at `path`.
#[track_caller]
pub(crate) fn connect_unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path);
    let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()));
    stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("the time is not zero");
    stream
}

/// Pseudorandom bytes without nearby repetition, a different sequence for every `seed`. Lost, duplicated, swapped or
/// foreign bytes therefore show.
pub(crate) fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// Sends `message`, which must fit the socket buffers, and expects it back.
#[track_caller]
pub(crate) fn echo(stream: &mut (impl Read + Write), message: &[u8]) {
    stream.write_all(message).expect("the server takes the message");
    let mut reply = vec![0; message.len()];
    stream.read_exact(&mut reply).expect("the server answers the message");
    assert!(reply == message, "the reply differs from the message of {} bytes", message.len());
}

/// Sends `message`, shuts down the sending half, and expects the message and then end of input.
#[track_caller]
pub(crate) fn echo_all(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(message).expect("the server takes the message");
    stream.shutdown(std::net::Shutdown::Write).expect("the connection is up");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("the server answers and closes");
    assert!(reply == message, "{} bytes were sent, {} came back", message.len(), reply.len());
}

/// Expects any output, and a reset instead of end of input.
#[track_caller]
pub(crate) fn expect_reset(stream: &mut impl Read) {
    let error = stream.read_to_end(&mut Vec::new()).expect_err("the end looks like that of a whole reply");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

/// Connects to `address`, and expects a reset, which may arrive before connect(2) returns.
#[track_caller]
pub(crate) fn expect_reset_of_new(address: SocketAddr) {
    match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(mut stream) => {
            stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
            expect_reset(&mut stream);
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}

/// Expects end of input from the server.
#[track_caller]
pub(crate) fn expect_end(stream: &mut impl Read) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => assert!(rest.is_empty(), "{} bytes came before the end", rest.len()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("the server did not close within {PATIENCE:?}"),
        Err(error) => panic!("the server did not close in order: {error}"),
    }
}

/// Expects that the server closed without an answer: normally or, with unread input, with a reset.
#[track_caller]
pub(crate) fn expect_closed(stream: &mut impl Read) {
    match uninterrupted(|| stream.read(&mut [0])) {
        Ok(count) => assert_eq!(count, 0, "somebody who should be closed was answered"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}

/// Closes the connection with a reset, which discards unsent and unread bytes (socket(7), `SO_LINGER`).
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("the option exists");
    drop(stream);
}
