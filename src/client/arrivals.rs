//! When each message of an open loop is due, whatever became of the ones before it.
//!
//! A closed loop waits for an answer before it asks again, and so asks less of a server the slower that is: the bad
//! moments are the ones it does not measure (coordinated omission; Gil Tene, "How NOT to Measure Latency"). Here the
//! instants are known beforehand, from a formula: no error adds up, and no late message delays the next.

use super::clock::nanos;
use super::pattern::mix;
use std::time::Duration;

const NANOS_PER_SECOND: f64 = 1e9;

/// More nanoseconds than any time here has.
#[allow(clippy::cast_precision_loss)]
const NEVER_NANOS: f64 = u64::MAX as f64;

/// How many random gaps are drawn at once; the sum of more is their mean.
const MOST_DRAWN: u64 = 256;

/// Below this share of a time histograms do not tell two times apart.
const NEAR: f64 = 1024.0;

/// How the messages of an open loop follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Uniform,
    /// As independent users ask: the times between them are distributed exponentially (a Poisson process).
    Poisson,
}

/// The part of a schedule that one worker takes: what falls to its own connections, when all connections take turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    worker: u64,
    workers: u64,
    connections: u64,
    /// How many connections the worker has.
    own: u64,
}

impl Share {
    /// The share of worker `worker` (counted from 0) of `workers`, of which each has every `workers`th of `connections`.
    /// There are at least as many connections as workers.
    pub(super) fn new(worker: usize, workers: usize, connections: usize) -> Self {
        debug_assert!(worker < workers && workers <= connections, "every worker has a connection");
        let own = (connections - worker).div_ceil(workers) as u64;
        Self { worker: worker as u64, workers: workers as u64, connections: connections as u64, own }
    }

    /// How many connections the worker has.
    pub(super) fn own(self) -> u64 {
        self.own
    }

    /// The number in the whole schedule of the worker's message `number`.
    fn place(self, number: u64) -> u64 {
        let (round, turn) = (number / self.own, number % self.own);
        round.saturating_mul(self.connections).saturating_add(self.worker + turn * self.workers)
    }

    /// How many of the worker's messages stand before `place` in the whole schedule.
    fn before(self, place: u64) -> u64 {
        let (rounds, turn) = (place / self.connections, place % self.connections);
        rounds.saturating_mul(self.own).saturating_add(turn.saturating_sub(self.worker).div_ceil(self.workers))
    }

    /// How many messages of the whole schedule there are to one of the worker's.
    #[allow(clippy::cast_precision_loss, reason = "so few connections are exact in 53 bits")]
    fn one_in(self) -> f64 {
        self.connections as f64 / self.own as f64
    }
}

/// The instants at which one worker has to send a message, as times since the start of the load. No instant is later than
/// `u64::MAX` nanoseconds, which is never.
#[derive(Debug, Clone)]
pub(super) struct ArrivalSchedule {
    arrivals: Arrivals,
    /// Between two messages of all workers, on average.
    gap_nanos: f64,
    /// Between two messages of this worker, on average.
    own_gap_nanos: f64,
    share: Share,
    seed: u64,
    next: u64,
    due_nanos: f64,
}

impl ArrivalSchedule {
    /// The share of one worker in a total of `rate` messages per second.
    pub(super) fn new(rate: f64, arrivals: Arrivals, seed: u64, share: Share) -> Self {
        // A rate can be so low that no number of nanoseconds is its interval. Infinity times 0 would be no time at all.
        let gap_nanos = (NANOS_PER_SECOND / rate).min(NEVER_NANOS);
        let mut schedule = Self {
            arrivals,
            gap_nanos,
            own_gap_nanos: gap_nanos * share.one_in(),
            share,
            seed: mix(seed ^ mix(share.worker)),
            next: 0,
            due_nanos: 0.0,
        };
        schedule.due_nanos = match arrivals {
            Arrivals::Uniform => schedule.even_nanos(),
            Arrivals::Poisson => schedule.random_gap(),
        };
        schedule
    }

    /// When the next message is due.
    pub(super) fn due(&self) -> Duration {
        Duration::from_nanos(whole(self.due_nanos))
    }

