//! The datagrams of one worker: received many at a time, answered, and sent many at a time.
//!
//! There are no connections, so there is nothing to wait for and nobody to hold back: a reply that the kernel does not
//! take at once is dropped and counted, as a router would. One peer's fault never touches another's datagrams.

mod config;
mod counters;
mod rate_limit;
mod reflection;
mod socket;

pub use config::{DatagramConfig, MakeResponder};
pub(super) use counters::DatagramCounters;
pub use counters::{DatagramSummary, Dropped};

use super::Shared;
use super::counters::Counters;
use crate::error::Error;
use crate::event_loop::{Key, LoopContext};
use crate::socket::{DatagramSocket, RecvBatch, SendBatch};
use rate_limit::RateLimit;
use socket::{BatchIo, TurnEnd, Warnings, WorkerSocket};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// The first of the fixed keys that belong here: those below are doors for connections, those from 2¹⁶ on the metrics'.
const FIRST_KEY: u32 = 1 << 15;
const LAST_KEY: u32 = (1 << 16) - 1;

/// How many datagrams one turn answers before others get theirs. Each costs a few microseconds.
const TURN_DATAGRAMS: usize = 256;

/// How many datagrams are answered when the end comes, for each socket: more than its queue holds, whose 208 KiB by default
/// hold 277 of the smallest ones.
const LAST_DATAGRAMS: usize = 1 << 16;

/// The part of one worker.
pub(super) struct Datagrams<'a> {
    acceptors: Vec<WorkerSocket>,
    /// None where there are no doors: it is large.
    batch_io: Option<BatchIo<'a>>,
}

impl<'a> Datagrams<'a> {
    /// The part of a worker with these `sockets`.
    pub(super) fn new(shared: &'a Shared, counters: &'a Counters, sockets: Vec<DatagramSocket>) -> Result<Self, Error> {
        let Some(config) = &shared.config.datagrams else { return Ok(Self { acceptors: Vec::new(), batch_io: None }) };
        let worker_socket =
            |(index, socket)| Ok(WorkerSocket::new(socket, Key::fixed(index), config.responder.make()?));
        let acceptors = (FIRST_KEY..=LAST_KEY).zip(sockets).map(worker_socket).collect::<Result<Vec<_>, _>>();
        let acceptors = acceptors.map_err(Error::Panic)?;
        let batch_io = || BatchIo {
            shared,
            config,
            counters,
            recv_batch: RecvBatch::new(),
            send_batch: SendBatch::default(),
            rate_limit: config.rate_limit.map(|rate| RateLimit::new(rate, Instant::now())),
            warnings: Warnings::default(),
        };
        let batch_io = (!acceptors.is_empty()).then(batch_io);
        Ok(Self { acceptors, batch_io })
    }

    /// Whether a fixed key with this index belongs here.
    pub(super) fn owns(index: u32) -> bool {
        (FIRST_KEY..=LAST_KEY).contains(&index)
    }

    pub(super) fn open(&mut self, context: &LoopContext) -> io::Result<()> {
        self.acceptors.iter_mut().try_for_each(|worker_socket| worker_socket.open(context))
    }

    /// Something came in, or the turn of a door in the ready queue has come.
    pub(super) fn handle(&mut self, context: &mut LoopContext, key: Key, is_turn: bool) {
        let (Some(worker_socket), Some(batch_io)) = (socket_of(&mut self.acceptors, key), &mut self.batch_io) else {
            return;
        };
        // Between an event and its turn there may be more events: one turn is enough for all of them.
        if (worker_socket.is_queued && !is_turn) || worker_socket.is_pausing(context) {
            return;
        }
        let turn = batch_io.turn(context.now, worker_socket, TURN_DATAGRAMS);
        worker_socket.is_queued = turn == TurnEnd::Unfinished;
        match turn {
            TurnEnd::Drained => {}
            TurnEnd::Unfinished => context.ready.push_back(key),
            TurnEnd::Paused => worker_socket.pause(context),
        }
    }

    /// The pause of a door may be over.
    pub(super) fn handle_expired(&mut self, context: &mut LoopContext, key: Key) {
        self.handle(context, key, true);
    }

    /// Copies of the open sockets, for a successor.
    pub(super) fn copies(&self) -> impl Iterator<Item = io::Result<OwnedFd>> {
        self.acceptors.iter().filter_map(WorkerSocket::socket).map(|socket| socket.as_fd().try_clone_to_owned())
    }

    /// Answers what has come in, then closes the doors.
    pub(super) fn drain(&mut self, context: &mut LoopContext) {
        for worker_socket in &mut self.acceptors {
            if let Some(batch_io) = &mut self.batch_io {
                batch_io.turn(context.now, worker_socket, LAST_DATAGRAMS);
            }
        }
        self.close(context);
    }

    /// Closes the doors: a successor, if there is one, has the same sockets and answers what has come in.
    pub(super) fn close(&mut self, context: &mut LoopContext) {
        self.acceptors.iter_mut().for_each(|worker_socket| worker_socket.close(context));
    }
}

fn socket_of(acceptors: &mut [WorkerSocket], key: Key) -> Option<&mut WorkerSocket> {
    acceptors.get_mut(key.as_fixed()?.checked_sub(FIRST_KEY)? as usize)
}
