//! The course of a load: it begins when every socket is there, warms up, sends what is due, and ends.

use super::worker::{DISPATCHER, END, UdpWorker, WARM};
use crate::client::arrivals::ArrivalSchedule;
use crate::client::clock::nanos;
use crate::client::dispatcher::{Dispatcher, MESSAGES_PER_TURN};
use crate::client::exchange::LoadPhase;
use crate::client::measurements::Unanswered;
use crate::event_loop::LoopContext;
use std::time::Instant;

impl UdpWorker<'_> {
    /// Every socket was opened or has failed at `instant`, which is the same for all workers.
    pub(super) fn begin_load(&mut self, context: &mut LoopContext, instant: Instant) {
        let (config, clock) = (&self.shared.config, self.shared.clock);
        let load = &config.load;
        if !load.begins_together() {
            return;
        }
        let begin = clock.nanos(instant);
        let measured_from = begin.saturating_add(nanos(load.warm_up));
        let metrics = &mut self.batch.metrics;
        metrics.progress.begin(instant);
        metrics.messages.begin(measured_from);
        if !load.warm_up.is_zero() {
            context.precise_timers.arm(WARM, clock.instant(measured_from));
        }
        let end = load.duration.map(|duration| measured_from.saturating_add(nanos(duration)));
        if let Some(end) = end {
            context.precise_timers.arm(END, clock.instant(end));
        }
        if let Some(rate) = load.rate {
            let keys = self.entries.keys();
            let most = config.plan().total.saturating_mul(self.share.own());
            let schedule = ArrivalSchedule::new(rate, load.arrivals, load.seed, self.share);
            self.dispatcher = Some(Dispatcher::new(schedule, (begin, end.unwrap_or(u64::MAX)), most, keys));
            context.precise_timers.arm(DISPATCHER, instant);
        }
        self.batch.phase = LoadPhase::Sending;
        self.turn_all(context);
    }

    /// From now on everything is measured.
    pub(super) fn end_warm_up(&mut self) {
        self.batch.metrics.messages.end_warm_up();
    }

    /// The time of the load is over.
    pub(super) fn end_time(&mut self, context: &mut LoopContext) {
        let now = self.shared.clock.nanos(context.now);
        if let Some(end) = self.dispatcher.as_mut().map_or(Some(now), |dispatcher| dispatcher.end(now)) {
            self.end_load(context, end);
        }
    }

    /// Nothing more is sent, and was since `end`; what is under way may still be answered.
    fn end_load(&mut self, context: &mut LoopContext, end: u64) {
        self.batch.metrics.end(end);
        self.batch.phase = LoadPhase::HalfClose;
        self.turn_all(context);
    }

    /// Gives the messages that are due to the sockets in turn, and sends them: those of one socket with one call. Sees to it
    /// that the next ones are sent.
    pub(super) fn pace(&mut self, context: &mut LoopContext) {
        let Some(mut dispatcher) = self.dispatcher.take() else { return };
        let now = self.shared.clock.nanos(context.now);
        let mut sending = std::mem::take(&mut self.sending);
        for _ in 0..MESSAGES_PER_TURN {
            let Some(due) = dispatcher.due_by(now) else { break };
            let entries = &mut self.entries;
            let mut takes_more = |key| entries.get_mut(key).is_some_and(|entry| entry.in_flight.has_room());
            let Some(key) = dispatcher.next_connection(&mut takes_more) else { break };
            dispatcher.advance(due, now);
            self.batch.metrics.messages.due(due);
            if self.entries.get_mut(key).is_some_and(|entry| entry.in_flight.add(due, now)) {
                sending.push(key);
            }
        }
        let has_to_end = dispatcher.go_on(context, DISPATCHER, self.shared.clock, now);
        if let Some(end) = dispatcher.exhausted() {
            self.batch.metrics.messages.end(end);
        }
        self.dispatcher = Some(dispatcher);
        for key in sending.drain(..) {
            self.send(context, key, false);
        }
        self.sending = sending;
        if has_to_end {
            self.end_load(context, now);
        }
    }

    /// Writes down what became due and was given to nobody, because no socket was there, or none had a message left.
    pub(super) fn count_homeless(&mut self, now: u64) {
        let Some(mut dispatcher) = self.dispatcher.take() else { return };
        let messages = &mut self.batch.metrics.messages;
        while let Some((due, count)) = dispatcher.give_up(now) {
            messages.not_given(due, now, count, Unanswered::Pending, dispatcher.is_stuck());
        }
        if let Some(end) = dispatcher.exhausted() {
            messages.end(end);
        }
    }
}
