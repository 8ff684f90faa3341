//! Error backoff of socket loops: the class of an error, and the pause after repeated failures.
//!
//! Invariant: a loop that calls [`ErrorBackoff::failed`] after each failure never spins. A transient error counts as
//! permanent when it repeats without a success in between.

use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// First pause. It is short, because many causes end quickly; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Maximum pause: one call per second costs nothing, and a socket that works again is served within this time.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Maximum pause when descriptors or memory are exhausted. Another thread or process may free some at any time.
const MAX_PAUSE_FOR_RESOURCES: Duration = Duration::from_millis(100);

/// Number of consecutive transient errors that are retried at once. One batch of connections or datagrams can cause as
/// many.
const MAX_IMMEDIATE_RETRIES: u32 = 64;

/// Class of an error from a receive, accept or send loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// The call would block; wait for the next event (`EAGAIN`).
    WouldBlock,
    /// The error concerns one connection, datagram or destination; the next call may succeed at once (accept(2), "Error
    /// handling"; udp(7)).
    Transient,
    /// The process or the system has no descriptor or memory left.
    OutOfResources,
    /// The call itself fails, and fails again when repeated.
    Permanent,
}

impl ErrorClass {
    /// Classifies an error of accept(2), recvmmsg(2) or sendmmsg(2).
    pub(crate) fn of(error: &io::Error) -> Self {
        if error.kind() == ErrorKind::WouldBlock {
            return Self::WouldBlock;
        }
        match Errno::from_io_error(error) {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Some(Errno::NONET) => Self::Transient,
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

/// Consecutive failures of one loop, and the resulting pause.
#[derive(Debug, Default)]
pub(crate) struct ErrorBackoff {
    failures: u32,
    /// Number of consecutive pauses.
    pauses: u32,
    until: Option<Instant>,
    /// Time of the first of the consecutive failures.
    since: Option<Instant>,
}

impl ErrorBackoff {
    /// Records a successful call.
    #[inline]
    pub(crate) fn succeeded(&mut self) {
        if self.since.is_some() {
            *self = Self::default();
        }
    }

    /// Records a failed call at `now`. Returns how long to pause, or `None` when it may be repeated at once.
    pub(crate) fn failed(&mut self, class: ErrorClass, now: Instant) -> Option<Duration> {
        if class == ErrorClass::WouldBlock {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(now);
        if class == ErrorClass::Transient && self.failures <= MAX_IMMEDIATE_RETRIES {
            return None;
        }
        let max_pause = if class == ErrorClass::OutOfResources { MAX_PAUSE_FOR_RESOURCES } else { MAX_PAUSE };
        // Seven doublings exceed the maximum pause.
        let pause = (FIRST_PAUSE * (1 << self.pauses.min(7))).min(max_pause);
        self.pauses += 1;
        self.until = Some(now + pause);
        Some(pause)
    }

    /// Allows immediate retries again: the work since the last failure may itself cause transient errors.
    #[inline]
    pub(crate) fn expect_errors(&mut self) {
        if self.pauses == 0 {
            self.failures = 0;
        }
    }

    /// Whether a pause is in progress at `now`.
    #[inline]
    pub(crate) fn is_pausing(&self, now: Instant) -> bool {
        self.pauses_until(now).is_some()
    }

    /// End of the pause that is in progress at `now`, if any.
    #[inline]
    pub(crate) fn pauses_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }

    /// Ends the pause; the failures stay counted.
    pub(crate) fn end_pause(&mut self) {
        self.until = None;
    }

    /// Whether the last call failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// How long every call has failed.
    pub(crate) fn failing_for(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorBackoff, ErrorClass, MAX_IMMEDIATE_RETRIES};
    use rustix::io::Errno;
    use std::io;
    use std::time::{Duration, Instant};

    #[test]
    fn errors_are_classified_as_documented() {
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

    /// The pauses in milliseconds after that many consecutive failures of `class`.
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
    fn a_repeated_transient_error_causes_pauses() {
        let pauses = pauses(ErrorClass::Transient, MAX_IMMEDIATE_RETRIES as usize + 2);
        let (retried, later) = pauses.split_at(MAX_IMMEDIATE_RETRIES as usize);
        assert!(retried.iter().all(Option::is_none) && later == [10, 20].map(Some), "{pauses:?}");
    }

    #[test]
    fn a_success_resets_failures_and_pause() {
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
    fn expected_errors_do_not_accumulate() {
        let (mut backoff, now) = (ErrorBackoff::default(), Instant::now());
        for _ in 0..10 * MAX_IMMEDIATE_RETRIES {
            backoff.expect_errors();
            assert_eq!(backoff.failed(ErrorClass::Transient, now), None);
        }
        backoff.failed(ErrorClass::Permanent, now);
        backoff.expect_errors();
        assert!(backoff.is_pausing(now) && backoff.is_failing(), "the pause continues");
    }
}
