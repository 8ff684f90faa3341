//! macOS and FreeBSD, and the fallbacks on Linux.

use crate::socket::tcp_info::Delivery;
use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// Opens a nonblocking socket that is closed on exec.
pub(in crate::socket) fn nonblocking(domain: Domain, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// These systems do not report dropped datagrams per socket.
#[allow(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
pub(in crate::socket) fn report_overrun(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// See [`report_overrun`].
pub(in crate::socket) fn overrun(_control: &ControlMessageOwned) -> Option<u32> {
    None
}

/// Hop limits are reported and set differently, and are left alone.
#[allow(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
pub(in crate::socket) fn limit_hops(_socket: &Socket, _address: SocketAddr, _hops: u8) -> io::Result<()> {
    Ok(())
}

/// See [`limit_hops`].
pub(in crate::socket) fn received_hops(_control: &ControlMessageOwned) -> Option<u8> {
    None
}

/// See [`limit_hops`].
pub(in crate::socket) fn hop_limit(_hops: &libc::c_int, _is_v4: bool) -> Option<ControlMessage<'_>> {
    None
}

/// These systems have no such call, or count differently.
pub(in crate::socket) fn delivery(_socket: &mio::net::TcpStream) -> Option<Delivery> {
    None
}
