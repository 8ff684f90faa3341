//! The UDP sockets of one worker: events, pauses, drain and handover.

use super::rate_limit::RateLimit;
use super::socket::{BatchIo, TurnEnd, Warnings, WorkerSocket};
use crate::error::Error;
use crate::event_loop::LoopContext;
use crate::server::counters::Counters;
use crate::server::shared::Shared;
use crate::server::token::{Token, Trigger};
use crate::socket::{DatagramSocket, RecvBatch, SendBatch};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// Datagrams answered per turn before other sockets and connections are served. Each costs a few microseconds.
const DATAGRAMS_PER_TURN: usize = 256;

/// Datagrams answered per socket at shutdown. More than the receive queue holds: its 208 KiB by default hold 277 of the
/// smallest datagrams.
const MAX_DRAINED_DATAGRAMS: usize = 1 << 16;

/// The UDP part of one worker.
pub(in crate::server) struct UdpSockets<'a> {
    sockets: Vec<WorkerSocket>,
    /// None without sockets, because it is large.
    batch_io: Option<BatchIo<'a>>,
}

impl<'a> UdpSockets<'a> {
    /// The UDP part of a worker with `sockets`.
    pub(in crate::server) fn new(
        shared: &'a Shared,
        counters: &'a Counters,
        sockets: Vec<DatagramSocket>,
    ) -> Result<Self, Error> {
        let Some(config) = &shared.config.datagrams else { return Ok(Self { sockets: Vec::new(), batch_io: None }) };
        let worker_socket =
            |(index, socket)| Ok(WorkerSocket::new(socket, Token::UdpSocket(index).key(), config.responder.make()?));
        let sockets = sockets.into_iter().enumerate().map(worker_socket).collect::<Result<Vec<_>, _>>();
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

    pub(in crate::server) fn open(&mut self, context: &LoopContext) -> io::Result<()> {
        self.sockets.iter_mut().try_for_each(|worker_socket| worker_socket.open(context))
    }

    /// Handles an event of a socket, its turn in the ready queue, or the end of its pause.
    pub(in crate::server) fn handle(&mut self, context: &mut LoopContext, index: usize, trigger: Trigger) {
        let (Some(worker_socket), Some(batch_io)) = (self.sockets.get_mut(index), &mut self.batch_io) else { return };
        let is_event = matches!(trigger, Trigger::Event(_));
        // Further events may arrive before the turn; one turn handles all of them.
        if (worker_socket.is_queued && is_event) || worker_socket.is_pausing(context) {
            return;
        }
        let turn = batch_io.turn(context.now, worker_socket, DATAGRAMS_PER_TURN);
        worker_socket.is_queued = turn == TurnEnd::Unfinished;
        match turn {
            TurnEnd::Drained => {}
            TurnEnd::Unfinished => context.ready.push_back(Token::UdpSocket(index).key()),
            TurnEnd::Paused => worker_socket.pause(context),
        }
    }

    /// Duplicates of the open sockets, for a handover.
    pub(in crate::server) fn duplicates(&self) -> impl Iterator<Item = io::Result<OwnedFd>> {
        self.sockets.iter().filter_map(WorkerSocket::socket).map(|socket| socket.as_fd().try_clone_to_owned())
    }

    /// Answers the datagrams received so far, then closes the sockets.
    pub(in crate::server) fn drain(&mut self, context: &mut LoopContext) {
        for worker_socket in &mut self.sockets {
            if let Some(batch_io) = &mut self.batch_io {
                batch_io.turn(context.now, worker_socket, MAX_DRAINED_DATAGRAMS);
            }
        }
        self.close(context);
    }

    /// Closes the sockets. After a handover the new process has the same sockets and answers what is in their queues.
    pub(in crate::server) fn close(&mut self, context: &mut LoopContext) {
        self.sockets.iter_mut().for_each(|worker_socket| worker_socket.close(context));
    }
}
