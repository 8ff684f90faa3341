//! Timers with microsecond resolution, where the wheel has the resolution of a tick.
//!
//! `poll` rounds its timeout up to whole milliseconds, and so does the wheel. That suits timeouts, which are numerous,
//! move with every message and rarely expire. It is too coarse for work at an exact instant: a delayed reply, or the
//! next message of a paced load. These timers are kept here in order, and a kernel timer wakes the loop for the first
//! of them, earlier by a [`WakeUpLead`]. Setting it costs one system call per first instant, made just before the loop
//! waits. A loop without precise timers makes none.

use super::Key;
use super::kernel_timer::KernelTimer;
use super::system;
use super::wake_up_lead::WakeUpLead;
use mio::{Registry, Token};
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

/// A timer that is further away needs no exact clock: the loop sleeps, and earns all the credit of its [`WakeUpLead`].
const FAR: Duration = Duration::from_millis(10);

/// Precise timers that are armed and have not expired.
#[derive(Debug)]
pub struct PreciseTimers {
    armed: BTreeSet<(Instant, Key)>,
    timer: KernelTimer,
    /// Instant that the kernel timer is set to and has not fired for.
    set_to: Option<Instant>,
    lead: WakeUpLead,
}

impl PreciseTimers {
    /// Creates an empty set of timers; its kernel timer is registered with `registry` under `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = KernelTimer::new(registry, token)?;
        Ok(Self { armed: BTreeSet::new(), timer, set_to: None, lead: WakeUpLead::new(system::now()) })
    }

    /// Arms a timer of `key` for `instant`. It never expires early, and as soon after `instant` as the loop gets to it.
    /// A timer for a past instant expires in the next round. A key may have several timers, one per instant. For
    /// deadlines that move with every message use the [`Wheel`](super::Wheel).
    pub fn arm(&mut self, key: Key, instant: Instant) {
        self.armed.insert((instant, key));
    }

    /// Cancels the timer of `key` for `instant`, if there is one.
    pub fn cancel(&mut self, key: Key, instant: Instant) {
        self.armed.remove(&(instant, key));
    }

    /// Number of armed timers.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }

    /// Whether a timer has expired by `now`.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.armed.first().is_some_and(|(instant, _)| *instant <= now)
    }

    /// Removes and returns the first timer if it has expired by `now`.
    #[inline]
    pub(super) fn next_due(&mut self, now: Instant) -> Option<Key> {
        if self.armed.first()?.0 > now {
            return None;
        }
        // The same instant may be armed again, and then the kernel timer has to be set again.
        self.set_to = None;
        self.armed.pop_first().map(|(_, key)| key)
    }

    /// Notes that the kernel timer has fired. The current time decides which timers have expired.
    pub(super) fn handle_fired(&mut self) {
        self.set_to = None;
    }

    /// Until when the loop has to poll because the first timer expires before the loop could sleep and wake up; `None`
    /// if it can sleep. `round` is when the last round began.
    #[inline]
    pub(super) fn poll_deadline(&self, round: Instant) -> Option<Instant> {
        let &(first, _) = self.armed.first()?;
        let now = coarse_now(first, round);
        (first.saturating_duration_since(now) <= self.lead.get(now)).then_some(first)
    }

    /// Sets the kernel timer for the first timer, before the loop sleeps. On systems without one, and where it cannot be
    /// set, returns how long `poll` may wait.
    #[inline]
    pub(super) fn fall_asleep(&mut self, round: Instant) -> Option<Duration> {
        let &(first, _) = self.armed.first()?;
        let now = coarse_now(first, round);
        let wake_up = first.checked_sub(self.lead.get(now)).unwrap_or(first);
        self.lead.fall_asleep(now);
        if KernelTimer::EXISTS {
            if self.set_to == Some(wake_up) {
                return None;
            }
            match self.timer.set(wake_up) {
                Ok(()) => {
                    self.set_to = Some(wake_up);
                    return None;
                }
                Err(error) => log::debug!("cannot set a timer: {error}; it expires up to a millisecond late"),
            }
        }
        Some(wake_up.saturating_duration_since(system::now()))
    }

    /// Notes that the loop has been woken at `now`.
    #[inline]
    pub(super) fn wake_up(&mut self, now: Instant) {
        if !self.armed.is_empty() {
            self.lead.wake_up(now, self.set_to.filter(|instant| *instant <= now));
        }
    }
}

