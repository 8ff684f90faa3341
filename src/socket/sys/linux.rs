//! Linux and Android.

use crate::socket::tcp_info::Delivery;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recvmsg, setsockopt, sockopt};
use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};
use socket2::{Domain, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Opens a nonblocking socket that is closed on exec, with one system call.
pub(in crate::socket) fn nonblocking(domain: Domain, kind: Type) -> io::Result<Socket> {
    Socket::new(domain, kind.nonblocking(), None)
}

/// `IP_LOCAL_PORT_RANGE` of ip(7), which libc lacks.
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

/// The lowest port, and above it the highest. The kernel cuts it to `net.ipv4.ip_local_port_range`.
const ALL_PORTS: u32 = 1 | (u16::MAX as u32) << 16;

sockopt_impl!(
    /// The local ports that connect(2) chooses from (Linux 6.3).
    LocalPortRange,
    SetOnly,
    libc::IPPROTO_IP,
    IP_LOCAL_PORT_RANGE,
    u32
);

/// Makes connect(2) choose among all local ports. By default it prefers every second port: when these 14,000 are taken, each
/// call tries them all before it takes another, which costs 1 ms. Linux before 6.14 does so with the option, too.
pub(in crate::socket) fn choose_from_all_ports(socket: &Socket) {
    // Linux before 6.3 has no such option; only speed is lost.
    let _ = setsockopt(socket, LocalPortRange, &ALL_PORTS);
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

/// Makes `socket` report the hop limit of received datagrams, and sets that of its own datagrams to `hops`.
pub(in crate::socket) fn limit_hops(socket: &Socket, address: SocketAddr, hops: u8) -> io::Result<()> {
    // An IPv6 socket also receives IPv4 datagrams.
    setsockopt(socket, sockopt::Ipv4RecvTtl, &true)?;
    socket.set_ttl_v4(hops.into())?;
    if address.is_ipv6() {
        setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)?;
        socket.set_unicast_hops_v6(hops.into())?;
    }
    Ok(())
}

/// The hop limit of a received datagram, if `control` holds it.
pub(in crate::socket) fn received_hops(control: &ControlMessageOwned) -> Option<u8> {
    match control {
        ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => (*hops).try_into().ok(),
        _ => None,
    }
}

/// Makes `socket` report when the kernel received each segment or datagram (`SO_TIMESTAMPNS`).
pub(in crate::socket) fn report_arrivals(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::ReceiveTimestampns, &true)?)
}

/// Makes `socket` receive several datagrams of a sender as one message (udp(7), `UDP_GRO`, Linux 5.0). Returns whether it does;
/// then it can also send several to a peer as one (`UDP_SEGMENT`, Linux 4.18).
pub(in crate::socket) fn merge_datagrams(socket: &impl AsFd) -> bool {
    setsockopt(socket, sockopt::UdpGroSegment, &true).is_ok()
}

/// The length of each datagram of a received message but for the last, if `control` holds that.
pub(in crate::socket) fn received_segment(control: &ControlMessageOwned) -> Option<usize> {
    match control {
        ControlMessageOwned::UdpGroSegments(bytes) => (*bytes).try_into().ok(),
        _ => None,
    }
}

/// The control message that makes the kernel split a message into datagrams of this many bytes.
#[allow(clippy::unnecessary_wraps, reason = "other systems have none")]
pub(in crate::socket) fn segment(bytes: &u16) -> Option<ControlMessage<'_>> {
    Some(ControlMessage::UdpGsoSegments(bytes))
}

/// When the kernel received a segment or datagram, as time since 1970, if `control` holds that.
pub(in crate::socket) fn received_at(control: &ControlMessageOwned) -> Option<Duration> {
    match control {
        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(*time)),
        _ => None,
    }
}

/// Storage for the control message of a timestamp, aligned for its header.
#[repr(align(8))]
struct TimestampControl([u8; 64]);

/// Reads from `socket`. Also returns when the kernel received the last segment of these bytes, as time since 1970, if it
/// [reports](report_arrivals) that.
#[inline]
pub(in crate::socket) fn receive_with_arrival(
    socket: &mio::net::TcpStream,
    room: &mut [u8],
) -> io::Result<(usize, Option<Duration>)> {
    let mut control = TimestampControl([0; 64]);
    let mut room = [IoSliceMut::new(room)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut room, Some(&mut control.0), MsgFlags::empty())?;
    let arrival = message.cmsgs().into_iter().flatten().find_map(|control| received_at(&control));
    Ok((message.bytes, arrival))
}

/// The control message that sets the hop limit of one datagram (ip(7), ipv6(7)).
#[allow(clippy::unnecessary_wraps, reason = "other systems have none")]
pub(in crate::socket) fn hop_limit(hops: &libc::c_int, is_v4: bool) -> Option<ControlMessage<'_>> {
    Some(if is_v4 { ControlMessage::Ipv4Ttl(hops) } else { ControlMessage::Ipv6HopLimit(hops) })
}

/// The length of `struct tcp_info` up to and including `tcpi_bytes_acked`, which Linux has since 4.1.
const INFO_BYTES: usize = 128;

// States in which our FIN is not acknowledged (tcp_states.h).
const FIN_WAIT1: u8 = 4;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;

sockopt_impl!(
    /// `TCP_INFO`, as bytes.
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u8; INFO_BYTES]
);

pub(in crate::socket) fn delivery(socket: &mio::net::TcpStream) -> Option<Delivery> {
    let info = getsockopt(socket, TcpInfo).ok()?;
    let (before, acknowledged) = info.split_last_chunk().expect("eight bytes of the count");
    let lacks_end = matches!(before[0], FIN_WAIT1 | LAST_ACK | CLOSING);
    Some(Delivery { acknowledged_bytes: u64::from_ne_bytes(*acknowledged), lacks_end })
}

#[cfg(test)]
mod tests {
    use super::delivery;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    #[test]
    fn acknowledged_bytes_are_counted_up_to_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut peer = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let (mut accepted, _) = listener.accept().expect("one has connected");
        let socket = mio::net::TcpStream::from_std(accepted.try_clone().expect("a descriptor is free"));
        let before = delivery(&socket).expect("it is a TCP socket");
        assert!(!before.lacks_end);
        accepted.write_all(&[1; 1000]).expect("it is connected");
        peer.read_exact(&mut [0; 1000]).expect("they were sent");
        accepted.shutdown(Shutdown::Write).expect("it is connected");
        assert_eq!(peer.read(&mut [0]).expect("an end in order"), 0);
        let deadline = Instant::now() + Duration::from_secs(20);
        while delivery(&socket).is_some_and(|now| now.lacks_end) {
            assert!(Instant::now() < deadline, "the end is never acknowledged");
            std::thread::yield_now();
        }
        let after = delivery(&socket).expect("it is a TCP socket");
        // The FIN counts as one byte.
        assert!(
            (1000..=1001).contains(&(after.acknowledged_bytes - before.acknowledged_bytes)),
            "{before:?} {after:?}"
        );
    }
}
