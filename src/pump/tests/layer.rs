//! Connections over a layer such as TLS: a handshake, bytes held back, close_notify.

use super::services::{ReverseFrames, SECOND};
use crate::buffer::{BufferPool, MemoryAccount};
use crate::connection::{CloseReason, Connection, Limits};
use crate::pump::{Observer, Pump, Turn};
use crate::service::Host;
use crate::socket::ByteStream;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Instant;

/// Results of reads from the layer.
enum Step {
    /// Part of the handshake.
    Handshake,
    /// The last part of the handshake, followed directly by the first bytes of data.
    Complete(&'static [u8]),
    /// The last part of the handshake, followed directly by the end of input (`None`) or an error.
    CompleteThen(Option<ErrorKind>),
    Bytes(&'static [u8]),
    /// Input that cannot be decoded.
    Damage,
    /// The orderly end.
    End,
}

/// A layer that accepts all output and passes on only as much as the socket has room for.
struct Layer {
    steps: VecDeque<Step>,
    handshaking: bool,
    held: usize,
    room: usize,
    written: Vec<u8>,
    close_notifies: usize,
    flushes: usize,
    /// Errors of the next flushes and shutdowns.
    flush_errors: VecDeque<ErrorKind>,
    shut_errors: VecDeque<ErrorKind>,
}

impl Layer {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let steps = steps.into_iter().collect();
        Self {
            steps,
            handshaking: true,
            held: 0,
            room: usize::MAX,
            written: Vec::new(),
            close_notifies: 0,
            flushes: 0,
            flush_errors: VecDeque::new(),
            shut_errors: VecDeque::new(),
        }
    }
}

impl ByteStream for Layer {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let bytes = match self.steps.pop_front() {
            None | Some(Step::Handshake) => return Err(ErrorKind::WouldBlock.into()),
            Some(Step::Damage) => {
                // Size of the alert.
                self.held += 7;
                return Err(ErrorKind::InvalidData.into());
            }
            Some(Step::End) => return Ok(0),
            Some(Step::Bytes(bytes)) => bytes,
            Some(Step::Complete(bytes)) => {
                self.handshaking = false;
                bytes
            }
            Some(Step::CompleteThen(end)) => {
                self.handshaking = false;
                return end.map_or(Ok(0), |kind| Err(kind.into()));
            }
        };
        room[..bytes.len()].copy_from_slice(bytes);
        if bytes.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(bytes.len()) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.handshaking, "nothing is written before the handshake is complete");
        self.written.extend_from_slice(bytes);
        self.held += bytes.len();
        Ok(bytes.len())
    }

    fn shut_sending(&mut self) -> io::Result<()> {
        if let Some(kind) = self.shut_errors.pop_front() {
            return Err(kind.into());
        }
        if self.held > 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.close_notifies += 1;
        Ok(())
    }

    fn drained_by(&self, _offered: usize, _received: usize) -> bool {
        false
    }

    fn is_handshaking(&self) -> bool {
        self.handshaking
    }

    fn holds_unsent(&self) -> bool {
        self.held > 0
    }

    fn flush(&mut self) -> io::Result<usize> {
        self.flushes += 1;
        if let Some(kind) = self.flush_errors.pop_front() {
            return Err(kind.into());
        }
        let count = self.held.min(self.room);
        self.held -= count;
        self.room -= count;
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn needs_close_notify(&self) -> bool {
        true
    }
}

/// The time, and the number of reported handshakes.
struct Clock(Instant, usize);

impl Host for Clock {}

impl Observer for Clock {
    fn now(&mut self) -> Instant {
        self.0
    }

    fn handshake_done(&mut self, _negotiated: &dyn fmt::Display) {
        self.1 += 1;
    }
}

struct LayerHarness {
    connection: Connection<ReverseFrames>,
    layer: Layer,
    limits: Limits,
    clock: Clock,
    pool: BufferPool,
}

impl LayerHarness {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let clock = Clock(Instant::now(), 0);
        let mut connection = Connection::new(Some(ReverseFrames(2)), clock.0);
        connection.handle_handshake();
        let (layer, limits, pool) = (Layer::new(steps), Limits::default(), BufferPool::new());
        Self { connection, layer, limits, clock, pool }
    }

    fn event(&mut self) -> Turn {
        self.connection.handle_event(true, true, false);
        self.turn()
    }

    fn turn(&mut self) -> Turn {
        let (pool, memory) = (&mut self.pool, &MemoryAccount::unlimited());
        let mut pump = Pump { pool, memory, limits: &self.limits, observer: &mut self.clock };
        pump.turn(&mut self.connection, &mut self.layer)
    }
}

#[test]
fn bytes_received_with_the_handshake_are_served() {
    let mut harness = LayerHarness::new([Step::Handshake, Step::Complete(b"ab"), Step::Bytes(b"cd")]);
    assert_eq!(harness.event(), Turn::Blocked);
    assert!(harness.connection.is_handshaking() && harness.layer.written.is_empty());
    assert_eq!(harness.event(), Turn::Blocked);
    assert_eq!(harness.layer.written, b"badc");
}

