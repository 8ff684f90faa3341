//! Phases of a UDP load: it starts when every socket is open, warms up, sends messages, and ends.

use super::worker::{DISPATCHER, LOAD_END, UdpWorker, WARM_UP_END};
use crate::client::arrivals::ArrivalSchedule;
use crate::client::clock::nanos;
use crate::client::dispatcher::{Dispatcher, MESSAGES_PER_TURN};
use crate::client::measurements::Unanswered;
use crate::client::plan::LoadPhase;
use crate::event_loop::LoopContext;
use std::time::Instant;

impl UdpWorker<'_> {
    /// Starts the load at `instant`, the same for all workers. Every socket was opened or has failed.
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
        metrics.message_metrics.begin(measured_from);
        if !load.warm_up.is_zero() {
            context.precise_timers.arm(WARM_UP_END, clock.instant(measured_from));
        }
        let end = load.duration.map(|duration| measured_from.saturating_add(nanos(duration)));
        if let Some(end) = end {
            context.precise_timers.arm(LOAD_END, clock.instant(end));
        }
        if let Some(rate) = load.rate {
            let keys = self.entries.keys();
            let max_messages = config.plan().total.saturating_mul(self.share.own());
            let schedule = ArrivalSchedule::new(rate, load.arrivals, load.seed, self.share);
            self.dispatcher = Some(Dispatcher::new(schedule, (begin, end.unwrap_or(u64::MAX)), max_messages, keys));
            context.precise_timers.arm(DISPATCHER, instant);
        }
        self.batch.phase = LoadPhase::Sending;
        self.turn_all(context);
    }

    /// Ends the warm-up: from now on everything is measured.
    pub(super) fn end_warm_up(&mut self) {
        self.batch.metrics.message_metrics.end_warm_up();
    }

    /// The load's time is over.
    pub(super) fn load_time_expired(&mut self, context: &mut LoopContext) {
        let now = self.shared.clock.nanos(context.now);
        if let Some(end) = self.dispatcher.as_mut().map_or(Some(now), |dispatcher| dispatcher.end(now)) {
            self.end_load(context, end);
        }
    }

    /// Ends the load; no message was sent after `end`. Messages in flight may still be answered.
    fn end_load(&mut self, context: &mut LoopContext, end: u64) {
        self.batch.metrics.end(end, self.batch.now());
        self.batch.phase = LoadPhase::Draining;
        self.turn_all(context);
    }

    /// Assigns the messages that are due to the sockets in turn, and sends those of one socket with one call. Schedules
    /// the next turn.
    pub(super) fn dispatch(&mut self, context: &mut LoopContext) {
        let Some(mut dispatcher) = self.dispatcher.take() else { return };
        let now = self.shared.clock.nanos(context.now);
        let mut sending = std::mem::take(&mut self.sending);
        for _ in 0..MESSAGES_PER_TURN {
            let Some(due) = dispatcher.due_by(now) else { break };
            let entries = &mut self.entries;
            let mut has_room = |key| entries.get_mut(key).is_some_and(|entry| entry.in_flight.has_room());
            let Some(key) = dispatcher.next_connection(&mut has_room) else { break };
            dispatcher.advance(due, now);
            self.batch.metrics.message_metrics.due(due);
            if self.entries.get_mut(key).is_some_and(|entry| entry.in_flight.add(due, now)) {
                sending.push(key);
            }
        }
        let has_to_end = dispatcher.schedule_next(context, DISPATCHER, self.shared.clock, now);
        if let Some(end) = dispatcher.exhausted_at() {
            self.batch.metrics.message_metrics.end(end, now);
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

    /// Counts messages that were due and assigned to no socket, because none was open or none had messages left.
    pub(super) fn count_unassigned(&mut self, now: u64) {
        let Some(mut dispatcher) = self.dispatcher.take() else { return };
        let message_metrics = &mut self.batch.metrics.message_metrics;
        while let Some((due, count)) = dispatcher.take_unassigned(now) {
            message_metrics.count_unassigned(due, now, count, Unanswered::Pending, dispatcher.waits_for_connection());
        }
        if let Some(end) = dispatcher.exhausted_at() {
            message_metrics.end(end, now);
        }
    }
}
