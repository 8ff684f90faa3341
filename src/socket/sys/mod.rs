//! Differences between operating systems, behind one set of functions.
//!
//! `--cfg multiconn_fallbacks` (`scripts/test-fallbacks`) selects on Linux what systems without a feature use, so that
//! the tests cover it.

#[cfg(all(any(target_os = "linux", target_os = "android"), not(multiconn_fallbacks)))]
mod linux;
#[cfg(all(any(target_os = "linux", target_os = "android"), not(multiconn_fallbacks)))]
pub(super) use linux::{
    choose_from_all_ports, delivery, hop_limit, limit_hops, merge_datagrams, nonblocking, overrun,
    receive_with_arrival, received_at, received_hops, received_segment, report_arrivals, report_overrun, segment,
};

#[cfg(any(multiconn_fallbacks, not(any(target_os = "linux", target_os = "android"))))]
mod other;
#[cfg(any(multiconn_fallbacks, not(any(target_os = "linux", target_os = "android"))))]
pub(super) use other::{
    choose_from_all_ports, delivery, hop_limit, limit_hops, merge_datagrams, nonblocking, overrun,
    receive_with_arrival, received_at, received_hops, received_segment, report_arrivals, report_overrun, segment,
};

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

use rustix::net::SendFlags;
use socket2::{Domain, Socket};
use std::io;
use std::os::unix::net::UnixStream;

/// Whether the kernel distributes connections and datagrams over the sockets of a port (`SO_REUSEPORT`). Elsewhere one
/// socket would get them all, so the workers share a single listener, and one worker serves a UDP socket.
pub(super) const REUSE_PORT_BALANCES: bool =
    cfg!(all(any(target_os = "linux", target_os = "android"), not(multiconn_fallbacks)));

/// Whether the kernel timestamps the arrival of each segment and datagram (socket(7), `SO_TIMESTAMPNS`). Other systems do
/// so for datagrams only, in microseconds.
pub const REPORTS_ARRIVALS: bool = cfg!(all(any(target_os = "linux", target_os = "android"), not(multiconn_fallbacks)));

/// Linux reports twice the buffer size that was asked for: the other half is for its own bookkeeping (socket(7),
/// `SO_RCVBUF`).
pub(super) const REPORTED_PER_ASKED: usize = if cfg!(any(target_os = "linux", target_os = "android")) { 2 } else { 1 };

/// Flags of every send: no SIGPIPE. Where there is no flag, an option of the socket does that: mio sets it, and
/// [`stream_pair`].
#[cfg(not(target_vendor = "apple"))]
pub(super) const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(super) const SEND_FLAGS: SendFlags = SendFlags::empty();

/// Both ends of a channel between processes, which can carry descriptors (unix(7)).
pub(super) fn stream_pair() -> io::Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    #[cfg(target_vendor = "apple")]
    for end in [&ours, &theirs] {
        socket2::SockRef::from(end).set_nosigpipe(true)?;
    }
    Ok((ours, theirs))
}

/// Keeps out datagrams for groups that only other sockets have joined (`IP_MULTICAST_ALL`). Other systems than Linux do
/// so anyway.
#[allow(unused_variables, clippy::unnecessary_wraps, reason = "only Linux needs a call, which can fail")]
pub(super) fn only_own_groups(socket: &Socket, is_ipv6: bool) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        if is_ipv6 {
            socket.set_multicast_all_v6(false)?;
        }
        socket.set_multicast_all_v4(false)?;
    }
    Ok(())
}

/// Leaves the port of a bound socket to connect(2), which can choose a port that other connections use towards other
/// targets (ip(7), `IP_BIND_ADDRESS_NO_PORT`). Elsewhere bind(2) chooses it.
#[allow(unused_variables, clippy::unnecessary_wraps, reason = "only Linux has the option, which can fail")]
pub(super) fn choose_port_later(socket: &Socket) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
    Ok(())
}

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
