//! The kernel's state of a TCP socket of this machine (proc_net_tcp(5)).

use super::await_until;
use super::idle::is_peer_idle;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The state of a socket whose peer has closed or shut down its sending half.
pub(crate) const CLOSE_WAIT: u8 = 8;

/// A socket counts as full when nothing changes for this long, and its process sleeps.
const STILL: Duration = Duration::from_millis(100);

/// One row of the kernel's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketState {
    pub(crate) state: u8,
    /// Bytes sent but not acknowledged.
    pub(crate) unacknowledged: usize,
    /// Bytes received but not read.
    pub(crate) unread: usize,
}

/// The IPv4 socket at `local` that is connected to `remote`, if it exists; none on a system without procfs.
pub(crate) fn socket_state(local: SocketAddr, remote: SocketAddr) -> Option<SocketState> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let (local, remote) = (format!(":{:04X}", local.port()), format!(":{:04X}", remote.port()));
    table.lines().find_map(|line| {
        // sl, local address, remote address, state, tx_queue:rx_queue
        let fields: Vec<_> = line.split_whitespace().take(5).collect();
        let [_, at, to, state, queues] = fields[..] else { return None };
        let (unacknowledged, unread) = queues.split_once(':')?;
        let number = |digits| usize::from_str_radix(digits, 16).ok();
        let (unacknowledged, unread) = (number(unacknowledged)?, number(unread)?);
        let state = u8::from_str_radix(state, 16).ok()?;
        let is_wanted = at.ends_with(&local) && to.ends_with(&remote);
        is_wanted.then_some(SocketState { state, unacknowledged, unread })
    })
}

/// The inode of the socket at `local` that is connected to `remote`, if it exists; 0 until it is accepted.
pub(super) fn socket_inode(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let (local, remote) = (format!(":{:04X}", local.port()), format!(":{:04X}", remote.port()));
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines()).find_map(|line| {
        // The local address, the remote one, and the inode.
        let fields: Vec<_> = line.split_whitespace().take(10).collect();
        let [_, at, to, .., inode] = fields[..] else { return None };
        (at.ends_with(&local) && to.ends_with(&remote)).then(|| inode.parse().ok())?
    })
}

/// Waits until the server's socket of `peer`, which does not read, accepts no more output.
#[track_caller]
pub(crate) fn await_full(server: SocketAddr, peer: &TcpStream) {
    let mut before = None;
    await_until("the server's socket to be full", || {
        std::thread::sleep(STILL);
        let state = socket_state(server, peer.local_addr().expect("it is connected"));
        let is_still = state == std::mem::replace(&mut before, state);
        is_still && state.is_none_or(|state| state.unacknowledged > 0) && is_peer_idle([peer])
    });
}
