//! How long before an instant a loop wakes up, so that it polls when the instant comes.
//!
//! A sleeping thread runs some 20 to 50 µs after its timer has fired, and instants that are closer together than that
//! are reached together. With a timer that fires earlier by this latency, the loop is awake at the instant and has to
//! poll for a few microseconds only. The latency is measured at each wake-up.

use std::time::{Duration, Instant};

/// Lead before the first measurement.
const INITIAL_LEAD: Duration = Duration::from_micros(50);

/// Longest lead. A later wake-up is not measured: another program has used the CPU, and polling cannot make up for it.
const MAX_LEAD: Duration = Duration::from_micros(100);

/// Changes of the lead per wake-up. Three in a hundred wake-ups are later than the lead (stochastic approximation of a
/// quantile; Robbins and Monro 1951).
const INCREASE: Duration = Duration::from_nanos(3200);
const DECREASE: Duration = Duration::from_nanos(100);

/// Bound of the credit and of the debt of a loop: how long it polls after a long sleep, and how long a busy time prevents
/// polling.
const MAX_CREDIT: Duration = Duration::from_millis(1);

/// Lead of a loop's kernel timer, and the time for which the loop may poll.
///
/// Each sleep pays for as much time awake, and only a loop with credit has a lead. Polling therefore never makes a loop
/// use more than half of a CPU.
#[derive(Debug)]
pub(super) struct WakeUpLead {
    lead: Duration,
    /// The credit ends here, unless the loop sleeps before.
    paid_until: Instant,
    asleep_since: Instant,
}

impl WakeUpLead {
    pub(super) fn new(now: Instant) -> Self {
        Self { lead: INITIAL_LEAD, paid_until: now, asleep_since: now }
    }

    /// How long before an instant the loop polls for it, as of `now`.
    #[inline]
    pub(super) fn get(&self, now: Instant) -> Duration {
        if now < self.paid_until { self.lead } else { Duration::ZERO }
    }

    /// The loop sleeps from `now` on.
    #[inline]
    pub(super) fn fall_asleep(&mut self, now: Instant) {
        self.paid_until = self.paid_until.max(now.checked_sub(MAX_CREDIT).unwrap_or(now));
        self.asleep_since = now;
    }

    /// The loop was woken at `now`. `fired` is the instant of the kernel timer, if it has come: it shows the latency of
    /// the wake-up, unless the loop was awake then.
    #[inline]
    pub(super) fn wake_up(&mut self, now: Instant, fired: Option<Instant>) {
        let slept = now.saturating_duration_since(self.asleep_since);
        // Once for the time that has passed, and once as credit.
        self.paid_until = (self.paid_until + 2 * slept).min(now + MAX_CREDIT);
        let Some(instant) = fired.filter(|instant| self.asleep_since < *instant) else { return };
        let late = now.saturating_duration_since(instant);
        if late <= self.lead {
            self.lead = self.lead.saturating_sub(DECREASE);
        } else if late <= MAX_LEAD {
            self.lead += INCREASE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{INITIAL_LEAD, MAX_CREDIT, WakeUpLead};
    use std::time::{Duration, Instant};

    fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    /// Lead of a loop that slept often, and woke up with these latencies in turn.
    fn lead_after(latencies_us: &[u64]) -> Duration {
        let mut now = Instant::now();
        let mut lead = WakeUpLead::new(now);
        for late in latencies_us.iter().cycle().take(20_000) {
            lead.fall_asleep(now);
            let instant = now + micros(500);
            now = instant + micros(*late);
            lead.wake_up(now, Some(instant));
        }
        lead.get(now)
    }

    #[test]
    fn nearly_all_wake_ups_are_within_the_lead() {
        for (latencies_us, expected_us) in [
            (vec![30], 29..34),
            ((1..=20).map(|step| step * 7 % 20).collect(), 18..23),
            // The loop did not get a CPU.
            (vec![20, 20, 10_000], 19..24),
            (vec![0], 0..4),
        ] {
            let lead = lead_after(&latencies_us);
            assert!(expected_us.contains(&lead.as_micros()), "{lead:?} for {latencies_us:?}");
        }
    }

    #[test]
    fn a_timer_that_fires_while_the_loop_is_awake_shows_no_latency() {
        let start = Instant::now();
        let mut lead = WakeUpLead::new(start);
        lead.fall_asleep(start);
        lead.wake_up(start + micros(500), None);
        for fired in [510, 520] {
            lead.fall_asleep(start + micros(520));
            lead.wake_up(start + micros(530), Some(start + micros(fired)));
            assert_eq!(lead.get(start + micros(530)), INITIAL_LEAD);
        }
    }

    /// A loop that always polls when it may is awake for half of the time, also if it polls for long.
    #[test]
    fn polling_uses_half_of_a_cpu() {
        for poll_us in [1, 5, 90] {
            let start = Instant::now();
            let (mut now, mut awake) = (start, Duration::ZERO);
            let mut lead = WakeUpLead::new(start);
            assert_eq!(lead.get(start), Duration::ZERO, "nothing was earned yet");
            for step in 0..10_000 {
                if lead.get(now).is_zero() {
                    lead.fall_asleep(now);
                    now += micros(10 + step % 90);
                    lead.wake_up(now, None);
                } else {
                    now += micros(poll_us);
                    awake += micros(poll_us);
                }
            }
            let share = awake.as_secs_f64() / (now - start).as_secs_f64();
            assert!((0.45..0.55).contains(&share), "{share} with {poll_us} µs");
        }
    }

    #[test]
    fn credit_and_debt_are_bounded() {
        let start = Instant::now();
        let second = micros(1_000_000);
        let mut lead = WakeUpLead::new(start);
        lead.fall_asleep(start);
        lead.wake_up(start + second, None);
        assert!(!lead.get(start + second).is_zero() && lead.get(start + second + MAX_CREDIT).is_zero());
        let busy = start + 10 * second;
        lead.fall_asleep(busy);
        lead.wake_up(busy + micros(900), None);
        assert!(lead.get(busy + micros(900)).is_zero(), "a debt of 1 ms remains in part");
        lead.fall_asleep(busy + micros(900));
        lead.wake_up(busy + 3 * MAX_CREDIT, None);
        assert!(!lead.get(busy + 3 * MAX_CREDIT).is_zero());
    }
}
