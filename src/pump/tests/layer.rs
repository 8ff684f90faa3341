//! A conversation over a layer between it and the socket, such as TLS: a handshake, bytes kept back, a farewell.

use super::scene::{Frames, SECOND};
use crate::buffer::{BufferPool, MemoryAccount};
use crate::connection::{CloseReason, Connection, Limits};
use crate::pump::{Observer, Pump, Turn};
use crate::socket::Transport;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Instant;

/// What the layer makes of a read.
enum Step {
    /// Part of the handshake.
    Handshake,
    /// The last of the handshake, with the first bytes of the conversation right behind it.
    Complete(&'static [u8]),
    /// The last of the handshake, with the end of input (none) or an error right behind it.
    CompleteThen(Option<ErrorKind>),
    Bytes(&'static [u8]),
    /// What cannot be read.
    Damage,
    /// The end, said in order.
    End,
}

/// A layer that takes everything and hands it to the socket only as far as that has room.
struct Layer {
    steps: VecDeque<Step>,
    handshaking: bool,
    kept: usize,
    room: usize,
    taken: Vec<u8>,
    farewells: usize,
}

impl Layer {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let steps = steps.into_iter().collect();
        Self { steps, handshaking: true, kept: 0, room: usize::MAX, taken: Vec::new(), farewells: 0 }
    }
}

impl Transport for Layer {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let bytes = match self.steps.pop_front() {
            None | Some(Step::Handshake) => return Err(ErrorKind::WouldBlock.into()),
            Some(Step::Damage) => {
                // The alert.
                self.kept += 7;
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
        self.taken.extend_from_slice(bytes);
        self.kept += bytes.len();
        Ok(bytes.len())
    }

    fn shut_sending(&mut self) -> io::Result<()> {
        if self.kept > 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.farewells += 1;
        Ok(())
    }

    fn drained_by(&self, _offered: usize, _received: usize) -> bool {
        false
    }

    fn is_handshaking(&self) -> bool {
        self.handshaking
    }

    fn holds_unsent(&self) -> bool {
        self.kept > 0
    }

    fn flush(&mut self) -> io::Result<usize> {
        let count = self.kept.min(self.room);
        self.kept -= count;
        self.room -= count;
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn needs_close_notify(&self) -> bool {
        true
    }
}

/// The time, and how many handshakes were reported.
struct Clock(Instant, usize);

impl Observer for Clock {
    fn now(&mut self) -> Instant {
        self.0
    }

    fn handshake_done(&mut self, _negotiated: &dyn fmt::Display) {
        self.1 += 1;
    }

    fn received(&mut self, _bytes: &[u8]) {}

    fn sent(&mut self, _bytes: &[u8]) {}
}

struct Stage {
    connection: Connection<Frames>,
    layer: Layer,
    limits: Limits,
    clock: Clock,
    pool: BufferPool,
}

impl Stage {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let clock = Clock(Instant::now(), 0);
        let mut connection = Connection::new(Frames(2), clock.0);
        connection.handle_handshake();
        let (layer, limits, pool) = (Layer::new(steps), Limits::default(), BufferPool::new());
        Self { connection, layer, limits, clock, pool }
    }

    fn event(&mut self) -> Turn {
        self.connection.handle_event(true, true, false);
        let (pool, memory) = (&mut self.pool, &MemoryAccount::unlimited());
        let mut pump = Pump { pool, memory, limits: &self.limits, observer: &mut self.clock };
        pump.turn(&mut self.connection, &mut self.layer)
    }
}

#[test]
fn bytes_right_behind_a_handshake_are_served() {
    let mut stage = Stage::new([Step::Handshake, Step::Complete(b"ab"), Step::Bytes(b"cd")]);
    assert_eq!(stage.event(), Turn::Blocked);
    assert!(stage.connection.is_handshaking() && stage.layer.taken.is_empty());
    assert_eq!(stage.event(), Turn::Blocked);
    assert_eq!(stage.layer.taken, b"badc");
}

#[test]
fn a_handshake_counts_before_the_end_that_comes_with_it() {
    for (end, reason) in [
        (None, CloseReason::PeerClosed),
        (Some(ErrorKind::UnexpectedEof), CloseReason::Truncated),
        (Some(ErrorKind::ConnectionReset), CloseReason::Reset),
    ] {
        let mut stage = Stage::new([Step::Handshake, Step::CompleteThen(end)]);
        assert_eq!(stage.event(), Turn::Blocked);
        assert_eq!(stage.event(), Turn::Closed(reason));
        assert_eq!(stage.clock.1, 1, "reported once");
    }
}

#[test]
fn a_handshake_is_cut_in_time_whatever_trickles_in() {
    let mut stage = Stage::new([Step::Handshake, Step::Handshake]);
    stage.limits.handshake = Some(2 * SECOND);
    let opened = stage.clock.0;
    for _ in 0..2 {
        assert_eq!(stage.event(), Turn::Blocked);
        stage.clock.0 += SECOND;
        assert_eq!(stage.connection.next_deadline(&stage.limits), Some(opened + 2 * SECOND));
    }
    stage.connection.handle_deadline(&stage.limits, stage.clock.0);
    assert_eq!(stage.connection.closed(), Some(CloseReason::HandshakeTimeout));
}

#[test]
fn what_is_kept_back_is_flushed_before_the_farewell() {
    let mut stage = Stage::new([Step::Complete(b"ab"), Step::End]);
    stage.layer.room = 1;
    assert_eq!(stage.event(), Turn::Blocked);
    assert_eq!((stage.layer.kept, stage.layer.farewells), (1, 0), "the socket is full");
    let check = stage.connection.next_deadline(&Limits { idle: None, ..stage.limits.clone() });
    assert_eq!(check, stage.limits.write.map(|limit| stage.clock.0 + limit / 8), "it waits for the peer");
    stage.layer.room = 1;
    assert_eq!(stage.event(), Turn::Closed(CloseReason::PeerClosed));
    assert_eq!((stage.layer.kept, stage.layer.farewells), (0, 1), "a farewell for one who has said theirs");
}

#[test]
fn damage_is_told_before_the_end() {
    for (steps, reason) in [
        ([Step::Damage, Step::End], CloseReason::HandshakeFailed),
        ([Step::Complete(b"ab"), Step::Damage], CloseReason::Damaged),
    ] {
        let mut stage = Stage::new(steps);
        let mut turn = stage.event();
        assert_eq!((stage.layer.kept, stage.layer.farewells), (0, 1), "the alert is on its way");
        if turn == Turn::Blocked {
            stage.layer.steps.push_back(Step::End);
            turn = stage.event();
        }
        assert_eq!(turn, Turn::Closed(reason));
    }
}