#[test]
fn a_handshake_is_reported_before_the_end_received_with_it() {
    for (end, reason) in [
        (None, CloseReason::PeerClosed),
        (Some(ErrorKind::UnexpectedEof), CloseReason::Truncated),
        (Some(ErrorKind::ConnectionReset), CloseReason::Reset),
    ] {
        let mut harness = LayerHarness::new([Step::Handshake, Step::CompleteThen(end)]);
        assert_eq!(harness.event(), Turn::Blocked);
        assert_eq!(harness.event(), Turn::Closed(reason));
        assert_eq!(harness.clock.1, 1, "reported once");
    }
}

#[test]
fn a_trickling_handshake_times_out() {
    let mut harness = LayerHarness::new([Step::Handshake, Step::Handshake]);
    harness.limits.handshake = Some(2 * SECOND);
    let opened = harness.clock.0;
    for _ in 0..2 {
        assert_eq!(harness.event(), Turn::Blocked);
        harness.clock.0 += SECOND;
        assert_eq!(harness.connection.next_deadline(&harness.limits), Some(opened + 2 * SECOND));
    }
    harness.connection.handle_deadline(&harness.limits, harness.clock.0);
    assert_eq!(harness.connection.closed(), Some(CloseReason::HandshakeTimeout));
}

#[test]
fn held_bytes_are_flushed_before_close_notify() {
    let mut harness = LayerHarness::new([Step::Complete(b"ab"), Step::End]);
    harness.layer.room = 1;
    assert_eq!(harness.event(), Turn::Blocked);
    assert_eq!((harness.layer.held, harness.layer.close_notifies), (1, 0), "the socket is full");
    let check = harness.connection.next_deadline(&Limits { idle: None, ..harness.limits.clone() });
    assert_eq!(check, harness.limits.write.map(|limit| harness.clock.0 + limit / 8), "output waits for the peer");
    harness.layer.room = 1;
    assert_eq!(harness.event(), Turn::Closed(CloseReason::PeerClosed));
    assert_eq!((harness.layer.held, harness.layer.close_notifies), (0, 1), "close_notify answers that of the peer");
}

#[test]
fn the_alert_for_damaged_input_precedes_the_end() {
    for (steps, reason) in [
        ([Step::Damage, Step::End], CloseReason::HandshakeFailed),
        ([Step::Complete(b"ab"), Step::Damage], CloseReason::Damaged),
    ] {
        let mut harness = LayerHarness::new(steps);
        let mut turn = harness.event();
        assert_eq!((harness.layer.held, harness.layer.close_notifies), (0, 1), "the alert was sent");
        if turn == Turn::Blocked {
            harness.layer.steps.push_back(Step::End);
            turn = harness.event();
        }
        assert_eq!(turn, Turn::Closed(reason));
    }
}

#[test]
fn a_failed_flush_closes_the_connection() {
    let mut harness = LayerHarness::new([Step::Complete(b"ab")]);
    harness.layer.flush_errors.push_back(ErrorKind::ConnectionReset);
    assert_eq!(harness.event(), Turn::Closed(CloseReason::Reset));
}

#[test]
fn close_notify_waits_for_room() {
    let mut harness = LayerHarness::new([Step::Complete(b"ab"), Step::End]);
    harness.layer.shut_errors.extend([ErrorKind::WouldBlock, ErrorKind::WouldBlock]);
    for _ in 0..2 {
        assert_eq!(harness.event(), Turn::Blocked, "the socket is full");
    }
    assert_eq!(harness.event(), Turn::Closed(CloseReason::PeerClosed));
    assert_eq!(harness.layer.close_notifies, 1);
}

#[test]
fn a_failed_close_notify_closes_the_connection() {
    let mut harness = LayerHarness::new([Step::Complete(b"ab"), Step::End]);
    harness.layer.shut_errors.push_back(ErrorKind::ConnectionReset);
    assert_eq!(harness.event(), Turn::Closed(CloseReason::PeerClosed), "all output was sent before");
}

/// Otherwise a write timeout would follow.
#[test]
fn output_waits_no_more_once_the_layer_has_passed_it_on() {
    let mut harness = LayerHarness::new([Step::Complete(b"ab")]);
    let limits = Limits { write: Some(SECOND), ..Limits::without_timeouts() };
    harness.layer.room = 1;
    assert_eq!(harness.event(), Turn::Blocked);
    assert!(harness.connection.next_deadline(&limits).is_some());
    let flushes = harness.layer.flushes;
    harness.connection.handle_event(true, false, false);
    assert_eq!((harness.turn(), harness.layer.flushes), (Turn::Blocked, flushes), "the socket is still full");
    harness.layer.room = 1;
    assert_eq!(harness.event(), Turn::Blocked);
    assert_eq!((harness.layer.held, harness.connection.next_deadline(&limits)), (0, None));
}
