//! The deadlines of a connection. Only the earliest of them is waited for; when it comes, each is checked on its own.

use super::{Connection, Limits, Phase, ServiceWait};
use crate::service::Service;
use std::time::{Duration, Instant};

/// Nanoseconds since the connection opened. Half the size of an `Instant`, and good for 584 years.
type Moment = u64;

const NEVER: Moment = Moment::MAX;

/// How often, within the time limit of waiting output, it is checked how much of it was delivered. A limit is kept to one part
/// in this many.
const CHECKS_PER_LIMIT: u64 = 8;

/// What comes when a deadline passes. In the order in which they are checked: those that close come before those that
/// finish, and the service comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadline {
    /// The drain has lasted too long.
    Drain,
    /// The handshake has taken too long.
    Handshake,
    /// Nothing of the output that waits was delivered for too long.
    Write,
    /// Input was discarded for long enough.
    Linger,
    /// The connection has existed for too long.
    Lifetime,
    /// The peer has not said a word.
    FirstByte,
    /// Nothing moved for too long.
    Idle,
    /// Output waits: it is time to see how much of it was delivered.
    Check,
    /// The instant for which the service waits.
    Service,
}

/// Which deadlines apply.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any combination can occur")]
pub(super) struct Applying {
    is_handshaking: bool,
    is_open: bool,
    is_lingering: bool,
    is_silent: bool,
    /// How many checks have found nothing new since output was delivered last.
    checks: u8,
    service: Option<Instant>,
}

impl Applying {
    /// Those that apply to `connection` now.
    pub(super) fn to<S: Service>(connection: &Connection<S>) -> Self {
        Self {
            is_handshaking: connection.is_handshaking(),
            is_open: connection.phase.is_open(),
            is_lingering: connection.phase == Phase::Lingering,
            is_silent: connection.received_bytes == 0 && connection.sent_bytes == 0,
            checks: connection.checks,
            service: (connection.waiting == ServiceWait::Deadline).then(|| connection.times.service()),
        }
    }
}

/// What a connection remembers of time.
#[derive(Debug)]
pub(super) struct DeadlineTimes {
    opened: Instant,
    /// When bytes moved last; since our half was shut: when that was.
    active: Moment,
    /// Since when nothing was delivered although output waits, here or, while the connection lingers, in the kernel.
    blocked: Moment,
    /// What the service waits for, if it waits for an instant.
    service: Moment,
}

impl DeadlineTimes {
    pub(super) fn new(now: Instant) -> Self {
        Self { opened: now, active: 0, blocked: NEVER, service: NEVER }
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// The service waits for `instant`.
    pub(super) fn wait_until(&mut self, instant: Instant) {
        self.service = self.moment(instant);
    }

    /// The instant that the service named last.
    pub(super) fn service(&self) -> Instant {
        self.opened + Duration::from_nanos(self.service)
    }

    #[inline]
    pub(super) fn moved(&mut self, now: Instant) {
        self.active = self.moment(now);
    }

    /// Output was taken by the socket or delivered, and `all` says whether nothing is left.
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

    /// How many checks are due by now since output was delivered last.
    pub(super) fn checks_due(&self, limits: &Limits, now: Instant) -> u8 {
        let waited = self.moment(now).saturating_sub(self.blocked);
        u8::try_from(waited / between_checks(limits)).unwrap_or(u8::MAX)
    }

    /// The earliest of the deadlines that apply.
    pub(super) fn earliest(&self, applying: Applying, limits: &Limits) -> Option<Instant> {
        let earliest = self.all(applying, limits).map(|(_, moment)| moment).into_iter().min().unwrap_or(NEVER);
        (earliest != NEVER).then(|| self.opened + Duration::from_nanos(earliest))
    }

    /// Those of the deadlines that have passed by `now`, in their order.
    pub(super) fn passed(
        &self,
        applying: Applying,
        limits: &Limits,
        now: Instant,
    ) -> impl Iterator<Item = Deadline> + use<> {
        let now = self.moment(now);
        self.all(applying, limits).into_iter().filter(move |(_, moment)| *moment <= now).map(|(deadline, _)| deadline)
    }

    /// When each deadline passes: never, if it does not apply.
    fn all(&self, applying: Applying, limits: &Limits) -> [(Deadline, Moment); 9] {
        let instant = |instant: Option<Instant>| instant.map_or(NEVER, |instant| self.moment(instant));
        let only_if = |applies: bool, moment: Moment| if applies { moment } else { NEVER };
        let Applying { is_handshaking, is_open, is_lingering, is_silent, checks, service } = applying;
        let check = between_checks(limits).saturating_mul(u64::from(checks) + 1).saturating_add(self.blocked);
        let write = if is_lingering { stall(limits) } else { limits.write };
        [
            (Deadline::Drain, instant(limits.drain_by)),
            (Deadline::Handshake, only_if(is_handshaking, after(0, limits.handshake))),
            (Deadline::Write, after(self.blocked, write)),
            (Deadline::Linger, only_if(is_lingering && !self.is_blocked(), after(self.active, Some(limits.linger)))),
            (Deadline::Lifetime, only_if(is_open, after(0, limits.lifetime))),
            (Deadline::FirstByte, only_if(is_open && is_silent, after(0, limits.first_byte))),
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

/// How long output may wait in the kernel while a connection lingers and the peer acknowledges nothing.
pub(super) fn stall(limits: &Limits) -> Option<Duration> {
    limits.write.or(limits.idle)
}

/// The time between two checks: never none.
fn between_checks(limits: &Limits) -> Moment {
    let limit = [limits.write, limits.idle].into_iter().flatten().min();
    limit.map_or(NEVER, |limit| (nanos(limit) / CHECKS_PER_LIMIT).max(1))
}

#[inline]
fn nanos(duration: Duration) -> Moment {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}
