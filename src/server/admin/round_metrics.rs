//! Metrics of one worker's loop, recorded each round, and its heartbeat.

use crate::buffer::{BLOCK_BYTES, BufferPool};
use crate::event_loop::{Expired, LoopContext, Timer};
use crate::server::counters::Rounds;
use crate::server::process::Process;
use crate::server::token::Token;
use std::time::{Duration, Instant};

/// How often a loop runs even when idle, so that a stuck loop can be distinguished from an idle one.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Records the metrics of one worker's loop.
#[derive(Debug)]
pub(in crate::server) struct RoundMetrics<'a> {
    process: &'a Process,
    rounds: &'a Rounds,
    heartbeat: Timer,
}

impl<'a> RoundMetrics<'a> {
    pub(in crate::server) fn new(process: &'a Process, rounds: &'a Rounds) -> Self {
        // The loop counts as alive from here on; its first heartbeat comes after a whole interval.
        rounds.heartbeat_s.set(process.age_s(Instant::now()));
        Self { process, rounds, heartbeat: Timer::default() }
    }

    /// Arms the timer of the next heartbeat.
    pub(in crate::server) fn arm_heartbeat(&mut self, context: &mut LoopContext) {
        let deadline = context.now + HEARTBEAT_INTERVAL;
        context.wheel.arm(&mut self.heartbeat, Token::Heartbeat.key(), Some(deadline));
    }

    /// Records that the loop runs: per heartbeat rather than per round.
    pub(in crate::server) fn record_heartbeat(&mut self, context: &mut LoopContext) {
        self.rounds.heartbeat_s.set(self.process.age_s(context.now));
        self.arm_heartbeat(context);
    }

    /// Records how late an entry of the timer wheel expired.
    pub(in crate::server) fn record_timer_lag(&self, context: &LoopContext, due: Expired) {
        let lag = context.now.saturating_duration_since(context.wheel.deadline(due));
        self.rounds.timer_lag.observe(lag);
    }

    /// Records the end of a round. It costs one clock call more than without metrics, which is why metrics are
    /// optional.
    pub(in crate::server) fn record_round(&self, context: &LoopContext, pool: &BufferPool) {
        self.rounds.turn.observe(context.now.elapsed());
        self.rounds.spare_bytes.set((pool.spare_blocks() * BLOCK_BYTES) as u64);
        self.rounds.ready.set(context.ready.len() as u64);
    }

    /// Records that the worker exits normally.
    pub(in crate::server) fn record_exit(&self) {
        self.rounds.has_exited.set(1);
    }
}
