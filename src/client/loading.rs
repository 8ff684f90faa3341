//! The course of a load: it begins when every connection is there, warms up, sends what is due, and ends.

use super::clock::nanos;
use super::pacer::{MESSAGES_PER_TURN, Pacer};
use super::runner::{END, PACER, Runner, WARM};
use super::schedule::Schedule;
use super::workload::Phase;
use crate::event_loop::{Agenda, Key};
use std::time::Instant;

impl Runner<'_> {
    /// Every connection was opened or has failed. The load begins at `instant`, which is the same for all workers.
    pub(super) fn begin_load(&mut self, agenda: &mut Agenda, instant: Instant) {
        let load = &self.shared.config.load;
        if !load.begins_together() {
            return self.begin_hold(agenda);
        }
        let clock = self.job.clock;
        let begin = clock.nanos(instant);
        self.job.recorder.borrow().progress.begin(instant);
        let measured_from = begin + nanos(load.warm_up);
        self.job.recorder.borrow_mut().book.begin(measured_from);
        if !load.warm_up.is_zero() {
            agenda.alarms.arm(WARM, clock.instant(measured_from));
        }
        let end = load.duration.map(|duration| measured_from + nanos(duration));
        match end {
            Some(end) => agenda.alarms.arm(END, clock.instant(end)),
            None => self.begin_hold(agenda),
        }
        if let Some(rate) = load.rate {
            let keys = self.entries.keys();
            let share = keys.len() as u64;
            let schedule = Schedule::new(rate, load.arrivals, load.seed, self.number, self.shared.config.workers);
            let most = self.job.total.saturating_mul(share);
            self.pacer = Some(Pacer::new(schedule, (begin, end.unwrap_or(u64::MAX)), most, keys));
            agenda.alarms.arm(PACER, instant);
        }
        self.job.phase.set(Phase::Sending);
        if self.pacer.is_none() {
            self.wake_all(agenda);
        }
    }

    /// From now on everything is measured.
    pub(super) fn end_warm_up(&self) {
        self.job.recorder.borrow_mut().book.end_warm_up();
    }

    /// Nothing more is sent; what is under way may still be answered.
    pub(super) fn end_load(&mut self, agenda: &mut Agenda) {
        self.job.recorder.borrow_mut().book.end(self.job.clock.nanos(agenda.now));
        self.job.phase.set(Phase::Ending);
        for dial in self.dialer.stop_following() {
            match dial.failure {
                // It was to be tried again, and is not any more.
                Some(failure) => self.fail(dial, failure),
                None => {
                    let mut recorder = self.job.recorder.borrow_mut();
                    recorder.verified += 1;
                    recorder.progress.ended.add(1);
                }
            }
        }
        self.begin_hold(agenda);
        self.wake_all(agenda);
    }

    /// Gives out the messages that are due, and sees to it that the next ones are.
    pub(super) fn pace(&mut self, agenda: &mut Agenda) {
        let is_all = self.hand_out(agenda);
        match self.pacer.as_ref().and_then(Pacer::next_due) {
            Some(due) => agenda.alarms.arm(PACER, self.job.clock.instant(due)),
            None if !is_all => agenda.alarms.arm(PACER, agenda.now),
            None => {}
        }
    }

    /// Gives the messages that are due to the connections in turn; whether that was all that could be given.
    fn hand_out(&mut self, agenda: &mut Agenda) -> bool {
        let Some(mut pacer) = self.pacer.take() else { return true };
        let now = self.job.clock.nanos(agenda.now);
        let mut is_all = false;
        for _ in 0..MESSAGES_PER_TURN {
            let Some(due) = pacer.take_due(now) else {
                is_all = true;
                break;
            };
            let Some(key) = pacer.next_connection(|key| self.takes_more(key)) else {
                pacer.put_back(due, now);
                is_all = true;
                break;
            };
            self.give(agenda, key, due, now);
        }
        self.pacer = Some(pacer);
        is_all
    }

    /// Whether a connection is open and has not yet all the messages it is there for: the rest is for the one that follows.
    fn takes_more(&mut self, key: Key) -> bool {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.opened.is_some()) else { return false };
        entry.conversation.connection.service_mut().exchange().is_some_and(|workload| workload.has_room())
    }

    fn give(&mut self, agenda: &mut Agenda, key: Key, due: u64, now: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let connection = &mut entry.conversation.connection;
        if let Some(workload) = connection.service_mut().exchange() {
            workload.add(due, now);
        }
        connection.handle_wake();
        self.job.recorder.borrow_mut().book.due(due);
        self.turn(agenda, key);
    }

    /// A connection was opened: it takes part, and gets what nobody could take before.
    pub(super) fn welcome(&mut self, agenda: &mut Agenda, key: Key) {
        if let Some(pacer) = &mut self.pacer {
            pacer.add(key);
            let is_over = pacer.next_due().is_none();
            // Else the next message that is due comes to it.
            if pacer.has_homeless() && !self.hand_out(agenda) && is_over {
                agenda.alarms.arm(PACER, agenda.now);
            }
        }
    }
}
