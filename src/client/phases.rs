//! The course of a load: it begins when every connection is there, warms up, sends what is due, and ends.

use super::arrivals::ArrivalSchedule;
use super::clock::nanos;
use super::dispatcher::{Dispatcher, MESSAGES_PER_TURN};
use super::exchange::LoadPhase;
use super::measurements::Unanswered;
use super::worker::{DISPATCHER, END, WARM, Worker};
use crate::event_loop::{Key, LoopContext};
use std::time::Instant;

impl Worker<'_> {
    /// Every connection was opened or has failed. The load begins at `instant`, which is the same for all workers.
    pub(super) fn begin_load(&mut self, context: &mut LoopContext, instant: Instant) {
        let load = &self.shared.config.load;
        if !load.begins_together() {
            return self.begin_hold(context);
        }
        let clock = self.plan.clock;
        let begin = clock.nanos(instant);
        self.plan.metrics.borrow().progress.begin(instant);
        let measured_from = begin.saturating_add(nanos(load.warm_up));
        self.plan.metrics.borrow_mut().messages.begin(measured_from);
        if !load.warm_up.is_zero() {
            context.precise_timers.arm(WARM, clock.instant(measured_from));
        }
        let end = load.duration.map(|duration| measured_from.saturating_add(nanos(duration)));
        match end {
            Some(end) => context.precise_timers.arm(END, clock.instant(end)),
            None => self.begin_hold(context),
        }
        if let Some(rate) = load.rate {
            let keys = self.entries.keys();
            let schedule = ArrivalSchedule::new(rate, load.arrivals, load.seed, self.share);
            let most = self.plan.total.saturating_mul(self.share.own());
            self.dispatcher = Some(Dispatcher::new(schedule, (begin, end.unwrap_or(u64::MAX)), most, keys));
            context.precise_timers.arm(DISPATCHER, instant);
        }
        self.plan.phase.set(LoadPhase::Sending);
        if self.dispatcher.is_none() {
            self.wake_all(context);
        }
    }

    /// From now on everything is measured.
    pub(super) fn end_warm_up(&self) {
        self.plan.metrics.borrow_mut().messages.end_warm_up();
    }

    /// The time of the load is over.
    pub(super) fn end_time(&mut self, context: &mut LoopContext) {
        let now = self.plan.clock.nanos(context.now);
        if let Some(end) = self.dispatcher.as_mut().map_or(Some(now), |dispatcher| dispatcher.end(now)) {
            self.end_load(context, end);
        }
    }

    /// Nothing more is sent, and was since `end`; what is under way may still be answered.
    fn end_load(&mut self, context: &mut LoopContext, end: u64) {
        self.plan.metrics.borrow_mut().messages.end(end);
        self.plan.phase.set(LoadPhase::HalfClose);
        let mut is_hopeless = self.entries.is_empty();
        for attempt in self.connector.stop_following() {
            if let Some(failure) = attempt.failure {
                // It was to be tried again, and is not any more.
                self.fail(attempt, failure);
            } else {
                is_hopeless = false;
                self.plan.metrics.borrow_mut().verified += 1;
                self.note_end();
            }
        }
        let now = self.plan.clock.nanos(context.now);
        self.give_up_due(now, if is_hopeless { Unanswered::Lost } else { Unanswered::Pending });
        self.begin_hold(context);
        self.plan.keeps_open.set(false);
        self.wake_all(context);
    }

    /// Gives out the messages that are due, and sees to it that the next ones are.
    pub(super) fn pace(&mut self, context: &mut LoopContext) {
        let Some(mut dispatcher) = self.dispatcher.take() else { return };
        let now = self.plan.clock.nanos(context.now);
        for _ in 0..MESSAGES_PER_TURN {
            let Some(due) = dispatcher.due_by(now) else { break };
            let Some(key) = dispatcher.next_connection(|key| self.takes_more(key)) else { break };
            dispatcher.advance(due, now);
            self.give(context, key, (due, dispatcher.waited_until(due)), now);
        }
        let has_to_end = dispatcher.go_on(context, DISPATCHER, self.plan.clock, now);
        if let Some(end) = dispatcher.exhausted() {
            self.plan.metrics.borrow_mut().messages.end(end);
        }
        self.dispatcher = Some(dispatcher);
        if has_to_end {
            self.end_load(context, now);
        }
    }

    /// Whether a connection is open and has not yet all the messages it is there for: the rest is for the one that follows.
    fn takes_more(&mut self, key: Key) -> bool {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.opened.is_some()) else { return false };
        entry.session.connection.service_mut().exchange().is_some_and(|exchange| exchange.has_room())
    }

    fn give(&mut self, context: &mut LoopContext, key: Key, (due, waited_until): (u64, Option<u64>), now: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let connection = &mut entry.session.connection;
        if let Some(exchange) = connection.service_mut().exchange() {
            match waited_until {
                // For the client it was there when it was due, but had nowhere to go.
                Some(instant) => exchange.add_held(due, instant),
                None => exchange.add(due, now),
            }
        }
        connection.handle_wake();
        self.plan.metrics.borrow_mut().messages.due(due);
        self.turn(context, key);
    }

    /// A connection was opened: it takes part, and gets what nobody could take before.
    pub(super) fn add_connection(&mut self, context: &mut LoopContext, key: Key) {
        // Else the next message that is due comes to it.
        let now = self.plan.clock.nanos(context.now);
        if self.dispatcher.as_mut().is_some_and(|dispatcher| dispatcher.add(key, now)) {
            self.pace(context);
        }
    }

    /// Nothing is given out any more. What was due by `now` and found no connection is counted all the same.
    pub(super) fn give_up_due(&mut self, now: u64, why: Unanswered) {
        let Some(mut dispatcher) = self.dispatcher.take() else { return };
        let is_alone = dispatcher.is_stuck() || self.entries.is_empty();
        let messages = &mut self.plan.metrics.borrow_mut().messages;
        while let Some((due, count)) = dispatcher.give_up(now) {
            messages.not_given(due, now, count, why, is_alone);
        }
        if let Some(end) = dispatcher.exhausted() {
            messages.end(end);
        }
    }
}
