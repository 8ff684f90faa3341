//! The one deadline of a connection: the earliest of all that apply to it.

use super::Limits;
use std::time::{Duration, Instant};

/// Nanoseconds since the connection opened. Half the size of an `Instant`, and good for 584 years.
type Moment = u64;

const NEVER: Moment = Moment::MAX;

/// What comes when a deadline passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadline {
    /// The drain has lasted too long.
    Drain,
    /// Input was discarded for long enough.
    Linger,
    /// The socket took nothing for too long.
    Write,
    /// The connection has existed for too long.
    Lifetime,
    /// The handshake has taken too long.
    Handshake,
    /// The peer has not said a word.
    FirstByte,
    /// Nothing moved for too long.
    Idle,
    /// The instant for which the service waits.
    Service,
}

/// Which deadlines apply.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any combination can occur")]
pub(super) struct Applying {
    pub(super) is_handshaking: bool,
    pub(super) is_open: bool,
    pub(super) is_lingering: bool,
    pub(super) is_silent: bool,
    pub(super) service: Option<Instant>,
}

/// What a connection remembers of time.
#[derive(Debug)]
pub(super) struct Times {
    opened: Instant,
    /// When bytes moved last; since our half was shut: when that was.
    active: Moment,
    /// Since when the socket has taken nothing although output waits.
    blocked: Moment,
    /// What the service waits for, if it waits for an instant.
    service: Moment,
}

impl Times {
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

    /// The socket took something, and `all` says whether nothing is left.
    #[inline]
    pub(super) fn sent(&mut self, all: bool, now: Instant) {
        self.active = self.moment(now);
        self.blocked = if all { NEVER } else { self.active };
    }

    pub(super) fn blocked(&mut self, now: Instant) {
        self.blocked = self.blocked.min(self.moment(now));
    }

    /// The earliest of the deadlines that apply, and what it is.
    pub(super) fn earliest(&self, applying: Applying, limits: &Limits) -> Option<(Instant, Deadline)> {
        let (mut earliest, mut deadline) = (NEVER, Deadline::Service);
        let mut consider = |moment: Moment, what: Deadline| {
            if moment < earliest {
                (earliest, deadline) = (moment, what);
            }
        };
        if let Some(instant) = limits.drain_by {
            consider(self.moment(instant), Deadline::Drain);
        }
        if applying.is_lingering {
            consider(after(self.active, Some(limits.linger)), Deadline::Linger);
        } else {
            consider(after(self.blocked, limits.write), Deadline::Write);
            consider(after(self.active, limits.idle), Deadline::Idle);
        }
        if applying.is_handshaking {
            consider(after(0, limits.handshake), Deadline::Handshake);
        }
        if applying.is_open {
            consider(after(0, limits.lifetime), Deadline::Lifetime);
            if applying.is_silent {
                consider(after(0, limits.first_byte), Deadline::FirstByte);
            }
            if let Some(instant) = applying.service {
                consider(self.moment(instant), Deadline::Service);
            }
        }
        (earliest != NEVER).then(|| (self.opened + Duration::from_nanos(earliest), deadline))
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

#[inline]
fn nanos(duration: Duration) -> Moment {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}
