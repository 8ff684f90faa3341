//! Network namespaces, and datagrams with a forged source. Both need privileges that not every machine grants.

use super::{Program, skipped, works};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::SocketAddr;
use std::process::Command;

/// Runs `work` and the programs it starts in a new network namespace that `script` configures. Where that is not
/// possible, reports that `what` is skipped.
#[cfg(target_os = "linux")]
pub(crate) fn in_own_network(what: &str, script: &str, work: impl FnOnce() + Send) {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd;
    let start = |then: &str| ["--net", "sh", "-c", &format!("{script} && {then}")].map(str::to_owned);
    if !works(Command::new("unshare").args(start("true"))) {
        return skipped(what, "a network of our own takes the right to unshare, and ip(8)");
    }
    let keeper = Program::spawn(Command::new("unshare").args(start("echo ready && exec sleep 300")));
    keeper.await_stdout("ready");
    let namespace = std::fs::File::open(format!("/proc/{}/ns/net", keeper.pid().as_raw_nonzero())).unwrap();
    let isolated = || {
        // The namespace applies to this thread and its child processes.
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        work();
    };
    std::thread::scope(|scope| scope.spawn(isolated).join().unwrap());
}

/// Sends `count` IPv4 datagrams to `to` with the forged source `from`, each with different bytes. Returns whether they
/// were sent; without the privilege, reports that `what` is skipped.
pub(crate) fn forge(what: &str, from: SocketAddr, to: SocketAddr, count: u16) -> bool {
    let Ok(socket) = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)) else {
        skipped(what, "raw sockets take the right to open them");
        return false;
    };
    socket.bind(&SockAddr::from(SocketAddr::new(from.ip(), 0))).unwrap();
    for number in 0..count {
        // A UDP header (RFC 768) without a checksum, and two bytes.
        let fields = [from.port(), to.port(), 10, 0, number];
        let datagram: Vec<u8> = fields.into_iter().flat_map(u16::to_be_bytes).collect();
        socket.send_to(&datagram, &SockAddr::from(SocketAddr::new(to.ip(), 0))).unwrap();
    }
    true
}
