//! The course of a load: it begins when every socket is there, warms up, sends what is due, and ends.

use super::runner::{END, PACER, Runner, WARM};
use crate::client::clock::nanos;
use crate::client::measured::Unanswered;
use crate::client::pacer::{MESSAGES_PER_TURN, Pacer};
use crate::client::schedule::Schedule;
use crate::client::workload::Phase;
use crate::event_loop::Agenda;
use std::time::Instant;

impl Runner<'_> {
    /// Every socket was opened or has failed at `instant`, which is the same for all workers.
    pub(super) fn begin_load(&mut self, agenda: &mut Agenda, instant: Instant) {
        let (config, clock) = (&self.shared.config, self.shared.clock);
        let load = &config.load;
        if !load.begins_together() {
            return;
        }
        let begin = clock.nanos(instant);
        let measured_from = begin.saturating_add(nanos(load.warm_up));
        let recorder = &mut self.desk.recorder;
        recorder.progress.begin(instant);
        recorder.book.begin(measured_from);
        if !load.warm_up.is_zero() {
            agenda.alarms.arm(WARM, clock.instant(measured_from));
        }
        let end = load.duration.map(|duration| measured_from.saturating_add(nanos(duration)));
        if let Some(end) = end {
            agenda.alarms.arm(END, clock.instant(end));
        }
        if let Some(rate) = load.rate {
            let keys = self.entries.keys();
            let most = config.plan().total.saturating_mul(self.share.own());
            let schedule = Schedule::new(rate, load.arrivals, load.seed, self.share);
            self.pacer = Some(Pacer::new(schedule, (begin, end.unwrap_or(u64::MAX)), most, keys));
            agenda.alarms.arm(PACER, instant);
        }
        self.desk.phase = Phase::Sending;
        self.turn_all(agenda);
    }

    /// From now on everything is measured.
    pub(super) fn end_warm_up(&mut self) {
        self.desk.recorder.book.end_warm_up();
    }

    /// The time of the load is over.
    pub(super) fn end_time(&mut self, agenda: &mut Agenda) {
        let now = self.shared.clock.nanos(agenda.now);
        if let Some(end) = self.pacer.as_mut().map_or(Some(now), |pacer| pacer.end(now)) {
            self.end_load(agenda, end);
        }
    }

    /// Nothing more is sent, and was since `end`; what is under way may still be answered.
    fn end_load(&mut self, agenda: &mut Agenda, end: u64) {
        self.desk.recorder.end(end);
        self.desk.phase = Phase::Ending;
        self.turn_all(agenda);
    }

    /// Gives the messages that are due to the sockets in turn, and sends them: those of one socket with one call. Sees to it
    /// that the next ones are sent.
    pub(super) fn pace(&mut self, agenda: &mut Agenda) {
        let Some(mut pacer) = self.pacer.take() else { return };
        let now = self.shared.clock.nanos(agenda.now);
        let mut sending = std::mem::take(&mut self.sending);
        for _ in 0..MESSAGES_PER_TURN {
            let Some(due) = pacer.due_by(now) else { break };
            let entries = &mut self.entries;
            let mut takes_more = |key| entries.get_mut(key).is_some_and(|entry| entry.flight.has_room());
            let Some(key) = pacer.next_connection(&mut takes_more) else { break };
            pacer.advance(due, now);
            self.desk.recorder.book.due(due);
            if self.entries.get_mut(key).is_some_and(|entry| entry.flight.add(due, now)) {
                sending.push(key);
            }
        }
        let has_to_end = pacer.go_on(agenda, PACER, self.shared.clock, now);
        if let Some(end) = pacer.exhausted() {
            self.desk.recorder.book.end(end);
        }
        self.pacer = Some(pacer);
        for key in sending.drain(..) {
            self.send(agenda, key, false);
        }
        self.sending = sending;
        if has_to_end {
            self.end_load(agenda, now);
        }
    }

    /// Writes down what became due and was given to nobody, because no socket was there, or none had a message left.
    pub(super) fn count_homeless(&mut self, now: u64) {
        let Some(mut pacer) = self.pacer.take() else { return };
        let book = &mut self.desk.recorder.book;
        while let Some((due, count)) = pacer.give_up(now) {
            book.not_given(due, now, count, Unanswered::Pending, pacer.is_stuck());
        }
        if let Some(end) = pacer.exhausted() {
            book.end(end);
        }
    }
}
