//! Upstreams of a proxy: round robin, and backoff after failures.

use super::{CloseReason, ConnectOptions};
use crate::socket::{Endpoint, ProxyVersion};
use crate::units::format_duration;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Backoff after the first failure. A restart takes about a second.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Longest backoff. An upstream that failed for hours is used again within half a minute.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// The upstreams of a proxy, shared by all its workers: see [`Proxy`](super::Proxy).
///
/// Connections go to the upstreams in turn. One to which a connection could not be established is left out for 1
/// second. After that a single connection tries it again; each further failure doubles the time, up to 30 seconds. If
/// all upstreams are left out, the one that is due soonest is tried.
#[derive(Debug)]
pub struct Upstreams {
    all: Vec<Upstream>,
    /// Number of connections so far, modulo 2^64.
    next: AtomicUsize,
    send_proxy: Option<ProxyVersion>,
}

#[derive(Debug)]
struct Upstream {
    options: ConnectOptions,
    opened: AtomicU64,
    failed: AtomicU64,
    backoff: Mutex<Backoff>,
}

#[derive(Debug, Default)]
struct Backoff {
    /// Consecutive failures, and the instant of the last one.
    failures: u32,
    failed_at: Option<Instant>,
    /// When the next connection may try the upstream.
    until: Option<Instant>,
}

/// Counts of one upstream, over all workers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamCounts {
    /// The upstream.
    pub endpoint: Endpoint,
    /// Connections established, with their TLS handshake.
    pub opened: u64,
    /// Connections that could not be established.
    pub failed: u64,
    /// Whether new connections leave the upstream out.
    pub is_in_backoff: bool,
}

impl Upstreams {
    /// Upstreams with these options, in this order.
    ///
    /// # Panics
    ///
    /// Panics when there are none.
    #[must_use]
    pub fn new(upstreams: impl IntoIterator<Item = impl Into<ConnectOptions>>) -> Self {
        let upstream = |options| Upstream {
            options,
            opened: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            backoff: Mutex::default(),
        };
        let all: Vec<_> = upstreams.into_iter().map(|options| upstream(options.into())).collect();
        assert!(!all.is_empty(), "a proxy without upstreams");
        Self { all, next: AtomicUsize::new(0), send_proxy: None }
    }

    /// Sends the upstreams a PROXY protocol header with the address of the client and the one it connected to. It replaces
    /// the [preamble](ConnectOptions::preamble).
    #[must_use]
    pub fn with_proxy_header(mut self, version: ProxyVersion) -> Self {
        self.send_proxy = Some(version);
        self
    }

    /// The counts of each upstream at the instant `now`.
    #[must_use]
    pub fn counts(&self, now: Instant) -> Vec<UpstreamCounts> {
        let counts = |upstream: &Upstream| UpstreamCounts {
            endpoint: upstream.options.endpoint.clone(),
            opened: upstream.opened.load(Ordering::Relaxed),
            failed: upstream.failed.load(Ordering::Relaxed),
            is_in_backoff: upstream.backoff().until.is_some_and(|until| until > now),
        };
        self.all.iter().map(counts).collect()
    }

    pub(super) fn send_proxy(&self) -> Option<ProxyVersion> {
        self.send_proxy
    }

    /// Selects an upstream for a connection that has tried those in `tried` without success. Returns its index, or
    /// `None` if it has tried all.
    pub(super) fn select(&self, tried: &[usize], now: Instant) -> Option<usize> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.all.len();
        let in_turn =
            || (0..count).map(|offset| (first % count + offset) % count).filter(|index| !tried.contains(index));
        let available = in_turn().find(|&index| self.all[index].backoff().allows(now));
        available.or_else(|| in_turn().min_by_key(|&index| self.all[index].backoff().until))
    }

    pub(super) fn options(&self, index: usize) -> &ConnectOptions {
        &self.all[index].options
    }

    /// A connection to the upstream was established.
    pub(super) fn connected(&self, index: usize) {
        let upstream = &self.all[index];
        upstream.opened.fetch_add(1, Ordering::Relaxed);
        let failures = std::mem::take(&mut *upstream.backoff()).failures;
        if failures > 0 {
            log::info!(upstream:% = upstream.options.endpoint, failures; "upstream accepts connections again");
        }
    }

    /// A connection to the upstream, begun at `began`, could not be established.
    pub(super) fn failed(&self, index: usize, reason: CloseReason, began: Instant, now: Instant) {
        let upstream = &self.all[index];
        upstream.failed.fetch_add(1, Ordering::Relaxed);
        let Some(delay) = upstream.backoff().fail(began, now) else { return };
        let (endpoint, retry) = (&upstream.options.endpoint, format_duration(delay));
        if delay == FIRST_DELAY {
            log::warn!(upstream:% = endpoint, reason:%, retry; "cannot connect to upstream");
        } else {
            log::debug!(upstream:% = endpoint, reason:%, retry; "cannot connect to upstream");
        }
    }
}

