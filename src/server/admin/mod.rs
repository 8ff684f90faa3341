//! What a server tells about itself while it runs: each worker's notes at the end of a round, and the desk on the first
//! worker where the pages are asked for.
//!
//! All of it lives in the workers' own loops. Its keys are fixed ones beyond those of the doors, so that a connection
//! of the service neither grows nor takes another branch because there is such a page.

mod exposition;
mod listener;
mod routes;
mod udp;

use super::Shared;
use super::acceptor::Acceptor;
use super::counters::Counters;
use crate::buffer::{BLOCK_BYTES, BufferPool};
use crate::event_loop::{Expired, Key, LoopContext, Readiness, Timer, unix_time};
use crate::socket::Listener;
use listener::AdminListener;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

pub(super) use listener::VISITORS;

/// The first of the fixed keys that belong here; those below are doors of the service.
const FIRST_KEY: u32 = 1 << 16;
const BEAT: Key = Key::fixed(FIRST_KEY);

/// How often a loop turns even when nothing happens, so that one that is stuck can be told from one that is idle.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of the process, whatever the workers do.
#[derive(Debug)]
pub(super) struct Process {
    /// When the server was made, by the clock that the loops use.
    born: Instant,
    /// The same by the wall clock, since 1970. Where that is set later, this stays as it is.
    started: Duration,
    /// How many descriptors it may open, if that is known.
    descriptors: Option<u64>,
    /// Nobody new is let in any more.
    pub(super) is_draining: AtomicBool,
}

impl Process {
    pub(super) fn new(descriptors: Option<u64>) -> Self {
        let (born, started) = (Instant::now(), unix_time());
        Self { born, started, descriptors, is_draining: AtomicBool::new(false) }
    }

    /// Whole seconds from its birth to `now`.
    fn age_s(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_secs()
    }
}

/// The part of one worker.
pub(super) struct Metrics {
    shared: Arc<Shared>,
    number: usize,
    timer: Timer,
    listener: Option<AdminListener>,
}

impl Metrics {
    /// The part of worker `number`, with a desk if there are listeners for it.
    pub(super) fn new(shared: &Arc<Shared>, number: usize, listeners: Vec<Listener>) -> Self {
        let metrics = Self {
            shared: Arc::clone(shared),
            number,
            timer: Timer::default(),
            listener: AdminListener::new(shared, listeners),
        };
        metrics.note_beat(Instant::now());
        metrics
    }

    /// Whether a fixed key with this index belongs here.
    pub(super) fn owns(index: u32) -> bool {
        index >= FIRST_KEY
    }

    /// Whether pages are asked for here: then the worker stays to the end.
    pub(super) fn has_listener(&self) -> bool {
        self.listener.is_some()
    }

    pub(super) fn open(&mut self, context: &mut LoopContext) -> io::Result<()> {
        // No beat is noted: before the loop runs, the time of its round is the time when it was made.
        self.rest(context);
        self.listener.as_mut().map_or(Ok(()), |listener| listener.open(context))
    }

    /// Where those who ask come in.
    pub(super) fn acceptors(&self) -> &[Acceptor] {
        self.listener.as_ref().map_or(&[], AdminListener::acceptors)
    }

    /// From now on those who ask are the successor's.
    pub(super) fn close(&mut self, context: &mut LoopContext) {
        if let Some(listener) = &mut self.listener {
            listener.close(context);
        }
    }

    pub(super) fn handle_event(&mut self, context: &mut LoopContext, key: Key, readiness: Readiness) {
        if let Some(listener) = &mut self.listener {
            listener.handle_event(context, key, readiness);
        }
    }

    pub(super) fn handle_ready(&mut self, context: &mut LoopContext, key: Key) {
        if let Some(listener) = &mut self.listener {
            listener.handle_ready(context, key);
        }
    }

    pub(super) fn handle_expired(&mut self, context: &mut LoopContext, due: Expired) {
        if due.key() == BEAT {
            // The loop turns: that is noted with each beat, and not in each round.
            self.note_beat(context.now);
            self.rest(context);
            if let Some(listener) = &mut self.listener {
                listener.close_overdue(context);
            }
        } else if let Some(listener) = &mut self.listener {
            listener.handle_expired(context, due);
        }
    }

    /// Some entry of the wheel came up.
    pub(super) fn note_lag(&self, context: &LoopContext, due: Expired) {
        let lag = context.now.saturating_duration_since(context.wheel.deadline(due));
        self.counters().rounds.timer_lag.observe(lag);
    }

    /// A round is over. One more clock call than without metrics, which is why all this is optional.
    pub(super) fn note_round(&self, context: &LoopContext, pool: &BufferPool) {
        let rounds = &self.counters().rounds;
        rounds.turn.observe(context.now.elapsed());
        rounds.spare_bytes.set((pool.spare_blocks() * BLOCK_BYTES) as u64);
        rounds.ready.set(context.ready.len() as u64);
    }

    /// The worker ends in order.
    pub(super) fn leave(&self) {
        self.counters().rounds.has_left.set(1);
    }

    fn rest(&mut self, context: &mut LoopContext) {
        let deadline = context.now + BEAT_INTERVAL;
        context.wheel.arm(&mut self.timer, BEAT, Some(deadline));
    }

    fn note_beat(&self, now: Instant) {
        self.counters().rounds.beat_s.set(self.shared.process.age_s(now));
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters[self.number]
    }
}
