//! Instants that are kept to the microsecond, where the wheel keeps them to a tick.
//!
//! `poll` rounds its timeout up to whole milliseconds, and so does the wheel. That is right for timeouts, which are many,
//! are moved by every message and hardly ever come. It is too coarse for what must happen at its time: a reply that is
//! delayed, or the next message of a load that is paced. Those are kept here, in order, and a timer of the kernel wakes
//! the loop for the first of them. Setting that timer costs a system call, which is made once for each first instant,
//! just before the loop waits; who arms nothing pays nothing.

use super::Key;
use super::kernel_timer::KernelTimer;
use mio::{Registry, Token};
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

/// What has been armed and has not come yet.
#[derive(Debug)]
pub struct PreciseTimers {
    armed: BTreeSet<(Instant, Key)>,
    timer: KernelTimer,
    /// What the timer is set to, and has not fired for yet.
    set_to: Option<Instant>,
}

impl PreciseTimers {
    /// No alarms yet; `token` is what the timer is known by in `registry`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = KernelTimer::new(registry, token)?;
        Ok(Self { armed: BTreeSet::new(), timer, set_to: None })
    }

    /// Has the handler told of `key` at `instant`, never before, and not later than the loop gets round to it; what has passed
    /// already comes in the next round. A key may have several alarms, one for each instant. For deadlines that move with
    /// every message there is the [`Wheel`](super::Wheel).
    pub fn arm(&mut self, key: Key, instant: Instant) {
        self.armed.insert((instant, key));
    }

    /// Forgets the alarm of `key` at `instant`, if there is one.
    pub fn cancel(&mut self, key: Key, instant: Instant) {
        self.armed.remove(&(instant, key));
    }

    /// How many alarms are to come.
    #[must_use]
    pub fn len(&self) -> usize {
        self.armed.len()
    }

    /// Whether no alarm is to come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    /// Whether an alarm has come by `now`.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.armed.first().is_some_and(|(instant, _)| *instant <= now)
    }

    /// Takes out the first alarm if it has come by `now`.
    #[inline]
    pub(super) fn next_due(&mut self, now: Instant) -> Option<Key> {
        if self.armed.first()?.0 > now {
            return None;
        }
        // The same instant may be armed once more, and the timer has to be set for that again.
        self.set_to = None;
        self.armed.pop_first().map(|(_, key)| key)
    }

    /// The timer has fired. Which alarms have come is seen from the time.
    pub(super) fn handle_fired(&mut self) {
        self.set_to = None;
    }

    /// Sees to it that the loop is woken for the first alarm. Where the system has no precise timer, returns how long `poll`
    /// may wait from `now` on.
    #[inline]
    pub(super) fn set_timer(&mut self, now: Instant) -> io::Result<Option<Duration>> {
        let Some(&(first, _)) = self.armed.first() else { return Ok(None) };
        if !KernelTimer::EXISTS {
            return Ok(Some(first.saturating_duration_since(now)));
        }
        if self.set_to != Some(first) {
            self.timer.set(first)?;
            self.set_to = Some(first);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::PreciseTimers;
    use crate::event_loop::Key;
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
        /// Each comes once, not before its instant, and in the order of instants, then of keys.
        #[test]
        fn come_in_order(delays in proptest::collection::vec(0u64..50, 1..60), steps in proptest::collection::vec(0u64..20, 1..20)) {
            let (_poll, mut precise_timers) = precise_timers();
            let start = Instant::now();
            let after = |nanos| start + Duration::from_nanos(nanos);
            let mut expected: Vec<(u64, u32)> = delays.iter().copied().zip(0..).collect();
            for &(nanos, number) in &expected {
                precise_timers.arm(Key::fixed(number), after(nanos));
            }
            expected.sort_unstable();
            let (mut come, mut now) = (Vec::new(), 0);
            for step in steps {
                now += step;
                come.extend(all_due(&mut precise_timers, after(now)));
                let passed = expected.iter().filter(|(nanos, _)| *nanos <= now).count();
                prop_assert_eq!(come.len(), passed);
                prop_assert_eq!(precise_timers.len(), expected.len() - passed);
            }
            come.extend(all_due(&mut precise_timers, after(50)));
            prop_assert_eq!(come, expected.into_iter().map(|(_, number)| number).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_poll_is_woken_for_the_first_and_never_early() {
        let (mut poll, mut precise_timers) = precise_timers();
        let mut events = Events::with_capacity(4);
        let start = Instant::now();
        let millis = Duration::from_millis;
        // Later, sooner, at the same instant as one that has come, and in the past.
        for (number, instant) in (0..).zip([start + millis(30), start + millis(3), start + millis(3), start]) {
            precise_timers.arm(Key::fixed(number), instant);
            loop {
                let timeout = precise_timers.set_timer(Instant::now()).expect("the timer can be set");
                poll.poll(&mut events, timeout.or(Some(millis(20_000)))).expect("the poll works");
                precise_timers.handle_fired();
                let now = Instant::now();
                let due = all_due(&mut precise_timers, now);
                if !due.is_empty() {
                    assert!(due.contains(&number) && now >= instant, "{due:?} after {:?}", now - start);
                    break;
                }
                assert!(now < start + millis(20_000), "nobody woke the poll for alarm {number}");
            }
        }
    }
}
