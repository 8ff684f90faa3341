//! TCP urgent data: one out-of-band byte (tcp(7)). All data around it is echoed.

use super::support::{await_until, connect, echo, expect_end, skipped, still_sending};
use super::{server, still_serves};
use rustix::net::{SendFlags, send};
use rustix::process::Signal;
use std::io::{Read, Write};

/// All data has arrived when the server reads. The first read stops at the urgent byte, which does not mean that the
/// socket is drained.
#[test]
fn data_around_an_urgent_byte_is_echoed() {
    let mut server = server(&["--workers", "1"]);
    let mut peers: Vec<_> = (0..10).map(|_| connect(server.address())).collect();
    for peer in &mut peers {
        peer.set_nodelay(true).unwrap();
        echo(peer, b"before");
    }
    server.signal(Signal::STOP);
    for peer in &mut peers {
        peer.write_all(b"aaa").unwrap();
        assert_eq!(send(&*peer, b"X", SendFlags::OOB), Ok(1));
        peer.write_all(b"bbb").unwrap();
    }
    if still_sending(server.address()).is_some() {
        await_until("the arrival of all data", || still_sending(server.address()) == Some(0));
    } else {
        skipped("urgent data that lies there when the server looks", "the state of the sockets cannot be read here");
    }
    server.signal(Signal::CONT);
    for peer in &mut peers {
        let mut reply = [0; 6];
        peer.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"aaabbb");
        // The connection continues as before.
        echo(peer, b"after");
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        expect_end(peer);
    }
    drop(peers);
    still_serves(&mut server);
}
