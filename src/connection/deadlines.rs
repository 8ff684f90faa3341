//! Deadlines of a connection. The timer waits for the earliest; when it expires, each deadline is checked.

use crate::service::Limits;
use crate::units::nanos;
use std::time::{Duration, Instant};

/// Nanoseconds since the connection opened. Half the size of an `Instant`, with a range of 584 years.
type Moment = u64;

const NEVER: Moment = Moment::MAX;

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
    /// Number of checks without progress since output was last delivered.
    pub(super) checks: u8,
    /// The instant for which the service waits.
    pub(super) service: Option<Instant>,
}

/// Instants from which the deadlines of a connection are computed.
#[derive(Debug)]
pub(super) struct DeadlineTimes {
    opened: Instant,
    /// Last activity; after our half was shut down, the instant of that.
    active: Moment,
    /// Since when none of the waiting output was delivered. Output waits here or, while the connection lingers, in the
    /// kernel.
    blocked: Moment,
    /// The instant for which the service waits, if it does.
    service: Moment,
}

impl DeadlineTimes {
    pub(super) fn new(now: Instant) -> Self {
        Self { opened: now, active: 0, blocked: NEVER, service: NEVER }
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// Sets the instant for which the service waits.
    pub(super) fn wait_until(&mut self, instant: Instant) {
        self.service = self.moment(instant);
    }

    /// The instant that the service named last.
    pub(super) fn service(&self) -> Instant {
        self.opened + Duration::from_nanos(self.service)
    }

    #[inline]
    pub(super) fn record_activity(&mut self, now: Instant) {
        self.active = self.moment(now);
    }

    /// Records that output was taken by the socket or delivered; `all` tells whether none is left.
    #[inline]
    pub(super) fn sent(&mut self, all: bool, now: Instant) {
        self.active = self.moment(now);
        self.blocked = if all { NEVER } else { self.active };
    }

    pub(super) fn blocked(&mut self, now: Instant) {
        self.blocked = self.blocked.min(self.moment(now));
    }

    /// Whether output waits.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked != NEVER
    }

    /// Number of checks due by `now` since output was last delivered.
    pub(super) fn checks_due(&self, limits: &Limits, now: Instant) -> u8 {
        let waited = self.moment(now).saturating_sub(self.blocked);
        u8::try_from(waited / between_checks(limits)).unwrap_or(u8::MAX)
    }

    /// The earliest deadline that applies.
    pub(super) fn earliest(&self, conditions: DeadlineConditions, limits: &Limits) -> Option<Instant> {
        let earliest = self.all(conditions, limits).map(|(_, moment)| moment).into_iter().min().unwrap_or(NEVER);
        (earliest != NEVER).then(|| self.opened + Duration::from_nanos(earliest))
    }

    /// The deadlines that have expired by `now`, in their order.
    pub(super) fn expired(
        &self,
        conditions: DeadlineConditions,
        limits: &Limits,
        now: Instant,
    ) -> impl Iterator<Item = Deadline> + use<> {
        let now = self.moment(now);
        self.all(conditions, limits).into_iter().filter(move |(_, moment)| *moment <= now).map(|(deadline, _)| deadline)
    }

    /// All deadlines; those that do not apply are `NEVER`.
    fn all(&self, conditions: DeadlineConditions, limits: &Limits) -> [(Deadline, Moment); 9] {
        let instant = |instant: Option<Instant>| instant.map_or(NEVER, |instant| self.moment(instant));
        let only_if = |applies: bool, moment: Moment| if applies { moment } else { NEVER };
        let DeadlineConditions { is_handshaking, is_open, is_lingering, no_bytes_moved, checks, service } = conditions;
        let check = between_checks(limits).saturating_mul(u64::from(checks) + 1).saturating_add(self.blocked);
        let write = if is_lingering { linger_stall_limit(limits) } else { limits.write };
        [
            (Deadline::Drain, instant(limits.drain_by)),
            (Deadline::Handshake, only_if(is_handshaking, after(0, limits.handshake))),
            (Deadline::Write, after(self.blocked, write)),
            (Deadline::Linger, only_if(is_lingering && !self.is_blocked(), after(self.active, Some(limits.linger)))),
            (Deadline::Lifetime, only_if(is_open, after(0, limits.lifetime))),
            (Deadline::FirstByte, only_if(is_open && no_bytes_moved, after(0, limits.first_byte))),
            (Deadline::Idle, only_if(!is_lingering, after(self.active, limits.idle))),
            (Deadline::Check, only_if(checks < u8::MAX, check)),
            (Deadline::Service, only_if(is_open, instant(service))),
        ]
    }

    #[inline]
    fn moment(&self, instant: Instant) -> Moment {
        nanos(instant.saturating_duration_since(self.opened))
    }
}

#[inline]
fn after(moment: Moment, limit: Option<Duration>) -> Moment {
    limit.map_or(NEVER, |limit| moment.saturating_add(nanos(limit)))
}

/// How long a lingering connection waits for acknowledgements of output in the kernel.
pub(super) fn linger_stall_limit(limits: &Limits) -> Option<Duration> {
    limits.write.or(limits.idle)
}

/// Time between two checks; at least 1 ns.
fn between_checks(limits: &Limits) -> Moment {
    let limit = [limits.write, limits.idle].into_iter().flatten().min();
    limit.map_or(NEVER, |limit| (nanos(limit) / CHECKS_PER_LIMIT).max(1))
}
