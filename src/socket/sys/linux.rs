//! Linux and Android.

use nix::sys::socket::{ControlMessageOwned, setsockopt, sockopt};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use socket2::{Domain, Socket, Type};
use std::io;
use std::os::fd::OwnedFd;

/// Opens a nonblocking socket that is closed on exec, with one system call.
pub(in crate::socket) fn nonblocking(domain: Domain, kind: Type) -> io::Result<Socket> {
    Socket::new(domain, kind.nonblocking(), None)
}

/// Both ends of a channel that keeps packets apart and carries descriptors (unix(7), `SOCK_SEQPACKET`).
pub(in crate::socket) fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Makes `socket` report how many datagrams the kernel has dropped on it (`SO_RXQ_OVFL`).
pub(in crate::socket) fn report_overrun(socket: &Socket) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::RxqOvfl, &1)?)
}

/// How many datagrams the kernel has dropped, if `control` holds that.
pub(in crate::socket) fn overrun(control: &ControlMessageOwned) -> Option<u32> {
    match control {
        ControlMessageOwned::RxqOvfl(dropped) => Some(*dropped),
        _ => None,
    }
}

/// Keeps out datagrams for groups that only other sockets have joined (`IP_MULTICAST_ALL`).
pub(in crate::socket) fn only_own_groups(socket: &Socket, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 {
        socket.set_multicast_all_v6(false)?;
    }
    socket.set_multicast_all_v4(false)
}
