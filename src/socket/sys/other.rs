//! macOS and FreeBSD, and the fallbacks on Linux.

use crate::socket::tcp_info::Delivery;
use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned};
use socket2::{Domain, Socket, Type};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// Opens a nonblocking socket that is closed on exec.
pub(in crate::socket) fn nonblocking(domain: Domain, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// These systems choose among all ports anyway.
pub(in crate::socket) fn choose_from_all_ports(_socket: &Socket) {}

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

/// These systems do not merge datagrams.
pub(in crate::socket) fn merge_datagrams(_socket: &impl AsFd) -> bool {
    false
}

/// See [`merge_datagrams`].
pub(in crate::socket) fn received_segment(_control: &ControlMessageOwned) -> Option<usize> {
    None
}

/// See [`merge_datagrams`].
pub(in crate::socket) fn segment(_bytes: &u16) -> Option<ControlMessage<'_>> {
    None
}

/// Arrivals are not reported: these systems timestamp datagrams only, in microseconds.
#[allow(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
pub(in crate::socket) fn report_arrivals(_socket: &impl AsFd) -> io::Result<()> {
    Ok(())
}

/// See [`report_arrivals`].
pub(in crate::socket) fn received_at(_control: &ControlMessageOwned) -> Option<Duration> {
    None
}

/// See [`report_arrivals`].
pub(in crate::socket) fn receive_with_arrival(
    mut socket: &mio::net::TcpStream,
    room: &mut [u8],
) -> io::Result<(usize, Option<Duration>)> {
    Ok((socket.read(room)?, None))
}

/// These systems have no such call, or count differently.
pub(in crate::socket) fn delivery(_socket: &mio::net::TcpStream) -> Option<Delivery> {
    None
}
