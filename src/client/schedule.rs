//! When each message of an open loop is due, whatever became of the ones before it.
//!
//! A closed loop waits for an answer before it asks again, and so asks less of a server the slower that is: the bad
//! moments are the ones it does not measure (coordinated omission; Gil Tene, "How NOT to Measure Latency"). Here the
//! instants are known beforehand, from a formula: no error adds up, and no late message delays the next.

use super::clock::nanos;
use super::pattern::mix;
use std::time::Duration;

const NANOS_PER_SECOND: f64 = 1e9;

/// How the messages of an open loop follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Uniform,
    /// As independent users ask: the times between them are distributed exponentially (a Poisson process).
    Poisson,
}

/// The instants at which one worker has to send a message, as times since the start of the load.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    arrivals: Arrivals,
    /// Between two messages of this worker, on average.
    gap_nanos: f64,
    /// Before the first one, so that the workers of an even schedule take turns.
    first_nanos: f64,
    seed: u64,
    next: u64,
    due_nanos: f64,
}

impl Schedule {
    /// The share of worker `number` (counted from 0) of `workers` in a total of `rate` messages per second.
    pub(super) fn new(rate: f64, arrivals: Arrivals, seed: u64, number: usize, workers: usize) -> Self {
        // So few workers are exact in 53 bits.
        #[allow(clippy::cast_precision_loss)]
        let (number_f64, workers) = (number as f64, workers as f64);
        let gap_nanos = NANOS_PER_SECOND / rate;
        let mut schedule = Self {
            arrivals,
            gap_nanos: gap_nanos * workers,
            first_nanos: gap_nanos * number_f64,
            seed: mix(seed ^ mix(number as u64)),
            next: 0,
            due_nanos: 0.0,
        };
        schedule.due_nanos = match arrivals {
            Arrivals::Uniform => schedule.first_nanos,
            Arrivals::Poisson => schedule.random_gap(),
        };
        schedule
    }

    /// When the next message is due.
    pub(super) fn due(&self) -> Duration {
        // Negative it never is, and 584 years fit.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Duration::from_nanos(self.due_nanos as u64)
    }

    /// Goes on to the one after it.
    pub(super) fn advance(&mut self) {
        self.next += 1;
        match self.arrivals {
            // From the number, and not from the one before: 53 bits of nanoseconds are exact for 104 days.
            #[allow(clippy::cast_precision_loss)]
            Arrivals::Uniform => self.due_nanos = self.first_nanos + self.next as f64 * self.gap_nanos,
            Arrivals::Poisson => self.due_nanos += self.random_gap(),
        }
    }

    /// Leaves out what was due before `time`, of an even schedule.
    pub(super) fn skip(&mut self, time: Duration) {
        if self.arrivals == Arrivals::Uniform && self.due() < time {
            // Negative it never is, and 104 days of nanoseconds are exact in 53 bits.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let passed = ((nanos(time) as f64 - self.first_nanos) / self.gap_nanos).ceil() as u64;
            self.next = passed.saturating_sub(1).max(self.next);
            self.advance();
        }
    }

    /// Distributed exponentially, by inversion; the same in every run with the same seed.
    fn random_gap(&self) -> f64 {
        // The upper 53 bits, as a number above 0 and up to 1.
        #[allow(clippy::cast_precision_loss)]
        let uniform = ((mix(self.seed.wrapping_add(self.next)) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        -uniform.ln() * self.gap_nanos
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Schedule};
    use std::time::Duration;

    fn instants(schedule: Schedule, count: usize) -> Vec<Duration> {
        let mut schedule = schedule;
        let mut next = || {
            let due = schedule.due();
            schedule.advance();
            due
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn an_even_schedule_has_no_error_that_adds_up() {
        let schedule = Schedule::new(30_000.0, Arrivals::Uniform, 0, 0, 1);
        let instants = instants(schedule, 3_000_001);
        assert_eq!(instants[..4], [0, 33_333, 66_666, 100_000].map(Duration::from_nanos));
        assert_eq!(instants[3_000_000], Duration::from_secs(100));
    }

    #[test]
    fn the_workers_of_an_even_schedule_take_turns() {
        let mut all: Vec<Duration> =
            (0..3).flat_map(|number| instants(Schedule::new(3000.0, Arrivals::Uniform, 0, number, 3), 1000)).collect();
        all.sort();
        let alone = instants(Schedule::new(3000.0, Arrivals::Uniform, 0, 0, 1), 3000);
        let close = |(a, b): (&Duration, &Duration)| a.abs_diff(*b) <= Duration::from_nanos(1);
        assert!(all.iter().zip(&alone).all(close), "three shares make one whole");
    }

    /// Kolmogorov and Smirnov's test of the gaps against the exponential distribution: at 10,000 samples, a distance of
    /// 0.0163 is exceeded by chance in one of a hundred seeds. The seed is fixed.
    #[test]
    fn poisson_gaps_are_exponential() {
        let instants = instants(Schedule::new(1000.0, Arrivals::Poisson, 42, 1, 2), 10_001);
        let mut gaps: Vec<f64> =
            instants.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs_f64()).collect();
        gaps.sort_by(f64::total_cmp);
        let expected = |gap: f64| 1.0 - (-gap * 500.0).exp();
        let (mut index, mut distance) = (0.0, 0.0_f64);
        for gap in gaps {
            let share = expected(gap);
            distance = distance.max((share - index / 1e4).abs()).max((share - (index + 1.0) / 1e4).abs());
            index += 1.0;
        }
        assert!(distance < 0.0163, "a distance of {distance}");
    }

    #[test]
    fn seeds_and_workers_have_schedules_of_their_own() {
        let of = |seed, number| instants(Schedule::new(1000.0, Arrivals::Poisson, seed, number, 2), 10);
        assert_eq!(of(1, 0), of(1, 0));
        assert!(of(1, 0) != of(2, 0) && of(1, 0) != of(1, 1));
    }
}
