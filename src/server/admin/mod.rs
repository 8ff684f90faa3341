//! Admin pages: per-worker metrics recorded each round, and the HTTP listener on the first worker.
//!
//! All of it runs in the workers' own loops under fixed keys, so a service connection takes neither more memory nor
//! another branch because of the admin pages.

mod exposition;
mod listener;
mod routes;
mod udp;

use super::Shared;
use super::acceptor::Acceptor;
use super::counters::Counters;
use super::token::{Token, Trigger};
use crate::buffer::{BLOCK_BYTES, BufferPool};
use crate::event_loop::{Expired, LoopContext, Timer, unix_time};
use crate::socket::Listener;
use listener::AdminListener;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

pub(super) use listener::MAX_ADMIN_CONNECTIONS;

/// How often a loop runs even when idle, so that a stuck loop can be distinguished from an idle one.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Facts about the process, for the admin pages.
#[derive(Debug)]
pub(super) struct Process {
    /// When the server was created, on the monotonic clock of the loops.
    created: Instant,
    /// The same on the wall clock, since 1970. A later change of the wall clock does not affect it.
    started: Duration,
    /// The limit on open descriptors, if it is known.
    descriptors: Option<u64>,
    /// New connections are no longer accepted.
    pub(super) is_draining: AtomicBool,
}

impl Process {
    pub(super) fn new(descriptors: Option<u64>) -> Self {
        let (created, started) = (Instant::now(), unix_time());
        Self { created, started, descriptors, is_draining: AtomicBool::new(false) }
    }

    /// Whole seconds from the creation to `now`.
    fn age_s(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.created).as_secs()
    }
}

/// The admin part of one worker.
pub(super) struct Metrics {
    shared: Arc<Shared>,
    number: usize,
    timer: Timer,
    listener: Option<AdminListener>,
}

impl Metrics {
    /// The admin part of worker `number`, with an HTTP listener if there are `listeners`.
    pub(super) fn new(shared: &Arc<Shared>, number: usize, listeners: Vec<Listener>) -> Self {
        let metrics = Self {
            shared: Arc::clone(shared),
            number,
            timer: Timer::default(),
            listener: AdminListener::new(shared, listeners),
        };
        metrics.record_heartbeat(Instant::now());
        metrics
    }

    /// Whether this worker serves the pages: then it ends last.
    pub(super) fn has_listener(&self) -> bool {
        self.listener.is_some()
    }

    pub(super) fn open(&mut self, context: &mut LoopContext) -> io::Result<()> {
        // No heartbeat is recorded: before the loop runs, the time of its round is the time of its creation.
        self.arm_heartbeat(context);
        self.listener.as_mut().map_or(Ok(()), |listener| listener.open(context))
    }

    /// The acceptors of the admin listener.
    pub(super) fn acceptors(&self) -> &[Acceptor] {
        self.listener.as_ref().map_or(&[], AdminListener::acceptors)
    }

    /// Closes the admin listener after a handover: the new process serves the pages.
    pub(super) fn close(&mut self, context: &mut LoopContext) {
        if let Some(listener) = &mut self.listener {
            listener.close(context);
        }
    }

    /// Handles the heartbeat, and what belongs to the admin listener.
    pub(super) fn handle(&mut self, context: &mut LoopContext, token: Token, trigger: Trigger) {
        if token == Token::Heartbeat {
            // Recorded per heartbeat rather than per round.
            self.record_heartbeat(context.now);
            self.arm_heartbeat(context);
        }
        if let Some(listener) = &mut self.listener {
            listener.handle(context, token, trigger);
        }
    }

    /// Records how late an entry of the timer wheel expired.
    pub(super) fn record_timer_lag(&self, context: &LoopContext, due: Expired) {
        let lag = context.now.saturating_duration_since(context.wheel.deadline(due));
        self.counters().rounds.timer_lag.observe(lag);
    }

    /// Records the end of a round. It costs one clock call more than without metrics, which is why metrics are
    /// optional.
    pub(super) fn record_round(&self, context: &LoopContext, pool: &BufferPool) {
        let rounds = &self.counters().rounds;
        rounds.turn.observe(context.now.elapsed());
        rounds.spare_bytes.set((pool.spare_blocks() * BLOCK_BYTES) as u64);
        rounds.ready.set(context.ready.len() as u64);
    }

    /// Records that the worker exits normally.
    pub(super) fn record_exit(&self) {
        self.counters().rounds.has_exited.set(1);
    }

    fn arm_heartbeat(&mut self, context: &mut LoopContext) {
        let deadline = context.now + HEARTBEAT_INTERVAL;
        context.wheel.arm(&mut self.timer, Token::Heartbeat.key(), Some(deadline));
    }

    fn record_heartbeat(&self, now: Instant) {
        self.counters().rounds.heartbeat_s.set(self.shared.process.age_s(now));
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters[self.number]
    }
}
