//! More peers than the connection limit: surplus peers wait, are not refused, and are served when a slot is free.

use super::support::{Program, await_until, bytes, connect, echo, expect_end};
use super::{server, still_serves};
use rustix::process::{Resource, Rlimit, prlimit};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Connects `count` peers that send a message at once, whether they are served or not.
pub(super) fn speaking(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let speak = |index: usize| {
        let mut peer = connect(address);
        peer.write_all(&greeting(index)).unwrap();
        peer
    };
    (0..count).map(speak).collect()
}

fn greeting(index: usize) -> Vec<u8> {
    bytes(index as u64, 64)
}

/// Removes the peers that were answered from `waiting`, checks the answers, and returns the peers.
pub(super) fn answered(waiting: &mut Vec<(usize, TcpStream)>) -> Vec<TcpStream> {
    let mut answered = Vec::new();
    for (index, mut peer) in std::mem::take(waiting) {
        peer.set_nonblocking(true).unwrap();
        let is_answered = match peer.peek(&mut [0]) {
            Ok(count) => {
                assert!(count > 0, "peer {index} was closed instead of served");
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("peer {index} was refused: {error}"),
        };
        peer.set_nonblocking(false).unwrap();
        if is_answered {
            let mut reply = [0; 64];
            peer.read_exact(&mut reply).unwrap();
            assert!(reply[..] == greeting(index), "peer {index} got another one's answer");
            answered.push(peer);
        } else {
            waiting.push((index, peer));
        }
    }
    answered
}

/// Serves at most `max` peers at a time, until all were served.
fn serve_in_turns(mut waiting: Vec<(usize, TcpStream)>, max: usize) {
    while !waiting.is_empty() {
        let mut inside = Vec::new();
        await_until(&format!("an answer to one of {} who wait", waiting.len()), || {
            inside = answered(&mut waiting);
            !inside.is_empty()
        });
        assert!(inside.len() <= max, "{} were served at a time", inside.len());
        // They close, which frees slots for others.
        drop(inside);
    }
}

/// Where the kernel grants less than is asked for, a warning says so, once for all workers.
#[cfg(target_os = "linux")]
#[test]
fn a_backlog_that_the_kernel_cuts() {
    let most: u32 = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    for (backlog, warnings) in [(most, 0), (most + 1, 1)] {
        let mut server = server(&["--backlog", &backlog.to_string(), "--workers", "2"]);
        server.await_stdout("Listening");
        let exit = server.terminate();
        assert_eq!(exit.told(&["warning: a backlog of ", "net.core.somaxconn"]), warnings, "{exit:#?}");
    }
}

#[test]
fn ten_peers_are_served_and_twenty_wait() {
    for workers in ["1", "2"] {
        // With several workers each further one may exceed the limit by one connection.
        let max = if workers == "1" { 10 } else { 11 };
        let mut server = server(&["--max-connections", "10", "--workers", workers]);
        let mut waiting: Vec<_> = speaking(server.address(), 30).into_iter().enumerate().collect();
        let mut inside = Vec::new();
        await_until("ten served peers", || {
            inside.append(&mut answered(&mut waiting));
            inside.len() >= 10
        });
        // The others are not served while these stay, however often these send.
        for _ in 0..20 {
            for peer in &mut inside {
                echo(peer, b"We stay.");
            }
            inside.append(&mut answered(&mut waiting));
        }
        assert!(inside.len() <= max, "{} were let in", inside.len());
        // One slot is free, and one pending connection gets it.
        inside.pop();
        await_until("the next one's turn", || {
            inside.append(&mut answered(&mut waiting));
            inside.len() >= 10
        });
        drop(inside);
        serve_in_turns(waiting, max);
        let exit = still_serves(&mut server);
        assert!(exit.stdout[1].starts_with("Served 31 connections"), "{exit:#?}");
    }
}

#[test]
fn pending_connections_are_served_at_shutdown() {
    let mut server = server(&["--max-connections", "2", "--workers", "1"]);
    let mut peers = speaking(server.address(), 10);
    server.signal(rustix::process::Signal::TERM);
    for (index, peer) in peers.iter_mut().enumerate() {
        let mut reply = [0; 64];
        peer.read_exact(&mut reply).unwrap();
        assert!(reply[..] == greeting(index));
        expect_end(peer);
    }
    drop(peers);
    assert_eq!(server.await_exit().code, Some(0));
}

/// The server's limit follows the descriptor limit: it never accepts more connections than it has descriptors for.
#[test]
fn two_hundred_peers_and_sixty_four_descriptors() {
    let mut server = Program::spawn(Program::server_with_descriptors(64).args(["127.0.0.1", "0", "--workers", "2"]));
    let waiting = speaking(server.address(), 200).into_iter().enumerate().collect();
    serve_in_turns(waiting, 64);
    still_serves(&mut server);
}

/// The limit is lowered while the server runs, so that accept(2) fails with `EMFILE`.
#[test]
#[cfg(target_os = "linux")]
fn running_out_of_descriptors() {
    for workers in ["1", "2"] {
        let mut server = server(&["--workers", workers]);
        let address = server.address();
        let since = Instant::now();
        let fewest = Rlimit { current: Some(40), maximum: Some(40) };
        prlimit(Some(server.pid()), Resource::Nofile, fewest).unwrap();
        let waiting = speaking(address, 100).into_iter().enumerate().collect();
        server.await_stderr("too many open files");
        serve_in_turns(waiting, 40);
        let exit = still_serves(&mut server);
        // Each worker warns at most once a second: peers must not be able to fill the log.
        let warnings = exit.stderr.iter().filter(|line| line.contains(" warning: ")).count() as u64;
        assert!(warnings <= 2 * (since.elapsed().as_secs() + 1), "{warnings} warnings in {:?}", since.elapsed());
        assert!(exit.stdout.iter().any(|line| line.contains("failed to be accepted")), "{exit:#?}");
    }
}

/// However often peers connect and close, a server at its limit retries after a close and ten times a second, and never
/// more often.
#[test]
#[cfg(target_os = "linux")]
fn connection_churn_at_the_limit_leaves_no_extra_work() {
    const TURNS: u64 = 1000;
    const DESCRIPTORS: usize = 40;
    let mut server = server(&["--workers", "1"]);
    let address = server.address();
    // Afterwards all descriptors of the server itself are open.
    echo(&mut connect(address), b"before");
    server.await_closed(1);
    let since = Instant::now();
    let fewest = Rlimit { current: Some(DESCRIPTORS as u64), maximum: Some(DESCRIPTORS as u64) };
    prlimit(Some(server.pid()), Resource::Nofile, fewest).unwrap();
    let places = DESCRIPTORS - server.open_descriptors().unwrap();
    let mut peers = VecDeque::from(speaking(address, places + 20));
    let expect_reply = |peer: &mut TcpStream| peer.read_exact(&mut [0; 64]).unwrap();
    peers.iter_mut().take(places).for_each(expect_reply);
    for _ in 0..TURNS {
        peers.pop_front();
        expect_reply(&mut peers[places - 1]);
        peers.append(&mut speaking(address, 1).into());
    }
    // Leftover work would run now. The sleep is the measured interval.
    std::thread::sleep(Duration::from_millis(500));
    drop(peers);
    let exit = still_serves(&mut server);
    let failures = exit.counted("failed to be accepted");
    let pauses = u64::try_from(since.elapsed().as_millis()).unwrap() / 100;
    // Per round one call for the new peer, one after the peer that took the free slot, and some at the start.
    assert!(failures <= 3 * TURNS + pauses, "{failures} failures in {TURNS} turns and {:?}", since.elapsed());
}

/// A paused acceptor notices a slot that another worker freed. That it does not poll is tested in
/// `idle_connections_cost_no_cpu_time`.
#[test]
fn a_slot_freed_by_one_worker_serves_the_peers_of_others() {
    let server = server(&["--max-connections", "4", "--workers", "4"]);
    let mut waiting: Vec<_> = speaking(server.address(), 40).into_iter().enumerate().collect();
    while !waiting.is_empty() {
        let mut inside = Vec::new();
        await_until("the next ones' turn", || {
            inside.append(&mut answered(&mut waiting));
            !inside.is_empty()
        });
        for mut peer in inside {
            peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            echo(&mut peer, b"in turn");
        }
    }
}
