//! Scripted socket: supplies input, accepts output and counts calls, without a kernel.
//!
//! It is stricter than a kernel: a wasted or forbidden call panics.

use crate::socket::{Address, ByteStream};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Address of the simulated listener: port 7 of a host for documentation (RFC 5737).
pub(crate) const LISTENER: Address = Address::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 7));

/// Results of reads. Each has its own event, unless the connection is still reading when it arrives.
#[derive(Clone)]
pub(crate) enum SocketInput {
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
pub(crate) enum SocketOutput {
    /// The socket takes at most that many bytes. If not all are taken, it is full.
    Takes(usize),
    /// The socket is full.
    Full,
    Signal,
    Broken,
}

/// Readiness of an event: readable, writable, hang-up.
pub(crate) type Event = (bool, bool, bool);

/// A stream of a simulated connection.
pub(crate) trait SimulatedSocket: ByteStream {
    /// The next edge-triggered event, if there is one.
    fn next_event(&mut self) -> Option<Event>;

    /// All bytes that the stream has taken.
    fn written(&self) -> &[u8];
}

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "the flags are independent, and any combination can occur")]
pub(crate) struct ScriptedSocket {
    inputs: VecDeque<SocketInput>,
    outputs: VecDeque<SocketOutput>,
    /// Input was announced but not read completely. Edge-triggered, so no further event comes.
    announced: bool,
    /// The last event reported a hang-up.
    hang_up_reported: bool,
    full: bool,
    ended: bool,
    /// Number of bytes that the socket takes after the scripted outputs; `None` is any number.
    room: Option<usize>,
    /// Behaves as a layer that holds bytes: a short read does not show that the socket is drained.
    pub(crate) holds_bytes: bool,
    pub(crate) reads: usize,
    pub(crate) writes: usize,
    pub(crate) shuts: usize,
    pub(crate) written: Vec<u8>,
}

impl ScriptedSocket {
    #[cfg(test)]
    pub(crate) fn new(inputs: impl IntoIterator<Item = SocketInput>) -> Self {
        Self { inputs: inputs.into_iter().collect(), ..Self::default() }
    }

    #[cfg(test)]
    pub(crate) fn with_outputs(mut self, outputs: impl IntoIterator<Item = SocketOutput>) -> Self {
        self.set_outputs(outputs);
        self
    }

    /// Replaces the results of the next writes.
    pub(crate) fn set_outputs(&mut self, outputs: impl IntoIterator<Item = SocketOutput>) {
        self.outputs = outputs.into_iter().collect();
    }

    /// The peer reads nothing: the socket is full after the scripted outputs.
    #[cfg(test)]
    pub(crate) fn stalled(mut self) -> Self {
        self.stall_after(0);
        self
    }

    /// The socket takes `bytes` more bytes after the scripted outputs, then it is full.
    pub(crate) fn stall_after(&mut self, bytes: usize) {
        self.room = Some(bytes);
    }

    /// The socket takes everything after the scripted outputs.
    pub(crate) fn resume(&mut self) {
        self.room = None;
    }

    pub(crate) fn push(&mut self, input_event: SocketInput) {
        self.inputs.push_back(input_event);
    }

    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        self.push(SocketInput::Bytes(bytes.to_vec()));
    }

    /// The peer resets the connection. What it sent before can still be read; writes fail at once.
    pub(crate) fn reset(&mut self) {
        self.push(SocketInput::Reset);
        self.set_outputs([SocketOutput::Broken]);
    }

    /// Number of bytes that were not read.
    pub(crate) fn unread_bytes(&self) -> usize {
        let bytes = |input: &SocketInput| match input {
            SocketInput::Bytes(bytes) | SocketInput::Last(bytes) => bytes.len(),
            _ => 0,
        };
        self.inputs.iter().map(bytes).sum()
    }

    /// Whether all scripted input was read.
    #[cfg(test)]
    pub(crate) fn is_drained(&self) -> bool {
        self.inputs.is_empty()
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

impl SimulatedSocket for ScriptedSocket {
    fn next_event(&mut self) -> Option<Event> {
        let next = self.inputs.front().filter(|_| !self.announced);
        let readable = next.is_some();
        let hang_up = matches!(next, Some(SocketInput::Last(_) | SocketInput::End | SocketInput::Reset));
        let writable = self.full && (self.room != Some(0) || !self.outputs.is_empty());
        if readable {
            self.announced = true;
            self.hang_up_reported = hang_up;
        }
        // A hang-up is a hint to try both directions.
        self.full &= !(writable || hang_up);
        (readable || writable).then_some((readable, writable, hang_up))
    }

    fn written(&self) -> &[u8] {
        &self.written
    }
}

impl ByteStream for ScriptedSocket {
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
                self.announced = false;
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
        let is_unscripted = self.outputs.is_empty();
        let room = match self.outputs.pop_front() {
            None => self.room.unwrap_or(usize::MAX),
            Some(SocketOutput::Takes(room)) => room,
            Some(SocketOutput::Full) => 0,
            Some(SocketOutput::Signal) => return Err(ErrorKind::Interrupted.into()),
            Some(SocketOutput::Broken) => return Err(ErrorKind::BrokenPipe.into()),
        };
        let count = bytes.len().min(room);
        if is_unscripted {
            self.room = self.room.map(|room| room - count);
        }
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

    fn local_address(&self) -> Option<Address> {
        Some(LISTENER)
    }

    fn take_error(&self) -> Option<io::Error> {
        let is_reset = self.inputs.iter().any(|input| matches!(input, SocketInput::Reset));
        is_reset.then(|| ErrorKind::ConnectionReset.into())
    }

    fn drained_by(&self, offered: usize, received: usize) -> bool {
        received < offered && !self.holds_bytes
    }
}
