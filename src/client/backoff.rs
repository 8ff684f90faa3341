//! When a connect that failed is tried again: the later, the more often it failed (exponential back-off), and never all at
//! once (jitter; Brooker, "Exponential Backoff And Jitter", 2015).

use super::connector::ConnectAttempt;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The longest wait. A server that was away for hours is found again within half a minute.
const LONGEST: Duration = Duration::from_secs(30);

/// Connects that wait to be tried again.
#[derive(Debug)]
pub(super) struct Backoff {
    delay: Duration,
    /// Those who wait, and until when; the first to come up on top.
    waiting: BinaryHeap<Reverse<(Instant, ConnectAttempt)>>,
    /// Where the random parts come from: another sequence in every process.
    random: RandomState,
}

impl Backoff {
    /// Waits about `delay` the first time, and twice as long each further time.
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, waiting: BinaryHeap::new(), random: RandomState::new() }
    }

    /// How long `attempt` has to wait, after so many retries as it counts.
    pub(super) fn delay_of(&self, attempt: ConnectAttempt) -> Duration {
        let doublings = attempt.retries.saturating_sub(1).min(31);
        let longest = self.delay.saturating_mul(1 << doublings).min(LONGEST);
        // The upper half is left to chance.
        let chance = u32::try_from(self.random.hash_one((attempt.number, attempt.retries)) >> 32).unwrap_or(u32::MAX);
        longest / 2 + (longest / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
    }

    /// `attempt` waits until `instant`.
    pub(super) fn wait(&mut self, attempt: ConnectAttempt, instant: Instant) {
        self.waiting.push(Reverse((instant, attempt)));
    }

    /// Somebody whose time has come by `now`.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<ConnectAttempt> {
        let is_due = self.next_instant().is_some_and(|instant| instant <= now);
        if is_due { self.waiting.pop().map(|Reverse((_, attempt))| attempt) } else { None }
    }

    /// When the next one is due.
    pub(super) fn next_instant(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((instant, _))| *instant)
    }

    /// Everybody who waits; from now on nobody does.
    pub(super) fn stop(&mut self) -> impl Iterator<Item = ConnectAttempt> + use<> {
        std::mem::take(&mut self.waiting).into_iter().map(|Reverse((_, attempt))| attempt)
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, ConnectAttempt, LONGEST};
    use std::time::{Duration, Instant};

    fn attempt(number: usize, retries: u32) -> ConnectAttempt {
        ConnectAttempt { number, address: 0, retries, failure: None, round: 0, done: 0, started: Instant::now() }
    }

    #[test]
    fn each_wait_is_about_twice_the_last_one_up_to_a_limit() {
        let backoff = Backoff::new(Duration::from_millis(100));
        for (retries, longest) in [(1, 100), (2, 200), (5, 1600), (9, 25_600), (10, 30_000), (u32::MAX, 30_000)] {
            let longest = Duration::from_millis(longest);
            assert!(longest <= LONGEST);
            for number in 1..100 {
                let delay = backoff.delay_of(attempt(number, retries));
                assert!((longest / 2..=longest).contains(&delay), "{delay:?} after {retries} retries");
            }
        }
    }

    #[test]
    fn not_all_come_back_at_once() {
        let backoff = Backoff::new(Duration::from_secs(1));
        let mut delays: Vec<_> = (1..=100).map(|number| backoff.delay_of(attempt(number, 1))).collect();
        delays.sort_unstable();
        delays.dedup();
        assert!(delays.len() > 90, "{delays:?}");
    }

    #[test]
    fn who_is_due_comes_first() {
        let (mut backoff, now) = (Backoff::new(Duration::ZERO), Instant::now());
        for (number, seconds) in [(1, 3), (2, 1), (3, 2)] {
            backoff.wait(attempt(number, 1), now + Duration::from_secs(seconds));
        }
        assert_eq!(backoff.next_instant(), Some(now + Duration::from_secs(1)));
        let due: Vec<_> = std::iter::from_fn(|| backoff.next_due(now + Duration::from_secs(2))).collect();
        assert_eq!(due.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(backoff.stop().map(|attempt| attempt.number).collect::<Vec<_>>(), [1]);
        assert!(backoff.is_empty());
    }
}
