//! Phases of a load: it starts when every connection is open, warms up, sends messages, and ends.

use super::arrivals::ArrivalSchedule;
use super::clock::nanos;
use super::dispatcher::{Dispatcher, MESSAGES_PER_TURN};
use super::measurements::Unanswered;
use super::plan::LoadPhase;
use super::worker::{DISPATCHER, LOAD_END, WARM_UP_END, Worker};
use crate::event_loop::{Key, LoopContext};
use std::time::Instant;

impl Worker<'_> {
    /// Starts the load at `instant`, the same for all workers. Every connection was opened or has failed.
    pub(super) fn begin_load(&mut self, context: &mut LoopContext, instant: Instant) {
        let load = &self.shared.config.load;
        if !load.begins_together() {
            return self.begin_hold(context);
        }
        let clock = self.plan.clock;
        let begin = clock.nanos(instant);
        self.plan.metrics.borrow().progress.begin(instant);
        let measured_from = begin.saturating_add(nanos(load.warm_up));
        self.plan.metrics.borrow_mut().message_metrics.begin(measured_from);
        if !load.warm_up.is_zero() {
            context.precise_timers.arm(WARM_UP_END, clock.instant(measured_from));
        }
        let end = load.duration.map(|duration| measured_from.saturating_add(nanos(duration)));
        match end {
            Some(end) => context.precise_timers.arm(LOAD_END, clock.instant(end)),
            None => self.begin_hold(context),
        }
        if let Some(rate) = load.rate {
            let keys = self.entries.keys();
            let schedule = ArrivalSchedule::new(rate, load.arrivals, load.seed, self.share);
            let max_messages = self.plan.total.saturating_mul(self.share.own());
            self.dispatcher = Some(Dispatcher::new(schedule, (begin, end.unwrap_or(u64::MAX)), max_messages, keys));
            context.precise_timers.arm(DISPATCHER, instant);
        }
        self.plan.phase.set(LoadPhase::Sending);
        if self.dispatcher.is_none() {
            self.wake_all(context);
        }
    }

    /// Ends the warm-up: from now on everything is measured.
    pub(super) fn end_warm_up(&self) {
        self.plan.metrics.borrow_mut().message_metrics.end_warm_up();
    }

    /// The load's time is over.
    pub(super) fn load_time_expired(&mut self, context: &mut LoopContext) {
        let now = self.plan.clock.nanos(context.now);
        if let Some(end) = self.dispatcher.as_mut().map_or(Some(now), |dispatcher| dispatcher.end(now)) {
            self.end_load(context, end);
        }
    }

    /// Ends the load; no message was sent after `end`. Messages in flight may still be answered.
    fn end_load(&mut self, context: &mut LoopContext, end: u64) {
        let now = self.plan.clock.nanos(context.now);
        self.plan.metrics.borrow_mut().message_metrics.end(end, now);
        self.plan.phase.set(LoadPhase::Draining);
        let mut no_connection_left = self.entries.is_empty();
        for attempt in self.connector.stop_reconnecting() {
            if let Some(failure) = attempt.failure {
                // It waited for a retry, which is cancelled.
                self.fail(attempt, failure);
            } else {
                no_connection_left = false;
                self.plan.metrics.borrow_mut().verified += 1;
                self.note_ended();
            }
        }
        self.count_unassigned(now, if no_connection_left { Unanswered::Lost } else { Unanswered::Pending });
        self.begin_hold(context);
        self.plan.keeps_open.set(false);
        self.wake_all(context);
    }

    /// Dispatches the messages that are due, and schedules the next turn.
    pub(super) fn dispatch(&mut self, context: &mut LoopContext) {
        let Some(mut dispatcher) = self.dispatcher.take() else { return };
        let now = self.plan.clock.nanos(context.now);
        for _ in 0..MESSAGES_PER_TURN {
            let Some(due) = dispatcher.due_by(now) else { break };
            let Some(key) = dispatcher.next_connection(|key| self.has_room(key)) else { break };
            dispatcher.advance(due, now);
            self.assign(context, key, (due, dispatcher.connection_available_at(due)), now);
        }
        let has_to_end = dispatcher.schedule_next(context, DISPATCHER, self.plan.clock, now);
        if let Some(end) = dispatcher.exhausted_at() {
            self.plan.metrics.borrow_mut().message_metrics.end(end, now);
        }
        self.dispatcher = Some(dispatcher);
        if has_to_end {
            self.end_load(context, now);
        }
    }

    /// Whether a connection is open and may be assigned more messages. The remaining ones are for the connection that
    /// replaces it.
    fn has_room(&mut self, key: Key) -> bool {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.opened.is_some()) else { return false };
        entry.session.connection.service_mut().exchange().is_some_and(|exchange| exchange.has_room())
    }

    fn assign(&mut self, context: &mut LoopContext, key: Key, (due, available_at): (u64, Option<u64>), now: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let connection = &mut entry.session.connection;
        if let Some(exchange) = connection.service_mut().exchange() {
            match available_at {
                // Assigned in time, but no connection was open.
                Some(instant) => exchange.add_blocked(due, instant),
                None => exchange.add(due, now),
            }
        }
        connection.handle_wake();
        self.plan.metrics.borrow_mut().message_metrics.due(due);
        self.turn(context, key);
    }

    /// Adds an opened connection to the dispatcher, and dispatches messages that waited for one.
    pub(super) fn add_connection(&mut self, context: &mut LoopContext, key: Key) {
        // Otherwise it is assigned messages when they become due.
        let now = self.plan.clock.nanos(context.now);
        if self.dispatcher.as_mut().is_some_and(|dispatcher| dispatcher.add(key, now)) {
            self.dispatch(context);
        }
    }

    /// Stops dispatching, and counts messages that were due by `now` and not assigned.
    pub(super) fn count_unassigned(&mut self, now: u64, why: Unanswered) {
        let Some(mut dispatcher) = self.dispatcher.take() else { return };
        let no_connection = dispatcher.waits_for_connection() || self.entries.is_empty();
        let message_metrics = &mut self.plan.metrics.borrow_mut().message_metrics;
        while let Some((due, count)) = dispatcher.take_unassigned(now) {
            message_metrics.count_unassigned(due, now, count, why, no_connection);
        }
        if let Some(end) = dispatcher.exhausted_at() {
            message_metrics.end(end, now);
        }
    }
}
