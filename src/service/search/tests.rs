//! Tests of the close timing, of back-pressure and of splits. The conformance table covers the answers.

use super::{KEEP_OPEN, Request, Search};
use crate::service::{CloseReason, Limits};
use crate::testing::Simulation;
use std::time::Duration;

/// Size of an answer in bytes.
const ANSWER_BYTES: usize = 165;

const MOMENT: Duration = Duration::from_nanos(1);

fn server() -> Simulation<'static> {
    Simulation::new(|_| Search::new(1000)).with_limits(Limits::without_timeouts())
}

fn ring(keeps_alive: bool) -> Vec<u8> {
    Request::Search("ring".to_owned()).message(keeps_alive)
}

#[test]
fn the_connection_closes_after_a_pause() {
    let server = server();
    let mut peer = server.connect();
    server.advance(KEEP_OPEN * 10);
    assert!(!peer.received_end(), "the timeouts handle a silent peer");
    peer.send(&ring(false));
    server.advance(KEEP_OPEN.saturating_sub(MOMENT));
    assert!(!peer.received_end());
    server.advance(MOMENT);
    assert!(peer.received_end());
    peer.end();
    assert_eq!(peer.closed(), Some(CloseReason::Completed));
}

#[test]
fn a_partial_message_postpones_the_close() {
    let server = server();
    let mut peer = server.connect();
    let (first, second) = (ring(false), ring(false));
    peer.send(&[&first[..], &second[..1]].concat());
    server.advance(KEEP_OPEN * 2);
    peer.send(&second[1..]);
    assert_eq!(peer.receive().len(), 2 * ANSWER_BYTES);
    server.advance(KEEP_OPEN.saturating_sub(MOMENT));
    assert!(!peer.received_end());
    server.advance(MOMENT);
    assert!(peer.received_end());
}

#[test]
fn keep_alive_lasts_until_a_message_without_it() {
    let server = server();
    let mut peer = server.connect();
    peer.send(&[ring(false), ring(true)].concat());
    server.advance(Duration::from_secs(100));
    assert!(!peer.received_end());
    peer.send(&ring(false));
    peer.end();
    assert_eq!(peer.closed(), Some(CloseReason::PeerClosed), "the peer's end closes the connection");
}

#[test]
fn without_room_the_request_stays_in_the_input() {
    let server = server().with_limits(Limits { buffer_bytes: 2 * ANSWER_BYTES + 10, ..Limits::without_timeouts() });
    let mut peer = server.connect();
    let request = ring(true);
    peer.stall_after(0);
    peer.send(&request.repeat(3));
    assert_eq!(peer.held_bytes() + peer.unread_bytes(), 2 * ANSWER_BYTES + request.len());
    peer.resume();
    assert_eq!((peer.receive().len(), peer.held_bytes()), (3 * ANSWER_BYTES, 0));
}

#[test]
fn any_split_gives_the_same_answers() {
    let stream = [ring(true), Request::binary("0123456789").message(false), ring(false), b"\0\x02{}".to_vec()].concat();
    let answers = server().assert_split_invariant(&stream);
    assert_eq!(answers.windows(10).filter(|bytes| bytes.starts_with(b"First 10 b")).count(), 1);
}

#[test]
fn errors_are_described_and_an_idle_service_is_small() {
    let server = server();
    let mut peer = server.connect();
    peer.send(b"\0\x02{}");
    peer.end();
    assert_eq!(peer.closed(), Some(CloseReason::ProtocolError));
    assert_eq!(peer.error_detail().as_deref(), Some("Missing required header 'byteorder'."));
    assert!(size_of::<Search>() <= 48, "{} bytes for each connection", size_of::<Search>());
}
