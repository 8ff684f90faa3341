//! Hostile peers: the server survives them, and other connections are unaffected.

use super::support::{
    NARROW, Program, bytes, connect, connect_narrow, echo, expect_end, more_than_fits, push_until_blocked, reset,
    skipped,
};
use super::{logging_server, server, still_serves};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

fn reset_during_accept(address: SocketAddr) {
    for _ in 0..500 {
        reset(connect(address));
    }
}

/// Resets connections whose output is blocked.
fn reset_while_the_server_writes(address: SocketAddr) {
    let data = more_than_fits();
    let peers: Vec<_> = (0..20).map(|_| connect_narrow(address)).collect();
    push_until_blocked(&peers, &data);
    peers.into_iter().for_each(reset);
}

/// Resets connections whose output is flowing.
fn reset_while_reading(address: SocketAddr) {
    for seed in 0..50 {
        let mut peer = connect(address);
        peer.write_all(&bytes(seed, 30_000)).unwrap();
        peer.read_exact(&mut [0; 100]).unwrap();
        reset(peer);
    }
}

#[test]
fn a_reset_during_accept() {
    let mut server = server(&[]);
    reset_during_accept(server.address());
    still_serves(&mut server);
}

#[test]
fn a_reset_while_the_server_writes() {
    let mut server = server(&NARROW);
    reset_while_the_server_writes(server.address());
    server.await_closed(20);
    still_serves(&mut server).expect_counts(&[("closed by peer", 1), ("reset by peer", 20)]);
}

#[test]
fn a_reset_in_the_middle_of_a_reply() {
    let mut server = server(&[]);
    reset_while_reading(server.address());
    still_serves(&mut server);
}

/// A hundred peers send and never read. This may take two buffers of 64 KiB each, and what the allocator and the loop
/// need besides. Another connection is unaffected.
#[test]
fn peers_that_send_and_never_read_cost_bounded_memory() {
    const PEERS: u64 = 100;
    const BUFFERS: u64 = 2 * 64 * 1024;
    const ALLOWANCE: u64 = 4 << 20;
    let mut server = server(&NARROW);
    let mut neighbour = connect(server.address());
    echo(&mut neighbour, b"before");
    let Some(before) = server.resident_bytes() else {
        return skipped("memory under pressure", "the memory of a process cannot be read here");
    };
    let peers: Vec<_> = (0..PEERS).map(|_| connect_narrow(server.address())).collect();
    let data = more_than_fits();
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| push_until_blocked(&peers, &data));
        while !pushing.is_finished() {
            echo(&mut neighbour, &bytes(1, 1000));
        }
        let sent = pushing.join().unwrap();
        assert!(sent.iter().all(|&sent| sent < data.len()), "a server that takes everything has no bound: {sent:?}");
    });
    echo(&mut neighbour, b"while they are stuck");
    let grown = server.resident_bytes().unwrap().saturating_sub(before);
    assert!(grown <= PEERS * BUFFERS + ALLOWANCE, "{PEERS} stuck peers took {grown} bytes");
    drop(peers);
    echo(&mut neighbour, b"after");
    still_serves(&mut server);
}

#[test]
fn a_silent_peer_among_others_is_closed_by_the_idle_timeout() {
    let mut server = logging_server(&["--idle-timeout", "5s"]);
    let since = Instant::now();
    let mut silent = connect(server.address());
    std::thread::scope(|scope| {
        let silence = scope.spawn(move || {
            expect_end(&mut silent);
            since.elapsed()
        });
        let mut talking = connect(server.address());
        while !silence.is_finished() {
            echo(&mut talking, b"Still here.");
            // Some pause, which leaves the machine to others.
            std::thread::sleep(Duration::from_millis(20));
        }
        let lasted = silence.join().unwrap();
        assert!(lasted >= Duration::from_millis(4950), "closed after {lasted:?}");
        echo(&mut talking, b"And still.");
    });
    server.await_stderr("idle timeout");
    still_serves(&mut server);
}

#[test]
fn the_idle_timeout_ends_a_peer_that_never_reads() {
    let mut server = logging_server(&["--idle-timeout", "1s"]);
    let peers = [connect_narrow(server.address())];
    let data = more_than_fits();
    let pushing = std::panic::catch_unwind(|| push_until_blocked(&peers, &data));
    // The connection is closed during or after the push.
    drop(pushing);
    server.await_stderr("idle timeout");
    still_serves(&mut server);
}

/// All of the above at once, and a silent peer, on one server with a single loop.
#[test]
fn all_faults_together() {
    let mut server = server(&[&["--workers", "1"], &NARROW[..]].concat());
    let address = server.address();
    let silent = connect(address);
    std::thread::scope(|scope| {
        scope.spawn(|| reset_during_accept(address));
        scope.spawn(|| reset_while_the_server_writes(address));
        scope.spawn(|| reset_while_reading(address));
        let mut neighbour = connect(address);
        for round in 0..200 {
            echo(&mut neighbour, &bytes(round, 5000));
        }
    });
    drop(silent);
    still_serves(&mut server);
}

/// The tutorial's loops burn a whole CPU, because a healthy socket is always writable. Ours sleeps.
#[test]
fn idle_connections_cost_no_cpu_time() {
    let server = server(&["--max-connections", "50"]);
    let mut peers: Vec<_> = (0..50).map(|_| connect(server.address())).collect();
    for peer in &mut peers {
        echo(peer, b"Hello, world");
    }
    // At the limit a pending connection waits as well.
    let _waiting = connect(server.address());
    let ticks = |server: &Program| server.cpu_ticks();
    let Some(before) = ticks(&server) else {
        return skipped("idle CPU time", "the CPU time of a process cannot be read here");
    };
    // The sleep is the measured interval.
    std::thread::sleep(Duration::from_millis(500));
    let used = ticks(&server).unwrap() - before;
    assert!(used <= 5, "{used} ticks of 10 ms in half a second of idleness");
}