    /// How long `count` messages of this worker take, on average.
    #[allow(clippy::cast_precision_loss, reason = "53 bits are exact enough")]
    pub(super) fn length(&self, count: u64) -> Duration {
        Duration::from_nanos(whole(count as f64 * self.own_gap_nanos))
    }

    /// Goes on to the one after it.
    pub(super) fn advance(&mut self) {
        self.advance_by(1);
    }

    /// Goes on by so many.
    pub(super) fn advance_by(&mut self, count: u64) {
        match self.arrivals {
            Arrivals::Uniform => {
                self.next = self.next.saturating_add(count);
                self.due_nanos = self.even_nanos();
            }
            Arrivals::Poisson if count <= MOST_DRAWN => (0..count).for_each(|_| {
                self.next = self.next.wrapping_add(1);
                self.due_nanos += self.random_gap();
            }),
            #[allow(clippy::cast_precision_loss, reason = "a mean of many")]
            Arrivals::Poisson => {
                self.next = self.next.wrapping_add(count);
                self.due_nanos += count as f64 * self.own_gap_nanos;
            }
        }
    }

    /// How many messages, from the next one on, are due within so short a time that one instant stands for them all, if
    /// those up to `time` count: within a thousandth of what they are old by then. At least one.
    pub(super) fn near(&self, time: Duration) -> u64 {
        let age = time.saturating_sub(self.due());
        whole(age.as_secs_f64() * NANOS_PER_SECOND / NEAR / self.own_gap_nanos).max(1)
    }

    /// Leaves out what was due before `time`, of an even schedule.
    pub(super) fn skip(&mut self, time: Duration) {
        if self.arrivals == Arrivals::Uniform && self.due() < time {
            #[allow(clippy::cast_precision_loss, reason = "104 days of nanoseconds are exact in 53 bits")]
            let passed = whole((nanos(time) as f64 / self.gap_nanos).ceil());
            self.next = self.share.before(passed).max(self.next);
            self.due_nanos = self.even_nanos();
        }
    }

    /// From the number, and not from the message before: 53 bits of nanoseconds are exact for 104 days.
    #[allow(clippy::cast_precision_loss)]
    fn even_nanos(&self) -> f64 {
        self.share.place(self.next) as f64 * self.gap_nanos
    }

    /// Distributed exponentially, by inversion; the same in every run with the same seed.
    fn random_gap(&self) -> f64 {
        // The upper 53 bits, as a number above 0 and up to 1.
        #[allow(clippy::cast_precision_loss)]
        let uniform = ((mix(self.seed.wrapping_add(self.next)) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        -uniform.ln() * self.own_gap_nanos
    }
}

/// As a whole number: of what is more than one holds, the most that it holds. Negative it never is.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::{ArrivalSchedule, Arrivals, Share};
    use proptest::prelude::*;
    use std::time::Duration;

    /// The share of one of `workers` that have a connection each.
    fn equal(worker: usize, workers: usize) -> Share {
        Share::new(worker, workers, workers)
    }

    fn instants(schedule: ArrivalSchedule, count: usize) -> Vec<Duration> {
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
        let schedule = ArrivalSchedule::new(30_000.0, Arrivals::Uniform, 0, equal(0, 1));
        let instants = instants(schedule, 3_000_001);
        assert_eq!(instants[..4], [0, 33_333, 66_666, 100_000].map(Duration::from_nanos));
        assert_eq!(instants[3_000_000], Duration::from_secs(100));
    }

    /// However the connections are spread over the workers, each message has the instant that it would have with one worker,
    /// and each connection gets as many as any other.
    #[test]
    fn the_workers_of_an_even_schedule_take_turns() {
        for (workers, connections) in [(1, 1), (3, 3), (2, 3), (4, 5), (3, 10), (4, 4), (2, 2)] {
            let (rounds, mut all) = (100, Vec::new());
            for worker in 0..workers {
                let share = Share::new(worker, workers, connections);
                let own = (worker..connections).step_by(workers).count();
                assert_eq!(share.own(), own as u64, "worker {worker} of {workers}, {connections} connections");
                let schedule = ArrivalSchedule::new(3000.0, Arrivals::Uniform, 0, share);
                let length = schedule.length(90 * own as u64);
                assert_eq!(length.as_millis(), 30 * connections as u128);
                all.extend(instants(schedule, rounds * own));
            }
            all.sort();
            let alone = instants(ArrivalSchedule::new(3000.0, Arrivals::Uniform, 0, equal(0, 1)), rounds * connections);
            assert_eq!(all, alone, "{connections} connections over {workers} workers");
        }
    }

    /// Kolmogorov and Smirnov's test of the gaps against the exponential distribution: at 10,000 samples, a distance of
    /// 0.0163 is exceeded by chance in one of a hundred seeds. The seed is fixed.
    #[test]
    fn poisson_gaps_are_exponential() {
        // Two of five connections.
        for (share, rate) in [(equal(1, 2), 500.0), (Share::new(0, 4, 5), 400.0)] {
            let instants = instants(ArrivalSchedule::new(1000.0, Arrivals::Poisson, 42, share), 10_001);
            let mut gaps: Vec<f64> =
                instants.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs_f64()).collect();
            gaps.sort_by(f64::total_cmp);
            let expected = |gap: f64| 1.0 - (-gap * rate).exp();
            let (mut index, mut distance) = (0.0, 0.0_f64);
            for gap in gaps {
                let share = expected(gap);
                distance = distance.max((share - index / 1e4).abs()).max((share - (index + 1.0) / 1e4).abs());
                index += 1.0;
            }
            assert!(distance < 0.0163, "a distance of {distance}");
        }
    }

