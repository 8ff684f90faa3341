//! Exponential backoff with jitter for connects that failed (Brooker, "Exponential Backoff And Jitter", 2015).

use super::ConnectAttempt;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;
#[cfg(not(multiconn_simulated))]
use std::hash::RandomState;
use std::time::{Duration, Instant};

/// Maximum delay. A server that was away for hours is found again within half a minute.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// The same in every simulation.
#[cfg(multiconn_simulated)]
type RandomState = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// Connects that wait for their retry.
#[derive(Debug)]
pub(in crate::client) struct Backoff {
    delay: Duration,
    /// Waiting connects and the instants of their retries, earliest on top.
    waiting: BinaryHeap<Reverse<(Instant, ConnectAttempt)>>,
    /// Source of the jitter; differs in every process.
    random: RandomState,
}

impl Backoff {
    /// The first delay is about `delay`; it doubles with each retry.
    pub(in crate::client) fn new(delay: Duration) -> Self {
        Self { delay, waiting: BinaryHeap::new(), random: RandomState::default() }
    }

    /// Delay of `attempt`, depending on its number of retries.
    pub(in crate::client) fn delay_of(&self, attempt: ConnectAttempt) -> Duration {
        let doublings = attempt.retries.saturating_sub(1).min(31);
        let max_delay = self.delay.saturating_mul(1 << doublings).min(MAX_DELAY);
        // The upper half of the delay is random.
        let chance = u32::try_from(self.random.hash_one((attempt.number, attempt.retries)) >> 32).unwrap_or(u32::MAX);
        max_delay / 2 + (max_delay / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
    }

    /// Makes `attempt` wait until `instant`.
    pub(in crate::client) fn add(&mut self, attempt: ConnectAttempt, instant: Instant) {
        self.waiting.push(Reverse((instant, attempt)));
    }

    /// Removes and returns an attempt that is due by `now`.
    pub(in crate::client) fn next_due(&mut self, now: Instant) -> Option<ConnectAttempt> {
        let is_due = self.next_instant().is_some_and(|instant| instant <= now);
        if is_due { self.waiting.pop().map(|Reverse((_, attempt))| attempt) } else { None }
    }

    /// When the next attempt is due.
    pub(in crate::client) fn next_instant(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((instant, _))| *instant)
    }

    /// Removes and returns all waiting attempts.
    pub(in crate::client) fn stop(&mut self) -> impl Iterator<Item = ConnectAttempt> + use<> {
        std::mem::take(&mut self.waiting).into_iter().map(|Reverse((_, attempt))| attempt)
    }

    /// Whether no attempt waits.
    pub(in crate::client) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, ConnectAttempt, MAX_DELAY};
    use std::time::{Duration, Instant};

    fn attempt(number: u32, retries: u32) -> ConnectAttempt {
        ConnectAttempt { number, address: 0, retries, failure: None, generation: 0, done: 0, since: Instant::now() }
    }

    #[test]
    fn each_delay_is_about_twice_the_last_one_up_to_a_limit() {
        let backoff = Backoff::new(Duration::from_millis(100));
        for (retries, max_delay) in [(1, 100), (2, 200), (5, 1600), (9, 25_600), (10, 30_000), (u32::MAX, 30_000)] {
            let max_delay = Duration::from_millis(max_delay);
            assert!(max_delay <= MAX_DELAY);
            for number in 1..100 {
                let delay = backoff.delay_of(attempt(number, retries));
                assert!((max_delay / 2..=max_delay).contains(&delay), "{delay:?} after {retries} retries");
            }
        }
    }

    #[test]
    fn delays_are_spread_by_jitter() {
        let backoff = Backoff::new(Duration::from_secs(1));
        let mut delays: Vec<_> = (1..=100).map(|number| backoff.delay_of(attempt(number, 1))).collect();
        delays.sort_unstable();
        delays.dedup();
        assert!(delays.len() > 90, "{delays:?}");
    }

    #[test]
    fn attempts_come_in_the_order_of_their_instants() {
        let (mut backoff, now) = (Backoff::new(Duration::ZERO), Instant::now());
        for (number, seconds) in [(1, 3), (2, 1), (3, 2)] {
            backoff.add(attempt(number, 1), now + Duration::from_secs(seconds));
        }
        assert_eq!(backoff.next_instant(), Some(now + Duration::from_secs(1)));
        let due: Vec<_> = std::iter::from_fn(|| backoff.next_due(now + Duration::from_secs(2))).collect();
        assert_eq!(due.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(backoff.stop().map(|attempt| attempt.number).collect::<Vec<_>>(), [1]);
        assert!(backoff.is_empty());
    }
}
