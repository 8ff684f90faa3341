//! Invariants of sessions after a round of their loop, in a simulation.

use crate::connection::Limits;
use crate::event_loop::{Key, LoopContext};
use crate::pump::Session;
use crate::service::Service;
use std::time::Duration;

/// How late a timer may be: a tick, and the rounding of the poll's timeout.
const LATE: Duration = Duration::from_millis(2);

/// A turn of a session may be followed by so many more.
const TURNS_IN_A_ROW: u64 = 4;

/// What so many sessions may move in a round: one entry of the ready queue has a turn, or a few in a row; and each session
/// with an event.
pub(crate) fn check_budget(moved_bytes: u64, sessions: u64, limits: &Limits) {
    let turns = TURNS_IN_A_ROW + 3 * sessions;
    let turn = (limits.turn_bytes + 2 * limits.buffer_bytes) as u64;
    assert!(moved_bytes <= turns * turn, "{moved_bytes} bytes in a round");
}

/// The place of a session in the ready queue, its buffers, and its timer.
pub(crate) fn check_session<S: Service>(session: &Session<S>, key: Key, limits: &Limits, context: &LoopContext) {
    let places = context.ready.iter().filter(|other| **other == key).count();
    assert_eq!(places, usize::from(session.is_queued()), "places in the ready queue");
    let held = session.connection.buffered_bytes();
    for (held, storage) in held.into_iter().zip(session.connection.storage_bytes_of_each()) {
        assert!(held <= limits.buffer_bytes, "{held} bytes in a buffer");
        assert!(held > 0 || storage == 0, "an empty buffer keeps {storage} bytes");
    }
    let is_idle = !session.connection.wants_read(limits) && !session.connection.wants_service();
    assert!(
        session.is_queued() || is_idle || !session.is_admitted,
        "a session that can go on is not in the ready queue"
    );
    if let Some(limit) = limits.handshake.filter(|_| session.connection.is_handshaking()) {
        let is_late = session.connection.opened() + limit + LATE <= context.now;
        let is_next = context.wheel.time_left().is_some_and(|left| left <= LATE);
        assert!(!is_late || is_next, "a handshake takes longer than {limit:?}");
    }
    if let Some(deadline) = session.connection.next_deadline(limits) {
        // Of several that expire at once, as after a jump, some are left to the next tick. So is that of a connection
        // accepted after the drain timeout.
        let is_late = deadline + LATE <= context.now;
        let is_next = context.wheel.time_left().is_some_and(|left| left <= LATE);
        assert!(!is_late || is_next, "a deadline was missed by {:?}", context.now - deadline);
        assert!(context.wheel.time_left().is_some(), "no timer is armed for a deadline");
    }
}
