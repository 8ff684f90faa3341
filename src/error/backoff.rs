//! Failed calls of socket loops: what an error asks for, and how long a loop pauses when calls go on failing.
//!
//! Invariant: a loop that asks [`ErrorBackoff::failed`] after each failure never spins. An error that is usually over with one
//! call counts as permanent when it repeats without a success in between.

use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// The first pause. Short, because many causes are over at once; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause: one call per second costs nothing, and a socket that works again waits no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause for want of descriptors or memory, which another thread or process may free at any time.
const LONGEST_PAUSE_FOR_RESOURCES: Duration = Duration::from_millis(100);

/// How many transient errors in a row are retried at once. One batch of connections or datagrams can bring about that many.
const RETRIED_AT_ONCE: u32 = 64;

/// What a failed call of a receive, accept or send loop asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// Nothing is there to be done; the next event tells (`EAGAIN`).
    WouldBlock,
    /// The error concerns one connection, datagram or destination; the next call may succeed at once (accept(2), "Error
    /// handling"; udp(7)).
    Transient,
    /// The process or the system has no descriptor or no memory left.
    OutOfResources,
    /// The call itself fails, and fails again when repeated.
    Permanent,
}

impl ErrorClass {
    /// The class of an error of accept(2), recvmmsg(2) or sendmmsg(2).
    pub(crate) fn of(error: &io::Error) -> Self {
        if error.kind() == ErrorKind::WouldBlock {
            return Self::WouldBlock;
        }
        match Errno::from_io_error(error) {
            Some(
                Errno::CONNABORTED
                | Errno::CONNREFUSED
                | Errno::CONNRESET
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::INTR
                | Errno::MSGSIZE
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::NONET
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP
                | Errno::PROTO
                | Errno::TIMEDOUT,
            ) => Self::Transient,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Self::OutOfResources,
            _ => Self::Permanent,
        }
    }
}

/// The failures in a row of one loop, and the pause that follows from them.
#[derive(Debug, Default)]
pub(crate) struct ErrorBackoff {
    failures: u32,
    /// Pauses in a row.
    pauses: u32,
    until: Option<Instant>,
    /// When the first failure of the row occurred.
    since: Option<Instant>,
}

impl ErrorBackoff {
    /// A call succeeded.
    #[inline]
    pub(crate) fn succeeded(&mut self) {
        if self.since.is_some() {
            *self = Self::default();
        }
    }

    /// A call failed at `now`. Returns how long to pause, or none when it may be repeated at once.
    pub(crate) fn failed(&mut self, class: ErrorClass, now: Instant) -> Option<Duration> {
        if class == ErrorClass::WouldBlock {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(now);
        if class == ErrorClass::Transient && self.failures <= RETRIED_AT_ONCE {
            return None;
        }
        let longest = if class == ErrorClass::OutOfResources { LONGEST_PAUSE_FOR_RESOURCES } else { LONGEST_PAUSE };
        // Seven doublings exceed the longest pause.
        let pause = (FIRST_PAUSE * (1 << self.pauses.min(7))).min(longest);
        self.pauses += 1;
        self.until = Some(now + pause);
        Some(pause)
    }

    /// What was done since the last failure may itself bring about transient errors: they are retried at once again.
    #[inline]
    pub(crate) fn expect_errors(&mut self) {
        if self.pauses == 0 {
            self.failures = 0;
        }
    }

    /// Whether a pause lasts at `now`.
    #[inline]
    pub(crate) fn is_pausing(&self, now: Instant) -> bool {
        self.pauses_until(now).is_some()
    }

    /// When the pause ends, if one lasts at `now`.
    #[inline]
    pub(crate) fn pauses_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }

    /// Ends the pause; the failures in a row stay counted.
    pub(crate) fn end_pause(&mut self) {
        self.until = None;
    }

    /// Whether the last call failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// For how long every call has failed.
    pub(crate) fn failing_for(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorBackoff, ErrorClass, RETRIED_AT_ONCE};
    use rustix::io::Errno;
    use std::io;
    use std::time::{Duration, Instant};

    #[test]
    fn errors_divide_as_the_manuals_say() {
        let class = |errno: Errno| ErrorClass::of(&io::Error::from_raw_os_error(errno.raw_os_error()));
        assert_eq!(class(Errno::AGAIN), ErrorClass::WouldBlock);
        for transient in [Errno::CONNABORTED, Errno::PROTO, Errno::INTR, Errno::CONNREFUSED, Errno::HOSTUNREACH] {
            assert_eq!(class(transient), ErrorClass::Transient, "{transient}");
        }
        for resource in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            assert_eq!(class(resource), ErrorClass::OutOfResources, "{resource}");
        }
        for permanent in [Errno::BADF, Errno::NOSYS, Errno::PERM, Errno::INVAL] {
            assert_eq!(class(permanent), ErrorClass::Permanent, "{permanent}");
        }
        assert_eq!(ErrorClass::of(&io::ErrorKind::Other.into()), ErrorClass::Permanent);
    }

    /// The pauses in milliseconds after so many failures of `class` in a row.
    fn pauses(class: ErrorClass, count: usize) -> Vec<Option<u64>> {
        let (mut backoff, now) = (ErrorBackoff::default(), Instant::now());
        let millis = |pause: Duration| u64::try_from(pause.as_millis()).expect("a short pause");
        (0..count).map(|_| backoff.failed(class, now).map(millis)).collect()
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let permanent = [10, 20, 40, 80, 160, 320, 640, 1000, 1000].map(Some);
        assert_eq!(pauses(ErrorClass::Permanent, 9), permanent);
        assert_eq!(pauses(ErrorClass::OutOfResources, 6), [10, 20, 40, 80, 100, 100].map(Some));
        assert_eq!(pauses(ErrorClass::WouldBlock, 100), [None; 100]);
    }

    #[test]
    fn a_transient_error_that_repeats_is_a_permanent_one() {
        let pauses = pauses(ErrorClass::Transient, RETRIED_AT_ONCE as usize + 2);
        let (retried, later) = pauses.split_at(RETRIED_AT_ONCE as usize);
        assert!(retried.iter().all(Option::is_none) && later == [10, 20].map(Some), "{pauses:?}");
    }

    #[test]
    fn a_success_ends_the_row_and_the_pause() {
        let (mut backoff, start) = (ErrorBackoff::default(), Instant::now());
        let pause = backoff.failed(ErrorClass::Permanent, start).expect("a pause");
        assert!(backoff.is_pausing(start) && !backoff.is_pausing(start + pause) && backoff.is_failing());
        assert_eq!((backoff.pauses_until(start), backoff.failing_for(start + pause)), (Some(start + pause), pause));
        backoff.end_pause();
        assert!(!backoff.is_pausing(start) && backoff.is_failing());
        backoff.succeeded();
        assert!(!backoff.is_failing() && backoff.failing_for(start + pause).is_zero());
        assert_eq!(backoff.failed(ErrorClass::Permanent, start), Some(pause), "the first pause again");
    }

    #[test]
    fn errors_that_are_expected_do_not_add_up() {
        let (mut backoff, now) = (ErrorBackoff::default(), Instant::now());
        for _ in 0..10 * RETRIED_AT_ONCE {
            backoff.expect_errors();
            assert_eq!(backoff.failed(ErrorClass::Transient, now), None);
        }
        backoff.failed(ErrorClass::Permanent, now);
        backoff.expect_errors();
        assert!(backoff.is_pausing(now) && backoff.is_failing(), "a pause goes on");
    }
}
