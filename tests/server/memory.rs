//! The server's memory limit: what it covers, measured as resident memory.
//!
//! Peers send and never read, so that every kind of memory is held. There are many more peers than the limit has room
//! for.

use super::neighbours::{FIXED, PER_CONNECTION, grown_bytes};
use super::support::{
    NARROW, connect, connect_narrow, echo, more_than_fits, push_until_blocked, push_until_blocked_or_cut, skipped,
};
use super::{logging_server, server, still_serves};
use multiconn::service::search::Request;
use std::io::Read;
use std::net::TcpStream;

const LIMIT: u64 = 6 << 20;
const PEERS: usize = 120;

/// Peers that send `data`: some are held within the limit, and the others are closed because of it.
fn hold_stuck_peers(what: &str, arguments: &[&str], data: &[u8]) {
    let mut server = logging_server(&[&["--memory-limit", "6MiB", "--workers", "1"], arguments, &NARROW[..]].concat());
    // One-time allocations happen now.
    let first = [connect_narrow(server.address())];
    push_until_blocked(&first, data);
    drop(first);
    server.await_closed(1);
    let Some(before) = server.resident_bytes() else {
        return skipped(what, "the memory of a process cannot be read here");
    };
    let peers: Vec<_> = (0..PEERS).map(|_| connect_narrow(server.address())).collect();
    push_until_blocked_or_cut(&peers, data);
    server.await_stderr("memory limit");
    let (grown, bound) = (grown_bytes(&server, before), LIMIT + PEERS as u64 * PER_CONNECTION + FIXED);
    assert!(grown <= bound, "{what}: {PEERS} stuck peers took {grown} bytes, {bound} at most");
    drop(peers);
    server.await_closed(PEERS + 1);
    let closed = server.terminate().counted("memory limit");
    assert!(0 < closed && closed < PEERS as u64, "{what}: {closed} of {PEERS} were closed");
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&u32::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
}

#[test]
fn the_limit_covers_both_buffers() {
    hold_stuck_peers("echo", &[], &more_than_fits());
}

#[test]
fn the_limit_covers_a_pending_reply() {
    hold_stuck_peers("frames", &["--frame", "u32be"], &frame(&vec![b'a'; 64_000]).repeat(400));
}

#[test]
fn the_limit_covers_searches() {
    let request = Request::Search("a".repeat(60_000)).message(true);
    hold_stuck_peers("search", &["--service", "search"], &request.repeat(100));
}

/// A reply larger than the output buffer is not kept until that is empty: the connection would end then in any case.
/// Without this, 1,000 of these peers took 190 MB, of which 5 MB counted.
#[test]
fn a_reply_that_can_never_be_sent_is_not_kept() {
    const PEERS: usize = 50;
    let mut server = server(&[&["--service", "upper", "--frame", "u32be", "--workers", "1"], &NARROW[..]].concat());
    let mut neighbour = connect(server.address());
    echo(&mut neighbour, &frame(b"BEFORE"));
    let Some(before) = server.resident_bytes() else {
        return skipped("replies that are too large", "the memory of a process cannot be read here");
    };
    let peers: Vec<TcpStream> = (0..PEERS).map(|_| connect_narrow(server.address())).collect();
    // Each of these letters becomes three, of six bytes in total.
    let data = [frame(&vec![b'a'; 8000]).repeat(100), frame("ΐ".repeat(32_000).as_bytes())].concat();
    push_until_blocked(&peers, &data);
    let grown = grown_bytes(&server, before);
    let bound = PEERS as u64 * (2 * 65_536 + PER_CONNECTION) + FIXED;
    assert!(grown <= bound, "{PEERS} stuck peers took {grown} bytes, {bound} at most");
    drop((peers, neighbour));
    server.await_closed(PEERS + 1);
    assert_eq!(server.terminate().code, Some(0));
}

/// The limit applies to the process, not to a worker: one connection may hold its maximum, whatever the number of
/// workers.
#[test]
fn one_stuck_peer_stays_whatever_the_number_of_workers() {
    let mut server = server(&[&["--memory-limit", "1MiB", "--workers", "16"], &NARROW[..]].concat());
    let peers = [connect_narrow(server.address())];
    push_until_blocked(&peers, &more_than_fits());
    echo(&mut connect(server.address()), b"beside it");
    let [mut peer] = peers;
    peer.read_exact(&mut vec![1; 100_000]).unwrap();
    drop(peer);
    server.await_closed(2);
    assert_eq!(still_serves(&mut server).counted("memory limit"), 0);
}
