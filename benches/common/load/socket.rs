//! Connections to the server: opening, probing with an echo, and orderly close.
//!
//! The sockets are blocking, so that setup and teardown are sequential code. The loops in between pass `DONTWAIT` with
//! each call.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, bind, connect, recv, send, shutdown,
    socket_with,
    sockopt::{self, Timeout},
};

use super::{Explain, LoadParameters};
use crate::common::Outcome;
use crate::common::traffic::Pattern;

/// Timeout for any answer of the server, in seconds.
pub(super) const ANSWER_SECONDS: u64 = 10;

/// Number of source addresses, 127.0.0.2 to 127.0.0.250, used in turn. The end that closes first keeps its port in
/// TIME_WAIT for a minute, and an address has some 28,000 ports.
const SOURCE_ADDRESSES: usize = 249;

/// Maximum connections that may still be in the listener's accept queue of 4096. An overflow would cost a second.
const MAX_IN_PROGRESS: usize = 256;

const PROBE_BYTES: usize = 64;

/// Opens a connection. `index` selects the source address.
pub(super) fn open(port: u16, index: usize) -> Outcome<OwnedFd> {
    let kind = SocketType::STREAM;
    let stream = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None).explain("socket")?;
    let last_byte = u8::try_from(2 + index % SOURCE_ADDRESSES).unwrap_or(2);
    bind(&stream, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last_byte), 0)).explain("bind")?;
    connect(&stream, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).explain("connect")?;
    Ok(stream)
}

/// Opens all connections. When this returns, the server has accepted them: it accepts in order of connecting, and the
/// last connection has had an echo.
pub(super) fn open_all(parameters: &LoadParameters) -> Outcome<Vec<OwnedFd>> {
    let count = parameters.traffic.connections;
    let each_echoes = parameters.traffic.pattern == Pattern::SilentAfterOne;
    let mut streams = Vec::with_capacity(count);
    for index in 0..count {
        let stream = open(parameters.port, index)?;
        sockopt::set_tcp_nodelay(&stream, true).explain("setsockopt")?;
        let timeout = Some(Duration::from_secs(ANSWER_SECONDS));
        sockopt::set_socket_timeout(&stream, Timeout::Recv, timeout).explain("setsockopt")?;
        let ends_batch = (index + 1) % MAX_IN_PROGRESS == 0 || index + 1 == count;
        if ends_batch || each_echoes {
            echo_once(&stream)?;
        }
        streams.push(stream);
    }
    Ok(streams)
}

fn echo_once(stream: &OwnedFd) -> Outcome<()> {
    send(stream, &[0; PROBE_BYTES], SendFlags::NOSIGNAL).explain("send")?;
    let mut buffer = [0; PROBE_BYTES];
    let mut missing_bytes = PROBE_BYTES;
    while missing_bytes > 0 {
        match recv(stream, &mut buffer[..missing_bytes], RecvFlags::empty()) {
            Ok((0, _)) => return Err("the server closed a new connection".to_owned()),
            Ok((received, _)) => missing_bytes -= received,
            Err(Errno::AGAIN) => return Err(format!("no echo within {ANSWER_SECONDS} s")),
            Err(error) => return Err(error).explain("recv"),
        }
    }
    Ok(())
}

/// Closes every connection in order: shut down writing, read the remaining bytes, wait for the server's end.
pub(super) fn close_all<'a>(streams: impl IntoIterator<Item = &'a OwnedFd, IntoIter: Clone>) -> Outcome<()> {
    let streams = streams.into_iter();
    for stream in streams.clone() {
        // Fails for a connection that is already closed, which is fine.
        let _ = shutdown(stream, Shutdown::Write);
    }
    let mut buffer = vec![0; 64 << 10];
    for stream in streams {
        loop {
            match recv(stream, &mut buffer[..], RecvFlags::empty()) {
                Ok((1.., _)) => {}
                Err(Errno::AGAIN) => {
                    return Err(format!("the server kept a finished connection open for {ANSWER_SECONDS} s"));
                }
                Ok((0, _)) | Err(_) => break,
            }
        }
    }
    Ok(())
}
