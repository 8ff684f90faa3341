//! What a server tells about itself while it runs: each worker's notes at the end of a round, and the desk on the first
//! worker where the pages are asked for.
//!
//! All of it lives in the workers' own loops. Its keys are fixed ones beyond those of the doors, so that a connection
//! of the service neither grows nor takes another branch because there is such a page.

mod datagrams;
mod desk;
mod exposition;
mod site;

use super::Shared;
use super::accept::Door;
use super::counters::Counters;
use crate::buffer::{LENT_BYTES, Lender};
use crate::event_loop::{Agenda, Due, Key, Readiness, Timer, unix_time};
use crate::socket::Listener;
use desk::Desk;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

pub(super) use desk::VISITORS;

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
    desk: Option<Desk>,
}

impl Metrics {
    /// The part of worker `number`, with a desk if there are listeners for it.
    pub(super) fn new(shared: &Arc<Shared>, number: usize, listeners: Vec<Listener>) -> Self {
        let metrics =
            Self { shared: Arc::clone(shared), number, timer: Timer::default(), desk: Desk::new(shared, listeners) };
        metrics.note_beat(Instant::now());
        metrics
    }

    /// Whether a fixed key with this index belongs here.
    pub(super) fn owns(index: u32) -> bool {
        index >= FIRST_KEY
    }

    /// Whether pages are asked for here: then the worker stays to the end.
    pub(super) fn has_desk(&self) -> bool {
        self.desk.is_some()
    }

    pub(super) fn open(&mut self, agenda: &mut Agenda) -> io::Result<()> {
        // No beat is noted: before the loop runs, the time of its round is the time when it was made.
        self.rest(agenda);
        self.desk.as_mut().map_or(Ok(()), |desk| desk.open(agenda))
    }

    /// Where those who ask come in.
    pub(super) fn doors(&self) -> &[Door] {
        self.desk.as_ref().map_or(&[], Desk::doors)
    }

    /// From now on those who ask are the successor's.
    pub(super) fn close(&mut self, agenda: &mut Agenda) {
        if let Some(desk) = &mut self.desk {
            desk.close(agenda);
        }
    }

    pub(super) fn handle_event(&mut self, agenda: &mut Agenda, key: Key, readiness: Readiness) {
        if let Some(desk) = &mut self.desk {
            desk.handle_event(agenda, key, readiness);
        }
    }

    pub(super) fn handle_ready(&mut self, agenda: &mut Agenda, key: Key) {
        if let Some(desk) = &mut self.desk {
            desk.handle_ready(agenda, key);
        }
    }

    pub(super) fn handle_due(&mut self, agenda: &mut Agenda, due: Due) {
        if due.key() == BEAT {
            // The loop turns: that is noted with each beat, and not in each round.
            self.note_beat(agenda.now);
            self.rest(agenda);
            if let Some(desk) = &mut self.desk {
                desk.close_overdue(agenda);
            }
        } else if let Some(desk) = &mut self.desk {
            desk.handle_due(agenda, due);
        }
    }

    /// Some entry of the wheel came up.
    pub(super) fn note_lag(&self, agenda: &Agenda, due: Due) {
        let lag = agenda.now.saturating_duration_since(agenda.wheel.deadline(due));
        self.counters().rounds.timer_lag.observe(lag);
    }

    /// A round is over. One more clock call than without metrics, which is why all this is optional.
    pub(super) fn note_round(&self, agenda: &Agenda, lender: &Lender) {
        let rounds = &self.counters().rounds;
        rounds.turn.observe(agenda.now.elapsed());
        rounds.spare_bytes.set((lender.spare_blocks() * LENT_BYTES) as u64);
        rounds.ready.set(agenda.ready.len() as u64);
    }

    /// The worker ends in order.
    pub(super) fn leave(&self) {
        self.counters().rounds.has_left.set(1);
    }

    fn rest(&mut self, agenda: &mut Agenda) {
        let deadline = agenda.now + BEAT_INTERVAL;
        agenda.wheel.arm(&mut self.timer, BEAT, Some(deadline));
    }

    fn note_beat(&self, now: Instant) {
        self.counters().rounds.beat_s.set(self.shared.process.age_s(now));
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters[self.number]
    }
}
