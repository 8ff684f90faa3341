//! Scripted socket: supplies input, accepts output and counts calls, without a kernel.
//!
//! It is stricter than a kernel: a wasted or forbidden call fails the test.

use crate::socket::ByteStream;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};

/// Results of reads. Each has its own event, unless the connection is still reading when it arrives.
#[derive(Clone)]
pub(super) enum SocketInput {
    Bytes(Vec<u8>),
    /// Bytes followed directly by the end: one event announces both.
    Last(Vec<u8>),
    End,
    Reset,
    /// A spurious event.
    Nothing,
    /// A signal interrupts the call.
    Signal,
}

impl fmt::Debug for SocketInput {
    /// Shows bytes by their number, so that a failing schedule fits the screen.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(out, "Bytes({})", bytes.len()),
            Self::Last(bytes) => write!(out, "Last({})", bytes.len()),
            Self::End => out.write_str("End"),
            Self::Reset => out.write_str("Reset"),
            Self::Nothing => out.write_str("Nothing"),
            Self::Signal => out.write_str("Signal"),
        }
    }
}

/// Results of writes.
#[derive(Debug, Clone)]
pub(super) enum SocketOutput {
    /// The socket takes at most that many bytes. If not all are taken, it is full.
    Takes(usize),
    /// The socket is full.
    Full,
    Signal,
    Broken,
}

/// Readiness of an event: readable, writable, hang-up.
pub(super) type Event = (bool, bool, bool);

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "the flags are independent, and any combination can occur")]
pub(super) struct Script {
    inputs: VecDeque<SocketInput>,
    outputs: VecDeque<SocketOutput>,
    /// Input was announced but not read completely. Edge-triggered, so no further event comes.
    announced: bool,
    /// The last event reported a hang-up.
    hang_up_reported: bool,
    full: bool,
    ended: bool,
    /// The peer does not read: the socket is full after the scripted outputs. Otherwise it takes everything.
    pub(super) stalled: bool,
    /// Behaves as a layer that holds bytes: a short read does not show that the socket is drained.
    pub(super) holds_bytes: bool,
    pub(super) reads: usize,
    pub(super) writes: usize,
    pub(super) shuts: usize,
    pub(super) written: Vec<u8>,
}

impl Script {
    pub(super) fn new(inputs: impl IntoIterator<Item = SocketInput>) -> Self {
        Self { inputs: inputs.into_iter().collect(), ..Self::default() }
    }

    pub(super) fn with_outputs(mut self, outputs: impl IntoIterator<Item = SocketOutput>) -> Self {
        self.outputs = outputs.into_iter().collect();
        self
    }

    pub(super) fn stalled(mut self) -> Self {
        self.stalled = true;
        self
    }

    pub(super) fn push(&mut self, input_event: SocketInput) {
        self.inputs.push_back(input_event);
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        self.push(SocketInput::Bytes(bytes.to_vec()));
    }

    /// Whether all scripted input was read.
    pub(super) fn is_drained(&self) -> bool {
        self.inputs.is_empty()
    }

    /// The next edge-triggered event, if there is one.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        let next = self.inputs.front().filter(|_| !self.announced);
        let readable = next.is_some();
        let hang_up = matches!(next, Some(SocketInput::Last(_) | SocketInput::End | SocketInput::Reset));
        let writable = self.full && (!self.stalled || !self.outputs.is_empty());
        if readable {
            self.announced = true;
            self.hang_up_reported = hang_up;
        }
        // A hang-up is a hint to try both directions.
        self.full &= !(writable || hang_up);
        (readable || writable).then_some((readable, writable, hang_up))
    }

    fn deliver(&mut self, mut bytes: Vec<u8>, room: &mut [u8], is_last: bool) -> usize {
        let count = bytes.len().min(room.len());
        let rest = bytes.split_off(count);
        room[..count].copy_from_slice(&bytes);
        if !rest.is_empty() {
            self.inputs.push_front(if is_last { SocketInput::Last(rest) } else { SocketInput::Bytes(rest) });
            return count;
        }
        let mut all_announced = false;
        if is_last {
            self.inputs.push_front(SocketInput::End);
            all_announced = self.hang_up_reported;
        }
        self.announced &= all_announced || count == room.len();
        count
    }
}

impl ByteStream for Script {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        assert!(!room.is_empty(), "a read into an empty buffer looks like the end");
        assert!(!self.ended, "read after the end");
        self.reads += 1;
        match self.inputs.pop_front() {
            None | Some(SocketInput::Nothing) => {
                self.announced = false;
                Err(ErrorKind::WouldBlock.into())
            }
            Some(SocketInput::Signal) => Err(ErrorKind::Interrupted.into()),
            Some(SocketInput::Reset) => Err(ErrorKind::ConnectionReset.into()),
            Some(SocketInput::End) => {
                self.ended = true;
                Ok(0)
            }
            Some(SocketInput::Bytes(bytes)) => Ok(self.deliver(bytes, room, false)),
            Some(SocketInput::Last(bytes)) => Ok(self.deliver(bytes, room, true)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!bytes.is_empty(), "an empty write is a wasted call");
        assert!(!self.full, "wrote to a full socket without an event");
        assert_eq!(self.shuts, 0, "wrote after the end");
        self.writes += 1;
        let room = match self.outputs.pop_front() {
            None if self.stalled => 0,
            None => usize::MAX,
            Some(SocketOutput::Takes(room)) => room,
            Some(SocketOutput::Full) => 0,
            Some(SocketOutput::Signal) => return Err(ErrorKind::Interrupted.into()),
            Some(SocketOutput::Broken) => return Err(ErrorKind::BrokenPipe.into()),
        };
        let count = bytes.len().min(room);
        self.full = count < bytes.len();
        self.written.extend_from_slice(&bytes[..count]);
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn shut_sending(&mut self) -> io::Result<()> {
        assert!(!self.ended, "a plain close sends the end as well");
        self.shuts += 1;
        assert_eq!(self.shuts, 1, "the sending half is shut down once");
        Ok(())
    }

    fn drained_by(&self, offered: usize, received: usize) -> bool {
        received < offered && !self.holds_bytes
    }
}
