//! macOS and FreeBSD.

use nix::sys::socket::ControlMessageOwned;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use socket2::{Domain, Socket, Type};
use std::io;
use std::os::fd::OwnedFd;

/// Opens a nonblocking socket that is closed on exec.
pub(in crate::socket) fn nonblocking(domain: Domain, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Both ends of a channel that keeps packets apart and carries descriptors. macOS has none (`EPROTONOSUPPORT`), so a
/// handover fails there before anything has changed.
pub(in crate::socket) fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::empty(), None)?;
    for end in [&ours, &theirs] {
        fcntl_setfd(end, FdFlags::CLOEXEC)?;
        #[cfg(target_vendor = "apple")]
        socket2::SockRef::from(end).set_nosigpipe(true)?;
    }
    Ok((ours, theirs))
}

/// These systems do not report dropped datagrams for each socket.
#[allow(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
pub(in crate::socket) fn report_overrun(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// See [`report_overrun`].
pub(in crate::socket) fn overrun(_control: &ControlMessageOwned) -> Option<u32> {
    None
}

/// These systems deliver only datagrams for groups that the socket itself has joined.
#[allow(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
pub(in crate::socket) fn only_own_groups(_socket: &Socket, _is_ipv6: bool) -> io::Result<()> {
    Ok(())
}