    #[test]
    fn seeds_and_workers_have_schedules_of_their_own() {
        let of = |seed, worker| instants(ArrivalSchedule::new(1000.0, Arrivals::Poisson, seed, equal(worker, 2)), 10);
        assert_eq!(of(1, 0), of(1, 0));
        assert!(of(1, 0) != of(2, 0) && of(1, 0) != of(1, 1));
    }

    /// Any rate that can be typed, and any time that can be waited for.
    fn extremes() -> impl Strategy<Value = (f64, Arrivals, Share)> {
        let rate = prop_oneof![
            prop::num::f64::POSITIVE | prop::num::f64::SUBNORMAL,
            prop::sample::select(vec![f64::MIN_POSITIVE, 5e-324, 1e-11, 2e-10, 1.0, 100e6, f64::MAX]),
        ];
        let share = (0_usize..9, 1_usize..9, 1_usize..20_000);
        let share = share.prop_map(|(worker, workers, more)| Share::new(worker % workers, workers, workers + more));
        let arrivals = prop::sample::select(vec![Arrivals::Uniform, Arrivals::Poisson]);
        (rate, arrivals, share)
    }

    proptest! {
        #[test]
        fn no_schedule_goes_back_in_time_or_stands_still_for_ever(
            (rate, arrivals, share) in extremes(),
            steps in prop::collection::vec(prop_oneof![1..1000_u64, any::<u64>()], 1..20),
            time in prop_oneof![0..1000_u64, any::<u64>()],
        ) {
            let mut schedule = ArrivalSchedule::new(rate, arrivals, 7, share);
            let time = Duration::from_nanos(time);
            for step in steps {
                let (before, near) = (schedule.due(), schedule.near(time));
                prop_assert!(near >= 1);
                schedule.advance_by(step);
                prop_assert!(schedule.due() >= before, "{:?} after {before:?}", schedule.due());
                let moves = arrivals == Arrivals::Uniform && before < Duration::from_secs(9_000_000) && rate <= 1e9;
                prop_assert!(!moves || schedule.due() > before, "it stands still at {before:?}");
                schedule.skip(time);
                // 53 bits hold a century to some hundred nanoseconds.
                let about = time.saturating_sub(time / (1 << 30));
                prop_assert!(arrivals == Arrivals::Poisson || schedule.due() >= about || rate > 100e6, "{:?} {time:?}", schedule.due());
                prop_assert!(schedule.length(step) <= Duration::from_nanos(u64::MAX));
            }
        }
    }
}
