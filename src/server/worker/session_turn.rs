//! Turns of a session of a worker, accepted or outgoing.

use crate::connection::{CloseReason, Limits};
use crate::event_loop::{Key, LoopContext};
use crate::panic_guard::guarded;
use crate::pump::{Pump, Session, Turn};
use crate::server::observer::SessionObserver;
use crate::server::token::Trigger;
use crate::service::{Context, Service};

/// Passes `trigger` to `session`. Returns whether a turn is due.
#[inline(always)]
pub(super) fn is_turn_due<S: Service>(
    session: &mut Session<S>,
    context: &mut LoopContext,
    key: Key,
    trigger: Trigger,
    limits: &Limits,
) -> bool {
    match trigger {
        Trigger::Event(readiness) => session.handle_event(context, key, readiness),
        Trigger::Ready => session.handle_ready(),
        Trigger::Expired => session.handle_expired(limits, context.now),
        Trigger::PreciseTimer => session.handle_precise_timer(context.now),
        Trigger::Wake => {
            session.connection.handle_requests();
            true
        }
    }
}

/// Runs a turn of `session`, for which `make_service` makes the service when the connection has opened.
#[inline(always)]
pub(super) fn run_turn<S: Service>(
    session: &mut Session<S>,
    pump: &mut Pump<'_, SessionObserver<'_>>,
    context: &mut LoopContext,
    key: Key,
    make_service: &mut dyn FnMut(&mut Context<'_>) -> S,
) -> Turn {
    loop {
        match session.turn(pump, context, key) {
            Turn::Opened => open(session, pump, make_service),
            turn => return turn,
        }
    }
}

/// Makes the service of a connection that has opened. As with a service that panics, a panic closes only this connection.
#[cold]
fn open<S: Service>(
    session: &mut Session<S>,
    pump: &mut Pump<'_, SessionObserver<'_>>,
    make_service: &mut dyn FnMut(&mut Context<'_>) -> S,
) {
    let now = pump.observer.now;
    let (connection, socket) = (&mut session.connection, &session.socket);
    match guarded(|| make_service(&mut connection.context(pump.limits, now, pump.observer, socket))) {
        Ok(service) => session.connection.open(service),
        Err(_) => session.connection.close(CloseReason::ServicePanicked),
    }
}
