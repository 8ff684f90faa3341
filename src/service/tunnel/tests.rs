//! Tests of the tunnel on a simulated loop.

use super::Tunnel;
use crate::service::{CloseReason, Limits, Proxy, Upstreams};
use crate::socket::Endpoint;
use crate::testing::{Peer, Simulation};
use std::sync::Arc;
use std::time::Duration;

/// Ends of a tunnel for the connections of a simulation, in turn.
fn ends() -> Simulation<'static> {
    let mut spare = None;
    let mut next = move || {
        spare.take().unwrap_or_else(|| {
            let (first, second) = Tunnel::pair();
            spare = Some(second);
            first
        })
    };
    Simulation::new(move |_| next())
}

fn tunnel() -> (Simulation<'static>, Peer<'static>, Peer<'static>) {
    let server = ends();
    let (first, second) = (server.connect(), server.connect());
    (server, first, second)
}

fn pattern(seed: usize, count: usize) -> Vec<u8> {
    (0..count).map(|index| u8::try_from((index * 31 + index / 251 + seed) % 256).expect("a byte")).collect()
}

#[test]
fn bytes_pass_in_both_directions_and_nothing_is_held_after_them() {
    let (_server, mut first, mut second) = tunnel();
    for round in 0..3 {
        first.send(b"question");
        assert_eq!(second.receive(), b"question");
        second.send(b"answer");
        assert_eq!(first.receive(), b"answer");
        assert_eq!((first.held_bytes(), second.held_bytes()), (0, 0), "round {round}");
    }
    let large = pattern(1, 1_000_000);
    first.send(&large);
    assert!(second.receive() == large);
}

#[test]
fn input_waits_until_the_other_connection_opens() {
    let server = ends();
    let mut first = server.connect();
    let sent = pattern(2, 200_000);
    first.send(&sent);
    first.end();
    assert_eq!(first.unread_bytes(), sent.len() - Limits::default().buffer_bytes);
    let mut second = server.connect();
    assert!(second.receive() == sent);
    assert!(second.received_end() && !first.received_end());
    second.send(b"reply");
    second.end();
    assert_eq!(first.receive(), b"reply");
    assert!(first.received_end());
    assert_eq!((first.closed(), second.closed()), (Some(CloseReason::PeerClosed), Some(CloseReason::PeerClosed)));
}

#[test]
fn the_end_of_one_direction_leaves_the_other_open() {
    for ends_first in [true, false] {
        let (_server, first, second) = tunnel();
        let (mut one, mut other) = if ends_first { (first, second) } else { (second, first) };
        one.send(b"all");
        one.end();
        assert_eq!(other.receive(), b"all");
        assert!(other.received_end() && other.closed().is_none() && one.closed().is_none());
        let reply = pattern(3, 300_000);
        other.send(&reply);
        assert!(one.receive() == reply && !one.received_end());
        other.end();
        assert!(one.received_end());
        assert_eq!((one.closed(), other.closed()), (Some(CloseReason::PeerClosed), Some(CloseReason::PeerClosed)));
    }
}

#[test]
fn a_stalled_receiver_stops_the_sender_and_holds_little() {
    let (_server, mut first, mut second) = tunnel();
    let sent = pattern(4, 1_000_000);
    second.stall_after(10);
    first.send(&sent);
    let limit = Limits::default().buffer_bytes;
    // Input, tunnel and output are full.
    assert!(first.unread_bytes() >= sent.len() - 3 * limit - 10, "{} bytes are unread", first.unread_bytes());
    assert!(first.held_bytes() <= limit, "{}", first.held_bytes());
    assert!(second.held_bytes() <= 2 * limit, "{}", second.held_bytes());
    let mut received = second.receive();
    second.resume();
    received.extend(second.receive());
    assert!(received == sent);
    assert_eq!((first.held_bytes(), second.held_bytes()), (0, 0));
}

#[test]
fn a_few_waiting_bytes_hold_no_block() {
    let (_server, mut first, mut second) = tunnel();
    second.stall_after(0);
    for _ in 0..5 {
        first.send(b"ten bytes!");
    }
    let held = first.held_bytes() + second.held_bytes();
    assert!((50..500).contains(&held), "{held} bytes are held for 50");
    second.resume();
    assert_eq!(second.receive(), b"ten bytes!".repeat(5));
}

