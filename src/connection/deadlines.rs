//! Deadlines of a connection. The timer waits for the earliest; when it expires, each deadline is checked.

use crate::moment::Moment;
use crate::service::Limits;
use crate::units::nanos;
use std::time::{Duration, Instant};

/// Number of checks for delivered output within its time limit. A limit is kept to one part in this many.
const CHECKS_PER_LIMIT: u64 = 8;

/// Kinds of deadlines, in the order in which they are checked: those that close come before those that finish, and the
/// service comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadline {
    /// Drain timeout.
    Drain,
    /// Handshake timeout.
    Handshake,
    /// Write timeout: none of the waiting output was delivered.
    Write,
    /// End of lingering: input was discarded for long enough.
    Linger,
    /// Maximum lifetime.
    Lifetime,
    /// First-byte timeout: the peer has not sent a byte.
    FirstByte,
    /// Idle timeout: no byte moved.
    Idle,
    /// Time to check how much of the waiting output was delivered.
    Check,
    /// The instant for which the service waits.
    Service,
}

/// State of a connection that decides which deadlines apply.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "the flags are independent, and any combination can occur")]
pub(super) struct DeadlineConditions {
    pub(super) is_handshaking: bool,
    pub(super) is_open: bool,
    pub(super) is_lingering: bool,
    pub(super) no_bytes_moved: bool,
    /// Since when none of the waiting output was delivered; `NEVER` if none waits.
    pub(super) blocked: Moment,
    /// Number of checks without progress since output was last delivered.
    pub(super) checks: u8,
    /// The instant for which the service waits; `NEVER` if it waits for none.
    pub(super) service: Moment,
}

/// Instants from which the deadlines of a connection are computed.
#[derive(Debug)]
pub(super) struct DeadlineTimes {
    opened: Moment,
    /// Last activity; after our half was shut down, the instant of that.
    active: Moment,
}

impl DeadlineTimes {
    pub(super) fn new(now: Instant) -> Self {
        let opened = Moment::from(now);
        Self { opened, active: opened }
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened.into()
    }

    #[inline]
    pub(super) fn record_activity(&mut self, now: Instant) {
        self.active = now.into();
    }

    pub(super) fn active(&self) -> Moment {
        self.active
    }

    /// The earliest deadline that applies.
    pub(super) fn earliest(&self, conditions: DeadlineConditions, limits: &Limits) -> Option<Instant> {
        let earliest = self.all(conditions, limits).map(|(_, moment)| moment).into_iter().min();
        earliest.filter(|moment| *moment != Moment::NEVER).map(Instant::from)
    }

    /// The deadlines that have expired by `now`, in their order.
    pub(super) fn expired(
        &self,
        conditions: DeadlineConditions,
        limits: &Limits,
        now: Instant,
    ) -> impl Iterator<Item = Deadline> + use<> {
        let now = Moment::from(now);
        self.all(conditions, limits).into_iter().filter(move |(_, moment)| *moment <= now).map(|(deadline, _)| deadline)
    }

    /// All deadlines; those that do not apply are `NEVER`.
    fn all(&self, conditions: DeadlineConditions, limits: &Limits) -> [(Deadline, Moment); 9] {
        let only_if = |applies: bool, moment: Moment| if applies { moment } else { Moment::NEVER };
        let DeadlineConditions { is_handshaking, is_open, is_lingering, no_bytes_moved, .. } = conditions;
        let DeadlineConditions { blocked, checks, service, .. } = conditions;
        let is_blocked = blocked != Moment::NEVER;
        let check = blocked.after_nanos(between_checks(limits).saturating_mul(u64::from(checks) + 1));
        let write = if is_lingering { linger_stall_limit(limits) } else { limits.write };
        [
            (Deadline::Drain, limits.drain_by.map_or(Moment::NEVER, Moment::from)),
            (Deadline::Handshake, only_if(is_handshaking, self.opened.after(limits.handshake))),
            (Deadline::Write, blocked.after(write)),
            (Deadline::Linger, only_if(is_lingering && !is_blocked, self.active.after(Some(limits.linger)))),
            (Deadline::Lifetime, only_if(is_open, self.opened.after(limits.lifetime))),
            (Deadline::FirstByte, only_if(is_open && no_bytes_moved, self.opened.after(limits.first_byte))),
            (Deadline::Idle, only_if(!is_lingering, self.active.after(limits.idle))),
            (Deadline::Check, only_if(checks < u8::MAX, check)),
            (Deadline::Service, only_if(is_open, service)),
        ]
    }
}

/// Number of checks due by `now` for output that waits since `blocked`.
pub(super) fn checks_due(blocked: Moment, limits: &Limits, now: Instant) -> u8 {
    let waited = Moment::from(now).nanos_since(blocked);
    u8::try_from(waited / between_checks(limits)).unwrap_or(u8::MAX)
}

/// How long a lingering connection waits for acknowledgements of output in the kernel.
pub(super) fn linger_stall_limit(limits: &Limits) -> Option<Duration> {
    limits.write.or(limits.idle)
}

/// Nanoseconds between two checks; at least 1.
fn between_checks(limits: &Limits) -> u64 {
    let limit = [limits.write, limits.idle].into_iter().flatten().min();
    limit.map_or(u64::MAX, |limit| (nanos(limit) / CHECKS_PER_LIMIT).max(1))
}
