//! The life of a TLS connection: its end in order, its halves, and the server's files that change meanwhile.

use super::support::{bytes, echo, expect_end};
use super::{Authority, address, peer, server};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;

#[test]
fn what_was_received_before_the_end_is_still_answered() {
    let authority = Authority::new();
    let mut server = server(&authority, &[]);
    let mut peer = peer(&authority, address(&server));
    let message = bytes(1, 60_000);
    peer.write_all(&message).unwrap();
    peer.conn.send_close_notify();
    peer.flush().unwrap();
    peer.sock.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    // An end without close_notify would be an error here.
    peer.read_to_end(&mut reply).unwrap();
    assert!(reply == message, "{} bytes came back", reply.len());
    server.terminate().expect_counts(&[("closed by peer", 1)]);
}

#[test]
fn a_drain_says_farewell() {
    let authority = Authority::new();
    let mut server = server(&authority, &[]);
    let mut peer = peer(&authority, address(&server));
    echo(&mut peer, b"hello");
    server.signal(Signal::TERM);
    expect_end(&mut peer);
    drop(peer);
    server.await_exit().expect_counts(&[("drained", 1)]);
}

#[test]
fn files_are_read_again_and_nobody_is_dropped() {
    let authority = Authority::new();
    let mut server = server(&authority, &["--workers", "2"]);
    let mut early = peer(&authority, address(&server));
    echo(&mut early, b"before");
    authority.vouch_for("server", &["localhost", "127.0.0.1"], 3000);
    server.signal(Signal::HUP);
    server.await_stderr("Read the TLS files again: certificate SHA-256 ");
    echo(&mut early, b"after");
    let mut late = peer(&authority, address(&server));
    echo(&mut late, b"hello");
    let shown = |peer: &super::Peer| peer.conn.peer_certificates().unwrap()[0].to_vec();
    assert_ne!(shown(&early), shown(&late));
    // A file that cannot be used changes nothing.
    fs::write(authority.path("server.pem"), "no certificate").unwrap();
    server.signal(Signal::HUP);
    server.await_stderr("error: the TLS files stay as they were: cannot use ");
    let mut last = peer(&authority, address(&server));
    echo(&mut last, b"hello");
    assert_eq!(shown(&late), shown(&last));
    echo(&mut early, b"still here");
    drop((early, late, last));
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

#[test]
fn a_successor_reads_the_files_itself() {
    let authority = Authority::new();
    let server = server(&authority, &[]);
    let address = address(&server);
    let mut early = peer(&authority, address);
    echo(&mut early, b"before");
    server.signal(Signal::USR2);
    server.await_stderr("Handed over to process ");
    let mut late = peer(&authority, address);
    echo(&mut late, b"hello");
    echo(&mut early, b"still here");
    let successor = server.await_stderr("Handed over to process ");
    let digits: String =
        successor.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let pid = rustix::process::Pid::from_raw(digits.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    // Whichever of the two let it in, it says farewell.
    server.signal(Signal::TERM);
    expect_end(&mut late);
}
