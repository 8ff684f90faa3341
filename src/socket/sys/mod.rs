//! Differences between operating systems, behind one set of functions.
//!
//! `--cfg multiconn_fallbacks` selects on Linux what systems without a feature use, so that the tests cover it.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::{nonblocking, only_own_groups, overrun, report_overrun, seqpacket_pair};

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod other;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use other::{nonblocking, only_own_groups, overrun, report_overrun, seqpacket_pair};

#[cfg(not(target_os = "freebsd"))]
mod packet_info;
#[cfg(not(target_os = "freebsd"))]
pub(super) use packet_info::{V4Source, receive_v4_destinations, v4_destination};

#[cfg(target_os = "freebsd")]
mod destination_address;
#[cfg(target_os = "freebsd")]
pub(super) use destination_address::{V4Source, receive_v4_destinations, v4_destination};

#[cfg(not(any(target_vendor = "apple", multiconn_fallbacks)))]
mod many_datagrams;
#[cfg(not(any(target_vendor = "apple", multiconn_fallbacks)))]
pub(super) use many_datagrams::{receive_datagrams, send_datagrams};

#[cfg(any(target_vendor = "apple", multiconn_fallbacks))]
mod single_datagrams;
#[cfg(any(target_vendor = "apple", multiconn_fallbacks))]
pub(super) use single_datagrams::{receive_datagrams, send_datagrams};

use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Socket};
use std::io;

/// Flags of every send on a channel between processes: no SIGPIPE. [`seqpacket_pair`] does that where there is no flag.
#[cfg(not(target_vendor = "apple"))]
pub(super) const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(super) const SEND_FLAGS: SendFlags = SendFlags::empty();

/// Flags that close received descriptors on exec. macOS has none; a child process is started only after a whole handover.
#[cfg(not(target_vendor = "apple"))]
pub(super) const RECV_FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(target_vendor = "apple")]
pub(super) const RECV_FLAGS: RecvFlags = RecvFlags::empty();

/// The address family of `socket`, from its local address: not every system has `SO_DOMAIN`.
pub(super) fn domain(socket: &Socket) -> io::Result<Domain> {
    Ok(socket.local_addr()?.domain())
}

/// Whether `socket` listens. macOS does not report that (`SO_ACCEPTCONN`): a socket without a peer is taken for a
/// listener, and listen(2) fails if it is none.
pub(super) fn is_listener(socket: &Socket) -> io::Result<bool> {
    #[cfg(not(target_vendor = "apple"))]
    return socket.is_listener();
    #[cfg(target_vendor = "apple")]
    return Ok(socket.peer_addr().is_err());
}