#[test]
fn both_directions_at_once_under_back_pressure_lose_nothing() {
    for step in [1, 1000, 70_000] {
        let (_server, mut first, mut second) = tunnel();
        let [up, down] = [5, 6].map(|seed| pattern(seed, 400_000));
        first.stall_after(0);
        second.stall_after(0);
        first.send(&up);
        second.send(&down);
        let (mut at_first, mut at_second) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            first.stall_after(step);
            second.stall_after(step);
            at_first.extend(first.receive());
            at_second.extend(second.receive());
        }
        first.end();
        first.resume();
        second.resume();
        second.end();
        at_first.extend(first.receive());
        at_second.extend(second.receive());
        assert!(at_first == down && at_second == up, "step {step}");
        assert!(first.received_end() && second.received_end(), "step {step}");
    }
}

#[test]
fn a_reset_passes_through() {
    let (_server, mut first, mut second) = tunnel();
    first.send(b"a");
    second.reset();
    assert_eq!(second.closed(), Some(CloseReason::Reset));
    assert_eq!(first.closed(), Some(CloseReason::TunnelFailed));
    assert!(!first.received_end(), "the client must see a reset");
}

#[test]
fn a_timeout_with_lost_bytes_resets_the_other_end() {
    let (server, mut first, mut second) = tunnel();
    second.stall_after(0);
    first.send(&pattern(7, 500_000));
    server.advance(Limits::default().write.expect("a default") + Duration::from_secs(10));
    assert_eq!(second.closed(), Some(CloseReason::WriteTimeout));
    assert_eq!(first.closed(), Some(CloseReason::TunnelFailed));
    assert!(!first.received_end());
}

#[test]
fn a_drain_waits_for_both_ends() {
    let (server, mut first, mut second) = tunnel();
    first.send(b"question");
    server.drain(Duration::from_secs(30));
    assert_eq!((first.closed(), second.closed()), (None, None));
    assert_eq!(second.receive(), b"question");
    second.send(b"answer");
    second.end();
    assert_eq!(first.receive(), b"answer");
    first.end();
    assert!(second.received_end());
    assert!(first.closed().is_some() && second.closed().is_some());
}

#[test]
fn a_connect_that_fails_resets_the_client_with_its_reason() {
    let server = Simulation::new(|context| Tunnel::connect(context, Endpoint::tcp("192.0.2.9", 80)));
    for reason in [CloseReason::ConnectRefused, CloseReason::ConnectTimeout, CloseReason::Unresolved] {
        let mut client = server.connect();
        client.send(b"hello");
        server.pending_connect().expect("a connect").fail(reason);
        assert_eq!(client.closed(), Some(reason));
        assert!(!client.received_end());
    }
}

#[test]
fn a_proxy_tries_each_upstream_once_while_the_input_waits() {
    let endpoints = [1, 2, 3].map(|port| Endpoint::tcp("192.0.2.9", port));
    let upstreams = Arc::new(Upstreams::new(endpoints.clone()));
    let server = Simulation::new(|context| Proxy::new(context, &upstreams));
    let mut client = server.connect();
    client.send(b"hello");
    for endpoint in &endpoints[..2] {
        let connect = server.pending_connect().expect("a connect");
        assert_eq!(connect.options().endpoint, *endpoint);
        server.advance(Duration::from_millis(1));
        connect.fail(CloseReason::ConnectRefused);
        assert_eq!(client.closed(), None);
    }
    let mut upstream = server.pending_connect().expect("a connect").accept();
    assert_eq!(upstream.receive(), b"hello");
    upstream.send(b"reply");
    assert_eq!(client.receive(), b"reply");
    let counts = upstreams.counts(server.now()).into_iter();
    let counts: Vec<_> = counts.map(|each| (each.opened, each.failed, each.is_in_backoff)).collect();
    assert_eq!(counts, [(0, 1, true), (0, 1, true), (1, 0, false)]);
    // The third one is the only one that is not left out, then the first one is due soonest.
    let second_client = server.connect();
    for port in [3, 1, 2] {
        let connect = server.pending_connect().expect("a connect");
        assert_eq!(connect.options().endpoint.port(), Some(port));
        connect.fail(CloseReason::ConnectTimeout);
    }
    assert_eq!(second_client.closed(), Some(CloseReason::ConnectTimeout));
    assert!(server.pending_connect().is_none());
}
