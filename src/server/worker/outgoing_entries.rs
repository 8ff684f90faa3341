//! Outgoing connections in the session table of a worker: requests, events, turns and ends.

use super::Worker;
use super::entry::Entry;
use super::outgoing::{Connects, Outgoing, State, Step};
use super::session_turn::run_turn;
use crate::connection::CloseReason;
use crate::event_loop::{Key, LoopContext};
use crate::log_targets::SERVER_LOG;
use crate::pump::Pump;
use crate::server::counters::HandshakeResult;
use crate::server::lifecycle::Lifecycle;
use crate::server::observer::SessionObserver;
use crate::server::resolver::Resolved;
use crate::server::token::Trigger;
use crate::service::{Context, Service};

impl<S: Service> Worker<'_, S> {
    /// Starts up to `at_once` of the connections that services have requested; the others get a place in the ready queue.
    pub(super) fn start_connects(&mut self, context: &mut LoopContext, at_once: usize) {
        for (position, request) in std::mem::take(&mut self.connects.requests).into_iter().enumerate() {
            let (connection, requester, endpoint) = (request.number, request.requester, &request.options.endpoint);
            log::debug!(target: SERVER_LOG, connection, requester; "Connecting to {endpoint}");
            let is_allowed = self.shared.admission.enter_outgoing();
            let handle = request.handle.clone();
            let outgoing = Outgoing::new(request, is_allowed, self.limits.drain_by, context.now);
            if !is_allowed {
                let id = (outgoing.number, &outgoing.options.endpoint);
                self.connects.warn(context.now, id, "too many outgoing connections");
            }
            let key = self.entries.insert(Entry::Outgoing(Box::new(outgoing)));
            handle.attach(key.into());
            match self.stage {
                Lifecycle::Stopped => self.close(context, key, CloseReason::Stopped),
                _ if !is_allowed => self.close(context, key, CloseReason::OutgoingLimit),
                _ if position < at_once => self.handle_outgoing(context, key, Trigger::Ready),
                _ => context.ready.push_back(key),
            }
        }
    }

    /// The lookup of the name of a connection is complete.
    pub(super) fn handle_resolved(&mut self, context: &mut LoopContext, key: Key, resolved: Resolved) {
        self.advance(context, key, |outgoing, context, connects| {
            outgoing.handle_resolved(context, key, connects, resolved)
        });
    }

    /// Handles an event, a timer or a wake of an outgoing connection.
    pub(super) fn handle_outgoing(&mut self, context: &mut LoopContext, key: Key, trigger: Trigger) {
        self.advance(context, key, |outgoing, context, connects| outgoing.handle(context, key, connects, trigger));
    }

    /// The server drains.
    pub(super) fn drain_outgoing(&mut self, context: &mut LoopContext, key: Key) {
        let drain_by = self.limits.drain_by;
        self.advance(context, key, |outgoing, context, _| outgoing.handle_drain(context, key, drain_by));
    }

    /// A handle of an outgoing connection was used on this thread. Its turn comes now or in the ready queue.
    pub(super) fn wake_outgoing(&mut self, context: &mut LoopContext, key: Key, at_once: bool) {
        let Some(Entry::Outgoing(outgoing)) = self.entries.get_mut(key) else { return };
        match (outgoing.handle(context, key, &mut self.connects, Trigger::Wake), &mut outgoing.state) {
            (Step::Wait, _) => {}
            (Step::Close(reason), _) => self.close(context, key, reason),
            (Step::Turn, State::Connected(entry)) if !at_once => entry.session.queue_turn(context, key),
            (Step::Turn, _) => self.turn_outgoing(context, key),
        }
    }

    /// Calls `handle` for the connection with `key`, if it still exists, and takes the next step.
    fn advance(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        handle: impl FnOnce(&mut Outgoing, &mut LoopContext, &mut Connects<'_>) -> Step,
    ) {
        let Some(Entry::Outgoing(outgoing)) = self.entries.get_mut(key) else { return };
        match handle(outgoing, context, &mut self.connects) {
            Step::Wait => {}
            Step::Turn => self.turn(context, key),
            Step::Close(reason) => self.close(context, key, reason),
        }
    }

    /// Runs a turn of an outgoing connection.
    pub(super) fn turn_outgoing(&mut self, context: &mut LoopContext, key: Key) {
        let Some(Entry::Outgoing(outgoing)) = self.entries.get_mut(key) else { return };
        let Outgoing { state: State::Connected(entry), service, options, held_bytes, .. } = &mut **outgoing else {
            return;
        };
        let (counters, memory) = (self.counters, &self.shared.memory);
        let mut observer = SessionObserver {
            now: context.now,
            key,
            peer: &entry.peer.get(),
            number: entry.number,
            listener: None,
            notify: &self.notify,
            shared: self.shared,
            requests: &mut self.connects.requests,
            send_limit: options.limits.buffer_bytes,
            sending: self.shared.config.sending,
            counters,
            expects_plain_text: false,
            speaks_tls: false,
        };
        let mut pump = Pump { pool: &mut self.pool, memory, limits: &options.limits, observer: &mut observer };
        let was_open = service.is_none();
        let mut take_service = |_: &mut Context<'_>| service.take().expect("a connection opens once");
        let turn = run_turn(&mut entry.session, &mut pump, context, key, &mut take_service);
        if !was_open && service.is_none() {
            counters.outgoing.opened.add(1);
            memory.release(std::mem::take(held_bytes));
        }
        // A failed handshake is reported at once: a peer that stays open must not delay the next attempt.
        let failed = if service.is_some() { entry.session.connection.ending() } else { None };
        if let Some(reason) = turn.closed().or(failed) {
            self.close(context, key, reason);
        } else if let Some(reason) = entry.session.connection.ending()
            && let Some(closing) = entry.closing(reason, context.now, &mut self.malformed)
        {
            closing.log();
        }
    }

    /// Ends an outgoing connection that was removed from the session table.
    pub(super) fn close_outgoing(
        &mut self,
        context: &mut LoopContext,
        key: Key,
        outgoing: Outgoing,
        reason: CloseReason,
    ) {
        let was_open = outgoing.service.is_none();
        if outgoing.is_counted {
            self.shared.admission.leave_outgoing();
        }
        let counters = &self.counters.outgoing;
        if let State::Connected(entry) = &outgoing.state
            && let Some(result) = HandshakeResult::of_closed(&entry.session.socket, reason)
        {
            counters.handshakes.add(result);
        }
        let closing = outgoing.end(context, key, (&self.shared.memory, &mut self.malformed), reason);
        if was_open { &counters.closed } else { &counters.failed }.add(reason);
        if reason == CloseReason::ServicePanicked && self.panic_warning.is_due(context.now) {
            let count = counters.closed.get(reason);
            log::warn!(count; "service of an outgoing connection panicked; connection closed");
        }
        self.acceptors.iter_mut().for_each(|acceptor| acceptor.resume(context));
        if let Some(closing) = closing {
            closing.log();
        }
    }
}