impl Upstream {
    /// Nothing that runs under the lock panics.
    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backoff {
    /// Whether a connection may try the upstream. After a backoff one connection may, and the others wait for its result.
    fn allows(&mut self, now: Instant) -> bool {
        match self.until {
            None => true,
            Some(until) if until <= now => {
                self.until = Some(now + self.delay());
                true
            }
            Some(_) => false,
        }
    }

    /// Begins or prolongs the backoff, and returns its duration. Connects that began before the last one was over count as
    /// one failure, and return `None`.
    fn fail(&mut self, began: Instant, now: Instant) -> Option<Duration> {
        if self.failed_at.is_some_and(|failed_at| began < failed_at + self.delay()) {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        let delay = self.delay();
        (self.failed_at, self.until) = (Some(now), Some(now + delay));
        Some(delay)
    }

    fn delay(&self) -> Duration {
        // Five doublings exceed the longest delay.
        (FIRST_DELAY * (1 << self.failures.saturating_sub(1).min(5))).min(MAX_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_DELAY, MAX_DELAY, Upstreams};
    use crate::service::CloseReason;
    use crate::socket::Endpoint;
    use std::time::{Duration, Instant};

    const MOMENT: Duration = Duration::from_millis(1);

    fn upstreams(count: u16) -> Upstreams {
        Upstreams::new((1..=count).map(|port| Endpoint::tcp("127.0.0.1", port)))
    }

    fn selected(upstreams: &Upstreams, count: usize, now: Instant) -> Vec<Option<usize>> {
        (0..count).map(|_| upstreams.select(&[], now)).collect()
    }

    #[test]
    fn upstreams_take_turns() {
        let (upstreams, now) = (upstreams(3), Instant::now());
        assert_eq!(selected(&upstreams, 4, now), [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(upstreams.select(&[1, 2], now), Some(0));
        assert_eq!(upstreams.select(&[0, 1, 2], now), None);
    }

    #[test]
    fn a_failed_upstream_is_left_out_and_then_tried_by_one_connection() {
        let (upstreams, start) = (upstreams(2), Instant::now());
        upstreams.failed(0, CloseReason::ConnectRefused, start, start);
        assert!(selected(&upstreams, 4, start).iter().all(|index| *index == Some(1)));
        let due = start + FIRST_DELAY;
        assert_eq!(selected(&upstreams, 4, due).iter().filter(|index| **index == Some(0)).count(), 1);
        assert!(upstreams.counts(due)[0].is_in_backoff);
        upstreams.connected(0);
        assert_eq!(selected(&upstreams, 4, due).iter().filter(|index| **index == Some(0)).count(), 2);
        let counts = upstreams.counts(due);
        assert_eq!((counts[0].opened, counts[0].failed, counts[0].is_in_backoff), (1, 1, false));
        assert_eq!((counts[1].opened, counts[1].failed, counts[1].is_in_backoff), (0, 0, false));
    }

    #[test]
    fn each_failure_doubles_the_backoff_up_to_a_limit() {
        let (upstreams, mut now) = (upstreams(2), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let began = now;
            now += MOMENT;
            upstreams.failed(0, CloseReason::ConnectTimeout, began, now);
            // Those that began before count as the same failure.
            upstreams.failed(0, CloseReason::ConnectTimeout, began, now + MOMENT);
            let delay = Duration::from_secs(seconds);
            assert!(delay <= MAX_DELAY);
            assert!(upstreams.counts(now + delay.saturating_sub(MOMENT))[0].is_in_backoff);
            now += delay;
            assert!(!upstreams.counts(now)[0].is_in_backoff, "{delay:?}");
        }
    }

    #[test]
    fn connects_during_a_backoff_do_not_prolong_it() {
        let (upstreams, start) = (upstreams(1), Instant::now());
        for milliseconds in 0..100 {
            let began = start + MOMENT * milliseconds;
            upstreams.failed(0, CloseReason::ConnectRefused, began, began + MOMENT);
        }
        assert!(!upstreams.counts(start + MOMENT + FIRST_DELAY)[0].is_in_backoff);
    }

    #[test]
    fn if_all_failed_the_one_due_soonest_is_tried() {
        let (upstreams, now) = (upstreams(3), Instant::now());
        for (index, milliseconds) in [(0, 30), (1, 10), (2, 20)] {
            upstreams.failed(index, CloseReason::ConnectRefused, now, now + MOMENT * milliseconds);
        }
        assert_eq!(upstreams.select(&[], now), Some(1));
        assert_eq!(upstreams.select(&[1], now), Some(2));
        assert_eq!(upstreams.select(&[1, 2], now), Some(0));
    }
}
