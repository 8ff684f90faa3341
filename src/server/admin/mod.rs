//! Admin pages: per-worker metrics recorded each round, and HTTP connections of the first worker.

mod connections;
mod exposition;
mod routes;
mod udp;

pub(super) use connections::{AdminConnection, AdminConnections, MAX_ADMIN_CONNECTIONS};

use super::counters::Rounds;
use super::token::Token;
use crate::buffer::{BLOCK_BYTES, BufferPool};
use crate::event_loop::{Expired, LoopContext, Timer, unix_time};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

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

/// Records the metrics of one worker's loop.
#[derive(Debug)]
pub(super) struct RoundMetrics<'a> {
    process: &'a Process,
    rounds: &'a Rounds,
    heartbeat: Timer,
}

impl<'a> RoundMetrics<'a> {
    pub(super) fn new(process: &'a Process, rounds: &'a Rounds) -> Self {
        // The loop counts as alive from here on; its first heartbeat comes after a whole interval.
        rounds.heartbeat_s.set(process.age_s(Instant::now()));
        Self { process, rounds, heartbeat: Timer::default() }
    }

    /// Arms the timer of the next heartbeat.
    pub(super) fn arm_heartbeat(&mut self, context: &mut LoopContext) {
        let deadline = context.now + HEARTBEAT_INTERVAL;
        context.wheel.arm(&mut self.heartbeat, Token::Heartbeat.key(), Some(deadline));
    }

    /// Records that the loop runs: per heartbeat rather than per round.
    pub(super) fn record_heartbeat(&mut self, context: &mut LoopContext) {
        self.rounds.heartbeat_s.set(self.process.age_s(context.now));
        self.arm_heartbeat(context);
    }

    /// Records how late an entry of the timer wheel expired.
    pub(super) fn record_timer_lag(&self, context: &LoopContext, due: Expired) {
        let lag = context.now.saturating_duration_since(context.wheel.deadline(due));
        self.rounds.timer_lag.observe(lag);
    }

    /// Records the end of a round. It costs one clock call more than without metrics, which is why metrics are
    /// optional.
    pub(super) fn record_round(&self, context: &LoopContext, pool: &BufferPool) {
        self.rounds.turn.observe(context.now.elapsed());
        self.rounds.spare_bytes.set((pool.spare_blocks() * BLOCK_BYTES) as u64);
        self.rounds.ready.set(context.ready.len() as u64);
    }

    /// Records that the worker exits normally.
    pub(super) fn record_exit(&self) {
        self.rounds.has_exited.set(1);
    }
}
