//! UDP in a worker: datagrams are received, answered and sent in batches.
//!
//! There are no connections, hence no back-pressure: a reply that the kernel does not take at once is dropped and
//! counted, as a router would. One peer's fault never affects another peer's datagrams.

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

/// The first of the fixed keys for UDP sockets. Those below belong to acceptors, those from 2¹⁶ on to the admin pages.
const FIRST_KEY: u32 = 1 << 15;
const LAST_KEY: u32 = (1 << 16) - 1;

/// Datagrams answered per turn before other sockets and connections are served. Each costs a few microseconds.
const DATAGRAMS_PER_TURN: usize = 256;

/// Datagrams answered per socket at shutdown. More than the receive queue holds: its 208 KiB by default hold 277 of the
/// smallest datagrams.
const MAX_DRAINED_DATAGRAMS: usize = 1 << 16;

/// The UDP part of one worker.
pub(super) struct Datagrams<'a> {
    sockets: Vec<WorkerSocket>,
    /// None without sockets, because it is large.
    batch_io: Option<BatchIo<'a>>,
}

impl<'a> Datagrams<'a> {
    /// The UDP part of a worker with `sockets`.
    pub(super) fn new(shared: &'a Shared, counters: &'a Counters, sockets: Vec<DatagramSocket>) -> Result<Self, Error> {
        let Some(config) = &shared.config.datagrams else { return Ok(Self { sockets: Vec::new(), batch_io: None }) };
        let worker_socket =
            |(index, socket)| Ok(WorkerSocket::new(socket, Key::fixed(index), config.responder.make()?));
        let sockets = (FIRST_KEY..=LAST_KEY).zip(sockets).map(worker_socket).collect::<Result<Vec<_>, _>>();
        let sockets = sockets.map_err(Error::Panic)?;
        let batch_io = || BatchIo {
            shared,
            config,
            counters,
            recv_batch: RecvBatch::new(),
            send_batch: SendBatch::default(),
            rate_limit: config.rate_limit.map(|rate| RateLimit::new(rate, Instant::now())),
            warnings: Warnings::default(),
        };
        let batch_io = (!sockets.is_empty()).then(batch_io);
        Ok(Self { sockets, batch_io })
    }

    /// Whether the fixed key `index` belongs to a UDP socket.
    pub(super) fn owns(index: u32) -> bool {
        (FIRST_KEY..=LAST_KEY).contains(&index)
    }

    pub(super) fn open(&mut self, context: &LoopContext) -> io::Result<()> {
        self.sockets.iter_mut().try_for_each(|worker_socket| worker_socket.open(context))
    }

    /// Handles an event of a socket, or its turn in the ready queue.
    pub(super) fn handle(&mut self, context: &mut LoopContext, key: Key, is_turn: bool) {
        let (Some(worker_socket), Some(batch_io)) = (socket_of(&mut self.sockets, key), &mut self.batch_io) else {
            return;
        };
        // Further events may arrive before the turn; one turn handles all of them.
        if (worker_socket.is_queued && !is_turn) || worker_socket.is_pausing(context) {
            return;
        }
        let turn = batch_io.turn(context.now, worker_socket, DATAGRAMS_PER_TURN);
        worker_socket.is_queued = turn == TurnEnd::Unfinished;
        match turn {
            TurnEnd::Drained => {}
            TurnEnd::Unfinished => context.ready.push_back(key),
            TurnEnd::Paused => worker_socket.pause(context),
        }
    }

    /// The pause of a socket may be over.
    pub(super) fn handle_expired(&mut self, context: &mut LoopContext, key: Key) {
        self.handle(context, key, true);
    }

    /// Duplicates of the open sockets, for a handover.
    pub(super) fn duplicates(&self) -> impl Iterator<Item = io::Result<OwnedFd>> {
        self.sockets.iter().filter_map(WorkerSocket::socket).map(|socket| socket.as_fd().try_clone_to_owned())
    }

    /// Answers the datagrams received so far, then closes the sockets.
    pub(super) fn drain(&mut self, context: &mut LoopContext) {
        for worker_socket in &mut self.sockets {
            if let Some(batch_io) = &mut self.batch_io {
                batch_io.turn(context.now, worker_socket, MAX_DRAINED_DATAGRAMS);
            }
        }
        self.close(context);
    }

    /// Closes the sockets. After a handover the new process has the same sockets and answers what is in their queues.
    pub(super) fn close(&mut self, context: &mut LoopContext) {
        self.sockets.iter_mut().for_each(|worker_socket| worker_socket.close(context));
    }
}

fn socket_of(sockets: &mut [WorkerSocket], key: Key) -> Option<&mut WorkerSocket> {
    sockets.get_mut(key.as_fixed()?.checked_sub(FIRST_KEY)? as usize)
}
