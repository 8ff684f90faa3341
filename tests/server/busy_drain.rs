//! Drain of a server under load: hundreds of active connections, full backlogs, blocked peers. Every request that was
//! read is answered whole, no connection is reset, and the summary counts how each ended.

use super::server;
use super::support::{
    PATIENCE, Program, await_until, bytes, connect, connect_narrow, echo, expect_end, more_than_fits,
    push_until_blocked, read_to_end, skipped, still_sending, uninterrupted,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::Instant;

const MESSAGE: usize = 64;

/// Raises the soft limit of this process, which holds hundreds of peers.
fn raise_descriptor_limit() {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).unwrap();
}

/// Each peer sends a request and awaits the answer, repeatedly, until end of input. Every answer is whole and correct,
/// and at most the last request is unanswered. Returns the number of answers.
fn exchange_until_the_end(mut peers: Vec<TcpStream>, begun: &Barrier) -> usize {
    let (mut answers, mut round) = (0, 0);
    while !peers.is_empty() {
        for (seed, peer) in (0..).zip(&mut peers) {
            // May fail on a connection that the server has finished: its end of input is still to be read.
            let _ = peer.write_all(&bytes(seed + round, MESSAGE));
        }
        let mut staying = Vec::with_capacity(peers.len());
        for (seed, mut peer) in (0..).zip(peers) {
            let mut reply = [0; MESSAGE];
            let count = uninterrupted(|| peer.read(&mut reply)).expect("nobody is reset");
            if count > 0 {
                peer.read_exact(&mut reply[count..]).expect("an answer that has begun comes whole");
                assert!(reply[..] == bytes(seed + round, MESSAGE), "a wrong answer");
                answers += 1;
                staying.push(peer);
            }
        }
        peers = staying;
        if round == 0 {
            begun.wait();
        }
        round += 1;
    }
    answers
}

/// The signal arrives while connections exchange messages without pause.
#[test]
fn busy_connections_are_drained() {
    const THREADS: usize = 4;
    const PEERS: usize = 600;
    raise_descriptor_limit();
    let mut server = server(&["--workers", "2", "--drain-timeout", "5m"]);
    let address = server.address();
    let begun = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        let talk = || exchange_until_the_end((0..PEERS / THREADS).map(|_| connect(address)).collect(), &begun);
        let talking: Vec<_> = (0..THREADS).map(|_| scope.spawn(talk)).collect();
        begun.wait();
        server.signal(Signal::TERM);
        let answers: usize = talking.into_iter().map(|talking| talking.join().unwrap()).sum();
        assert!(answers >= PEERS, "{answers} answers");
    });
    server.await_exit().expect_counts(&[("drained", PEERS as u64)]);
}

/// Some have been served, some are pending in the queue of one of the two listeners, some are blocked.
#[test]
fn pending_connections_of_all_listeners_are_served() {
    const KNOWN: usize = 200;
    const WAITING: usize = 400;
    const STUCK: usize = 3;
    raise_descriptor_limit();
    let mut server = server(&["--workers", "2", "--drain-timeout", "5m"]);
    let address = server.address();
    let stuck: Vec<_> = (0..STUCK).map(|_| connect_narrow(address)).collect();
    push_until_blocked(&stuck, &more_than_fits());
    let mut peers: Vec<_> = (0..KNOWN).map(|_| connect(address)).collect();
    for peer in &mut peers {
        echo(peer, b"before");
    }
    server.pause();
    peers.extend((0..WAITING).map(|_| connect(address)));
    for (seed, peer) in (0..).zip(&mut peers) {
        peer.write_all(&bytes(seed, 1000)).unwrap();
    }
    if still_sending(address).is_some() {
        await_until("the arrival of all data", || still_sending(address) == Some(STUCK));
    } else {
        skipped("data that lies there when the end comes", "the state of the sockets cannot be read here");
    }
    server.signal(Signal::TERM);
    server.resume();
    for (seed, peer) in (0..).zip(&mut peers) {
        assert!(read_to_end(peer) == bytes(seed, 1000), "peer {seed} was not answered whole");
    }
    drop(peers);
    // The stuck ones keep the server alive.
    server.await_closed(KNOWN + WAITING);
    server.signal(Signal::TERM);
    let exit = server.await_exit();
    let counts = (exit.counted("drained"), exit.counted("stopped"));
    assert_eq!(counts, ((KNOWN + WAITING) as u64, STUCK as u64), "{exit:#?}");
    drop(stuck);
}

/// There are fewer descriptors than peers in the backlog: they are accepted as descriptors become free, until the
/// backlog is empty.
#[test]
fn a_backlog_larger_than_the_descriptor_limit_is_served_in_turns() {
    const PEERS: usize = 200;
    for workers in ["1", "2"] {
        let arguments = ["127.0.0.1", "0", "--workers", workers, "--drain-timeout", "5m"];
        let mut server = Program::spawn(Program::server_with_descriptors(64).args(arguments));
        let mut peers: Vec<_> = (0..PEERS).map(|_| connect(server.address())).collect();
        for (seed, peer) in (0..).zip(&mut peers) {
            peer.write_all(&bytes(seed, 100)).unwrap();
        }
        server.signal(Signal::TERM);
        let mut waiting: Vec<_> = (0..).zip(peers).collect();
        let since = Instant::now();
        while !waiting.is_empty() {
            assert!(since.elapsed() < 3 * PATIENCE, "{} are not answered", waiting.len());
            // Accepted peers read end of input and close, which frees their descriptors.
            waiting.retain_mut(|(seed, peer)| {
                let mut reply = [0; 100];
                peer.set_nonblocking(true).unwrap();
                let is_answered = peer.peek(&mut reply).is_ok();
                peer.set_nonblocking(false).unwrap();
                if is_answered {
                    peer.read_exact(&mut reply).unwrap_or_else(|error| panic!("peer {seed}: {error}"));
                    assert!(reply[..] == bytes(*seed, 100));
                    expect_end(peer);
                }
                !is_answered
            });
        }
        let exit = server.await_exit();
        assert_eq!((exit.code, exit.counted("drained")), (Some(0), PEERS as u64), "{exit:#?}");
    }
}
