//! The course of a load: it begins when every connection is there, warms up, sends what is due, and ends.

use super::clock::nanos;
use super::measured::Unanswered;
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
        let measured_from = begin.saturating_add(nanos(load.warm_up));
        self.job.recorder.borrow_mut().book.begin(measured_from);
        if !load.warm_up.is_zero() {
            agenda.alarms.arm(WARM, clock.instant(measured_from));
        }
        let end = load.duration.map(|duration| measured_from.saturating_add(nanos(duration)));
        match end {
            Some(end) => agenda.alarms.arm(END, clock.instant(end)),
            None => self.begin_hold(agenda),
        }
        if let Some(rate) = load.rate {
            let keys = self.entries.keys();
            let schedule = Schedule::new(rate, load.arrivals, load.seed, self.share);
            let most = self.job.total.saturating_mul(self.share.own());
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

    /// The time of the load is over.
    pub(super) fn end_time(&mut self, agenda: &mut Agenda) {
        let now = self.job.clock.nanos(agenda.now);
        if let Some(end) = self.pacer.as_mut().map_or(Some(now), |pacer| pacer.end(now)) {
            self.end_load(agenda, end);
        }
    }

    /// Nothing more is sent, and was since `end`; what is under way may still be answered.
    fn end_load(&mut self, agenda: &mut Agenda, end: u64) {
        self.job.recorder.borrow_mut().book.end(end);
        self.job.phase.set(Phase::Ending);
        let mut is_hopeless = self.entries.is_empty();
        for dial in self.dialer.stop_following() {
            if let Some(failure) = dial.failure {
                // It was to be tried again, and is not any more.
                self.fail(dial, failure);
            } else {
                is_hopeless = false;
                self.job.recorder.borrow_mut().verified += 1;
                self.note_end();
            }
        }
        let now = self.job.clock.nanos(agenda.now);
        self.give_up_due(now, if is_hopeless { Unanswered::Lost } else { Unanswered::Pending });
        self.begin_hold(agenda);
        self.job.keeps_open.set(false);
        self.wake_all(agenda);
    }

    /// Gives out the messages that are due, and sees to it that the next ones are.
    pub(super) fn pace(&mut self, agenda: &mut Agenda) {
        let Some(mut pacer) = self.pacer.take() else { return };
        let now = self.job.clock.nanos(agenda.now);
        for _ in 0..MESSAGES_PER_TURN {
            let Some(due) = pacer.due_by(now) else { break };
            let Some(key) = pacer.next_connection(|key| self.takes_more(key)) else { break };
            pacer.advance(due, now);
            self.give(agenda, key, (due, pacer.waited_until(due)), now);
        }
        let has_to_end = pacer.go_on(agenda, PACER, self.job.clock, now);
        if let Some(end) = pacer.exhausted() {
            self.job.recorder.borrow_mut().book.end(end);
        }
        self.pacer = Some(pacer);
        if has_to_end {
            self.end_load(agenda, now);
        }
    }

    /// Whether a connection is open and has not yet all the messages it is there for: the rest is for the one that follows.
    fn takes_more(&mut self, key: Key) -> bool {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.opened.is_some()) else { return false };
        entry.conversation.connection.service_mut().exchange().is_some_and(|workload| workload.has_room())
    }

    fn give(&mut self, agenda: &mut Agenda, key: Key, (due, waited_until): (u64, Option<u64>), now: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let connection = &mut entry.conversation.connection;
        if let Some(workload) = connection.service_mut().exchange() {
            match waited_until {
                // For the client it was there when it was due, but had nowhere to go.
                Some(instant) => workload.add_held(due, instant),
                None => workload.add(due, now),
            }
        }
        connection.handle_wake();
        self.job.recorder.borrow_mut().book.due(due);
        self.turn(agenda, key);
    }

    /// A connection was opened: it takes part, and gets what nobody could take before.
    pub(super) fn welcome(&mut self, agenda: &mut Agenda, key: Key) {
        // Else the next message that is due comes to it.
        let now = self.job.clock.nanos(agenda.now);
        if self.pacer.as_mut().is_some_and(|pacer| pacer.add(key, now)) {
            self.pace(agenda);
        }
    }

    /// Nothing is given out any more. What was due by `now` and found no connection is counted all the same.
    pub(super) fn give_up_due(&mut self, now: u64, why: Unanswered) {
        let Some(mut pacer) = self.pacer.take() else { return };
        let is_alone = pacer.is_stuck() || self.entries.is_empty();
        let book = &mut self.job.recorder.borrow_mut().book;
        while let Some((due, count)) = pacer.give_up(now) {
            book.not_given(due, now, count, why, is_alone);
        }
        if let Some(end) = pacer.exhausted() {
            book.end(end);
        }
    }
}
