//! A socket that follows a script: what it gives, what it takes, and what it was asked. No kernel is involved.
//!
//! It is strict where a kernel is silent: a call that could have been saved, or that may never be made, fails the test.

use crate::socket::Transport;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};

/// What the peer does to our reads. Each comes with an event of its own, unless we are still reading when it arrives.
#[derive(Clone)]
pub(super) enum SocketInput {
    Bytes(Vec<u8>),
    /// Bytes with the end right behind them: one event announces both.
    Last(Vec<u8>),
    End,
    Reset,
    /// An event with nothing behind it.
    Nothing,
    /// A signal interrupts the call.
    Signal,
}

impl fmt::Debug for SocketInput {
    /// Bytes by their number: a schedule that fails should fit the screen.
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

/// What the peer does to our writes.
#[derive(Debug, Clone)]
pub(super) enum SocketOutput {
    /// The socket takes at most so many bytes. When that is not all of them, it is full.
    Takes(usize),
    /// The socket is full already.
    Full,
    Signal,
    Broken,
}

/// What an event says: readable, writable, hang-up.
pub(super) type Event = (bool, bool, bool);

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any combination can occur")]
pub(super) struct Script {
    arrivals: VecDeque<SocketInput>,
    departures: VecDeque<SocketOutput>,
    /// What arrived was announced, and not all of it was read: edge-triggered, so no further event comes.
    announced: bool,
    /// The latest event hinted at the end.
    hinted: bool,
    full: bool,
    ended: bool,
    /// The peer reads nothing: once the departures are used up, the socket is full. Otherwise it takes everything.
    pub(super) stalled: bool,
    /// As a layer that holds bytes of its own: a short read does not show that it is drained.
    pub(super) holds_bytes: bool,
    pub(super) reads: usize,
    pub(super) writes: usize,
    pub(super) shuts: usize,
    pub(super) written: Vec<u8>,
}

impl Script {
    pub(super) fn new(arrivals: impl IntoIterator<Item = SocketInput>) -> Self {
        Self { arrivals: arrivals.into_iter().collect(), ..Self::default() }
    }

    pub(super) fn taking(mut self, departures: impl IntoIterator<Item = SocketOutput>) -> Self {
        self.departures = departures.into_iter().collect();
        self
    }

    pub(super) fn stalled(mut self) -> Self {
        self.stalled = true;
        self
    }

    pub(super) fn arrive(&mut self, arrival: SocketInput) {
        self.arrivals.push_back(arrival);
    }

    pub(super) fn arrive_bytes(&mut self, bytes: &[u8]) {
        self.arrive(SocketInput::Bytes(bytes.to_vec()));
    }

    /// Whether everything the script had to give was read.
    pub(super) fn is_drained(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// The next edge, if there is one.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        let next = self.arrivals.front().filter(|_| !self.announced);
        let readable = next.is_some();
        let hang_up = matches!(next, Some(SocketInput::Last(_) | SocketInput::End | SocketInput::Reset));
        let writable = self.full && (!self.stalled || !self.departures.is_empty());
        if readable {
            self.announced = true;
            self.hinted = hang_up;
        }
        // A hang-up is a hint to try both directions.
        self.full &= !(writable || hang_up);
        (readable || writable).then_some((readable, writable, hang_up))
    }

    fn give(&mut self, mut bytes: Vec<u8>, room: &mut [u8], is_last: bool) -> usize {
        let count = bytes.len().min(room.len());
        let rest = bytes.split_off(count);
        room[..count].copy_from_slice(&bytes);
        if !rest.is_empty() {
            self.arrivals.push_front(if is_last { SocketInput::Last(rest) } else { SocketInput::Bytes(rest) });
            return count;
        }
        let mut all_announced = false;
        if is_last {
            self.arrivals.push_front(SocketInput::End);
            all_announced = self.hinted;
        }
        self.announced &= all_announced || count == room.len();
        count
    }
}

impl Transport for Script {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        assert!(!room.is_empty(), "a read into nothing looks like the end");
        assert!(!self.ended, "nothing is read behind the end");
        self.reads += 1;
        match self.arrivals.pop_front() {
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
            Some(SocketInput::Bytes(bytes)) => Ok(self.give(bytes, room, false)),
            Some(SocketInput::Last(bytes)) => Ok(self.give(bytes, room, true)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!bytes.is_empty(), "a write of nothing is a wasted call");
        assert!(!self.full, "a full socket was tried again without an event");
        assert_eq!(self.shuts, 0, "nothing is written behind the end");
        self.writes += 1;
        let room = match self.departures.pop_front() {
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
        assert!(!self.ended, "a plain close says the same");
        self.shuts += 1;
        assert_eq!(self.shuts, 1, "a half is shut once");
        Ok(())
    }

    fn drained_by(&self, offered: usize, received: usize) -> bool {
        received < offered && !self.holds_bytes
    }
}
