//! Drain: received input is answered, no new connections are accepted, and the drain timeout holds.

use super::server;
use super::support::{
    Exit, Program, await_until, bytes, connect, connect_narrow, echo, expect_end, more_than_fits, push_until_blocked,
    read_to_end, skipped, still_sending,
};
use rustix::process::Signal;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The log line at the start of a drain.
const DRAINING: &str = "shutting down: draining ";

/// A peer that has sent until it is blocked, and never reads.
fn stuck(server: &Program) -> TcpStream {
    let peers = vec![connect_narrow(server.address())];
    push_until_blocked(&peers, &more_than_fits());
    peers.into_iter().next().unwrap()
}

#[track_caller]
fn expect_summary(exit: &Exit, parts: &[&str]) {
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let summary = exit.stdout[1..].join("\n");
    for part in parts {
        assert!(summary.contains(part), "no {part:?} in {summary}");
    }
}

/// Stops the server while data arrives, so that it sees the signal and the data at the same moment.
fn data_and_signal_at_once(signal: Signal) {
    let mut server = server(&["--workers", "2"]);
    let mut known: Vec<_> = (0..20).map(|_| connect(server.address())).collect();
    for peer in &mut known {
        echo(peer, b"before");
    }
    let mut idle = connect(server.address());
    echo(&mut idle, b"before");
    server.signal(Signal::STOP);
    // Some are accepted already, some are pending.
    let mut peers = known;
    peers.extend((0..20).map(|_| connect(server.address())));
    for (seed, peer) in (0..).zip(&mut peers) {
        peer.write_all(&bytes(seed, 30_000)).unwrap();
    }
    if still_sending(server.address()).is_none() {
        skipped("data in flight when the signal comes", "the state of the sockets cannot be read here");
        server.signal(Signal::CONT);
        return;
    }
    await_until("the arrival of all data", || still_sending(server.address()) == Some(0));
    server.signal(signal);
    server.signal(Signal::CONT);
    for (seed, peer) in (0..).zip(&mut peers) {
        assert!(read_to_end(peer) == bytes(seed, 30_000), "peer {seed} was not answered whole");
    }
    expect_end(&mut idle);
    drop((peers, idle));
    expect_summary(&server.await_exit(), &["Served 41 connections", "41 drained"]);
}

#[test]
fn input_before_sigterm_is_answered() {
    data_and_signal_at_once(Signal::TERM);
}

#[test]
fn input_before_sigint_is_answered() {
    data_and_signal_at_once(Signal::INT);
}

/// Blocked output counts as well: it is sent when the peer finally reads.
#[test]
fn a_slow_reader_gets_its_reply_while_the_server_drains() {
    let mut server = server(&[]);
    let data = bytes(4, 2_000_000);
    let mut peers = [connect_narrow(server.address())];
    let sent = push_until_blocked(&peers, &data)[0];
    server.signal(Signal::TERM);
    server.await_stderr(DRAINING);
    let back = read_to_end(&mut peers[0]);
    assert!(back.len() >= 2 * 64 * 1024 && back.len() <= sent, "{sent} bytes were sent, {} came back", back.len());
    assert!(back == data[..back.len()]);
    drop(peers);
    expect_summary(&server.await_exit(), &["Served 1 connection", "1 drained"]);
}

#[test]
fn a_half_closed_peer_gets_its_whole_reply_while_the_server_drains() {
    let mut server = server(&[]);
    let mut peer = connect_narrow(server.address());
    let data = bytes(4, 100_000);
    let sent = push_until_blocked(std::slice::from_ref(&peer), &data)[0];
    assert_eq!(sent, data.len(), "this fits the buffers on the way");
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    server.signal(Signal::TERM);
    assert!(read_to_end(&mut peer) == data);
    assert_eq!(server.await_exit().code, Some(0));
}

#[test]
fn no_connection_is_accepted_while_the_server_drains() {
    let mut server = server(&["--workers", "2", "--drain-timeout", "1m"]);
    let stuck = stuck(&server);
    server.signal(Signal::TERM);
    server.await_stderr(DRAINING);
    await_until("the listener's end", || match TcpStream::connect(server.address()) {
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        // It was accepted just before the listener closed, and reads end of input as well.
        Ok(_) => false,
    });
    drop(stuck);
    expect_summary(&server.await_exit(), &["Served "]);
}

#[test]
fn an_idle_server_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = server(&["--drain-timeout", "1m"]);
        server.address();
        server.signal(signal);
        expect_summary(&server.await_exit(), &["Served 0 connections"]);
    }
}

/// With many workers, most are idle when the second signal arrives, and some have ended.
#[test]
fn a_second_signal_ends_at_once() {
    for (signal, workers) in [(Signal::TERM, "1"), (Signal::TERM, "16"), (Signal::INT, "16")] {
        let mut server = server(&["--drain-timeout", "1m", "--workers", workers]);
        let _stuck = stuck(&server);
        server.signal(signal);
        server.await_stderr(DRAINING);
        server.signal(signal);
        let exit = server.await_exit();
        assert!(exit.code.is_some(), "a signal must not kill it: {exit:#?}");
        assert!(exit.stdout.iter().any(|line| line.trim() == "1 stopped"), "{exit:#?}");
    }
}

#[test]
fn the_drain_timeout_cuts_a_stuck_peer() {
    let mut server = server(&["--drain-timeout", "300ms", "--workers", "2"]);
    let _stuck = stuck(&server);
    let since = Instant::now();
    server.signal(Signal::TERM);
    let exit = server.await_exit();
    assert!(since.elapsed() >= Duration::from_millis(300), "it took only {:?}", since.elapsed());
    expect_summary(&exit, &["Served 1 connection", "1 cut at the drain timeout"]);
}
