//! Greedy peers beside well-behaved ones: their memory and CPU time are bounded, and the others are served.
//!
//! The memory bound, in bytes, is that of the options (`--memory-limit`, or `--buffer-limit` for each direction of each
//! connection, whichever is less), plus [`PER_CONNECTION`] per connection and [`FIXED`] per worker.

use super::support::{
    NARROW, Program, bytes, connect, connect_narrow, echo, more_than_fits, push_until_blocked,
    push_until_blocked_or_cut, skipped, uninterrupted,
};
use super::{logging_server, server, still_serves};
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Memory per connection besides its buffers: its entries in the slab, the timer wheel and the ready queue.
pub(super) const PER_CONNECTION: u64 = 300;

/// Memory that a worker takes once: its pool blocks (16 of 64 KiB), and as much again for the current turn, the
/// allocator's slack, its stack, its event list and its timer wheel.
pub(super) const FIXED: u64 = 2 << 20;

/// How much the server's memory has grown since `before`, in bytes.
pub(super) fn grown_bytes(server: &Program, before: u64) -> u64 {
    server.resident_bytes().expect("it could be read before").saturating_sub(before)
}

#[test]
fn small_buffers_bound_the_memory_of_blocked_peers() {
    const PEERS: u64 = 200;
    const BUFFERS: u64 = 2 * 16 * 1024;
    let mut server = server(&[&["--buffer-limit", "16KiB", "--workers", "1"], &NARROW[..]].concat());
    let mut neighbour = connect(server.address());
    echo(&mut neighbour, b"before");
    let Some(before) = server.resident_bytes() else {
        return skipped("small buffers under pressure", "the memory of a process cannot be read here");
    };
    let peers: Vec<_> = (0..PEERS).map(|_| connect_narrow(server.address())).collect();
    push_until_blocked(&peers, &more_than_fits());
    let grown = grown_bytes(&server, before);
    let bound = PEERS * (BUFFERS + PER_CONNECTION) + FIXED;
    assert!(grown <= bound, "{PEERS} stuck peers took {grown} bytes, {bound} at most");
    echo(&mut neighbour, b"while they are stuck");
    drop((peers, neighbour));
    still_serves(&mut server);
}

/// The blocked peers would hold far more than the limit: later ones are closed, and a neighbour that reads is not.
#[test]
fn the_memory_limit_closes_peers_that_would_exceed_it() {
    const PEERS: u64 = 100;
    const MEMORY: u64 = 1 << 20;
    for workers in [1, 2] {
        let number = workers.to_string();
        let mut server = logging_server(&[&["--memory-limit", "1MiB", "--workers", &number], &NARROW[..]].concat());
        let mut neighbour = connect(server.address());
        echo(&mut neighbour, b"before");
        let Some(before) = server.resident_bytes() else {
            return skipped("the memory limit", "the memory of a process cannot be read here");
        };
        let peers: Vec<_> = (0..PEERS).map(|_| connect_narrow(server.address())).collect();
        let data = more_than_fits();
        let pushed = std::thread::scope(|scope| {
            let pushing = scope.spawn(|| push_until_blocked_or_cut(&peers, &data));
            while !pushing.is_finished() {
                echo(&mut neighbour, &bytes(1, 1000));
            }
            pushing.join().unwrap()
        });
        let grown = grown_bytes(&server, before);
        let bound = MEMORY + PEERS * PER_CONNECTION + workers * FIXED;
        assert!(grown <= bound, "{PEERS} stuck peers took {grown} bytes, {bound} at most");
        echo(&mut neighbour, b"while they are stuck");
        // The first peers are still connected, and receive their output when they finally read.
        let held: Vec<_> = peers.into_iter().zip(&pushed).filter_map(|(peer, sent)| sent.map(|_| peer)).collect();
        let cut = PEERS - held.len() as u64;
        assert!(!held.is_empty() && cut > 0, "{cut} of {PEERS} were closed");
        for mut peer in held {
            peer.read_exact(&mut [1; 1000]).unwrap();
        }
        drop(neighbour);
        let exit = still_serves(&mut server);
        assert_eq!(exit.counted("memory limit"), cut, "{exit:#?}");
        assert_eq!(exit.told(&["Closing connection to ", "reason=\"memory limit\""]) as u64, cut, "{exit:#?}");
    }
}

/// Released memory can be used again: the limit applies to current memory, not to the total ever used.
#[test]
fn memory_of_closed_connections_is_available_again() {
    let mut server = server(&["--memory-limit", "512KiB", "--workers", "1"]);
    for round in 1..=3 {
        let peers: Vec<_> = (0..3).map(|_| connect_narrow(server.address())).collect();
        let pushed = push_until_blocked_or_cut(&peers, &more_than_fits());
        assert!(pushed.iter().all(Option::is_some), "closed in round {round}: {pushed:?}");
        drop(peers);
        server.await_closed(3 * round);
    }
    assert_eq!(still_serves(&mut server).counted("memory limit"), 0);
}

/// Sends and reads without pause until `is_over`; counts the received bytes.
fn hog(server: &Program, is_over: &AtomicBool, echoed: &AtomicU64) {
    let mut peer = connect(server.address());
    peer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let data = bytes(1, 1 << 20);
    std::thread::scope(|scope| {
        let mut sending = peer.try_clone().unwrap();
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                sending.write_all(&data).unwrap();
            }
            sending.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut room = vec![0; 256 << 10];
        loop {
            match uninterrupted(|| peer.read(&mut room)) {
                Ok(0) => break,
                Ok(count) => _ = echoed.fetch_add(count as u64, Ordering::Relaxed),
                Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
            }
        }
    });
}

/// One loop, one peer that sends without pause, and twenty quiet peers that are still served, repeatedly.
#[test]
fn quiet_peers_are_served_beside_one_that_never_pauses() {
    const QUIET: usize = 20;
    const ROUNDS: u64 = 50;
    let mut server = server(&["--workers", "1"]);
    let (is_over, echoed) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let hogging = scope.spawn(|| hog(&server, &is_over, &echoed));
        let mut quiet: Vec<_> = (0..QUIET).map(|_| connect(server.address())).collect();
        let before = echoed.load(Ordering::Relaxed);
        for round in 0..ROUNDS {
            for peer in &mut quiet {
                echo(peer, &bytes(round, 64));
            }
            assert!(!hogging.is_finished(), "it should never pause");
        }
        super::support::await_until("the other one's bytes", || echoed.load(Ordering::Relaxed) > before + (1 << 20));
        is_over.store(true, Ordering::Relaxed);
    });
    server.await_closed(QUIET + 1);
    still_serves(&mut server).expect_counts(&[("closed by peer", QUIET as u64 + 2)]);
}