/// The time now: a round's work can take long. While the first timer is far away, the begin of the round saves a clock
/// call per round.
fn coarse_now(first: Instant, round: Instant) -> Instant {
    if first.saturating_duration_since(round) > FAR { round } else { system::now() }
}

#[cfg(test)]
mod tests {
    use super::{FAR, PreciseTimers, coarse_now};
    use crate::event_loop::{EventLoop, Key};
    use mio::{Events, Poll, Token};
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    fn precise_timers() -> (Poll, PreciseTimers) {
        let poll = Poll::new().expect("a descriptor is free");
        let precise_timers = PreciseTimers::new(poll.registry(), Token(7)).expect("a descriptor is free");
        (poll, precise_timers)
    }

    fn all_due(precise_timers: &mut PreciseTimers, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| precise_timers.next_due(now)?.as_fixed()).collect()
    }

    proptest! {
        /// Each timer expires once, not before its instant, in the order of instants and then of keys.
        #[test]
        fn expire_in_order(delays in proptest::collection::vec(0u64..50, 1..60), steps in proptest::collection::vec(0u64..20, 1..20)) {
            let (_poll, mut precise_timers) = precise_timers();
            let start = Instant::now();
            let after = |nanos| start + Duration::from_nanos(nanos);
            let mut expected: Vec<(u64, u32)> = delays.iter().copied().zip(0..).collect();
            for &(nanos, number) in &expected {
                precise_timers.arm(Key::fixed(number), after(nanos));
            }
            expected.sort_unstable();
            let (mut expired, mut now) = (Vec::new(), 0);
            for step in steps {
                now += step;
                expired.extend(all_due(&mut precise_timers, after(now)));
                let due = expected.iter().filter(|(nanos, _)| *nanos <= now).count();
                prop_assert_eq!(expired.len(), due);
                prop_assert_eq!(precise_timers.len(), expected.len() - due);
            }
            expired.extend(all_due(&mut precise_timers, after(50)));
            prop_assert_eq!(expired, expected.into_iter().map(|(_, number)| number).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_timer_is_due_at_its_instant() {
        let (_poll, mut precise_timers) = precise_timers();
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert!(!precise_timers.is_due(now), "none is armed");
        precise_timers.arm(Key::fixed(1), now + second * 3600);
        assert!(!precise_timers.is_due(now + second));
        assert!(precise_timers.is_due(now + second * 3600));
        precise_timers.arm(Key::fixed(2), now);
        assert!(precise_timers.is_due(now));
    }

    /// After a sleep the loop is woken before the instant, to poll for it. A busy machine may wake it later, so this is
    /// tried again. The fallback for epoll has timeouts of whole milliseconds, and is never early.
    #[test]
    #[cfg(not(multiconn_fallbacks))]
    fn a_loop_with_credit_is_woken_before_the_instant() {
        let (mut poll, mut precise_timers) = precise_timers();
        let mut events = Events::with_capacity(4);
        let is_woken_early = |_| {
            let instant = Instant::now() + Duration::from_millis(3);
            precise_timers.arm(Key::fixed(1), instant);
            assert_eq!(precise_timers.poll_deadline(Instant::now()), None, "there is time to sleep");
            let timeout = precise_timers.fall_asleep(Instant::now());
            poll.poll(&mut events, timeout).expect("the poll works");
            let now = Instant::now();
            precise_timers.wake_up(now);
            precise_timers.handle_fired();
            let deadline = precise_timers.poll_deadline(now);
            precise_timers.cancel(Key::fixed(1), instant);
            now < instant && deadline == Some(instant)
        };
        assert!((0..2000).any(is_woken_early));
    }

    /// The same instant is still to come if the kernel timer was early.
    #[test]
    #[cfg(not(multiconn_fallbacks))]
    fn a_kernel_timer_that_has_fired_is_set_again() {
        let (mut poll, mut precise_timers) = precise_timers();
        let mut events = Events::with_capacity(4);
        precise_timers.arm(Key::fixed(1), Instant::now());
        for _ in 0..2 {
            assert_eq!(precise_timers.fall_asleep(Instant::now()), None);
            poll.poll(&mut events, Some(Duration::from_secs(20))).expect("the poll works");
            assert!(!events.is_empty(), "the timer was not set");
            precise_timers.handle_fired();
        }
    }

    #[test]
    #[cfg(not(multiconn_fallbacks))]
    fn only_a_timer_that_has_fired_shows_the_latency_of_a_wake_up() {
        let hour = Duration::from_secs(3600);
        let lead_after = |slept: Duration| {
            let (_poll, mut precise_timers) = precise_timers();
            let start = Instant::now();
            precise_timers.arm(Key::fixed(1), start + hour);
            assert_eq!(precise_timers.fall_asleep(start), None);
            precise_timers.wake_up(start + slept);
            precise_timers.lead.get(start + slept)
        };
        let micro = Duration::from_micros(1);
        let initial = lead_after(hour.saturating_sub(micro));
        assert!(lead_after(hour) < initial);
        assert!(lead_after(hour + initial) < initial, "it was early enough");
        assert!(lead_after(hour + initial + micro) > initial);
    }

    /// A sleeping loop would be woken by an event of the kernel timer.
    #[test]
    fn a_spinning_loop_does_not_sleep() {
        const KEY: Key = Key::fixed(1);
        let mut event_loop = EventLoop::<()>::spinning(Duration::from_secs(60)).expect("descriptors are free");
        let (due, wait) = (Instant::now(), Duration::from_millis(2));
        event_loop.context().precise_timers.arm(KEY, due + wait);
        event_loop.wait().expect("the poll works");
        assert!(event_loop.context.now >= due + wait && event_loop.context.events.is_empty());
        event_loop.context().precise_timers.cancel(KEY, due + wait);
        let deadline = Instant::now() + wait;
        assert!(!event_loop.spin(deadline).expect("the poll works"), "nothing is due");
        assert!(event_loop.context.now >= deadline);
    }

    #[test]
    fn a_far_timer_takes_no_clock_call() {
        let round = Instant::now().checked_sub(FAR / 2).expect("the machine runs for longer");
        let nano = Duration::from_nanos(1);
        assert_eq!(coarse_now(round + FAR + nano, round), round);
        for first in [round + FAR, round + nano] {
            let (before, now, after) = (Instant::now(), coarse_now(first, round), Instant::now());
            assert!((before..=after).contains(&now));
        }
    }

    #[test]
    fn the_poll_wakes_for_the_first_timer_and_never_early() {
        let (mut poll, mut precise_timers) = precise_timers();
        let mut events = Events::with_capacity(4);
        let start = Instant::now();
        let millis = Duration::from_millis;
        // Later than all, earlier than all, at the same instant as an expired one, and in the past.
        for (number, instant) in (0..).zip([start + millis(30), start + millis(3), start + millis(3), start]) {
            precise_timers.arm(Key::fixed(number), instant);
            loop {
                let timeout = precise_timers.fall_asleep(Instant::now());
                poll.poll(&mut events, timeout.or(Some(millis(20_000)))).expect("the poll works");
                let now = Instant::now();
                precise_timers.wake_up(now);
                precise_timers.handle_fired();
                let due = all_due(&mut precise_timers, now);
                if !due.is_empty() {
                    assert!(due.contains(&number) && now >= instant, "{due:?} after {:?}", now - start);
                    break;
                }
                assert!(now < start + millis(20_000), "the poll was not woken for timer {number}");
            }
        }
    }
}
