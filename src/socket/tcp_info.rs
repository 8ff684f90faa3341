//! Acknowledged bytes of a TCP connection (tcp(7), `TCP_INFO`).
//!
//! A socket accepts output long before the peer does: several megabytes can wait in the kernel. Only acknowledgements
//! show whether a slow peer still takes data.

/// What the peer's system has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Bytes acknowledged since the connection opened.
    pub acknowledged_bytes: u64,
    /// The sending half is shut down, and some output or the FIN itself is not acknowledged yet.
    pub lacks_end: bool,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::delivery;

/// Other systems have no such call, or count differently.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn delivery(_socket: &mio::net::TcpStream) -> Option<Delivery> {
    None
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use super::Delivery;
    use nix::sys::socket::getsockopt;
    use nix::{getsockopt_impl, libc, sockopt_impl};

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
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
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
