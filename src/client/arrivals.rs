//! Arrival schedule of an open loop: when each message is due, independent of earlier messages.
//!
//! A closed loop waits for a reply before it sends again, so a slower server gets fewer messages, and its slow moments
//! are undersampled (coordinated omission; Gil Tene, "How NOT to Measure Latency"). Here the instants follow from a
//! formula: errors do not add up, and a late message does not delay the next one.

use super::clock::nanos;
use super::rate_curve::RateCurve;
use crate::random::mix;
use std::time::Duration;

/// Maximum number of random gaps drawn at once. For more, the sum is replaced by its mean.
const MAX_DRAWN: u64 = 256;

/// Messages whose ages differ by less than 1/1024 are not distinguished by histograms.
const AGE_RESOLUTION: f64 = 1024.0;

/// Distribution of the times between the messages of an open loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrivals {
    /// Evenly spaced.
    #[default]
    Uniform,
    /// Poisson process, as of independent users: the times between messages are exponentially distributed.
    Poisson,
}

/// One worker's part of a schedule in which all connections take turns: the messages of its own connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    worker: u64,
    workers: u64,
    connections: u64,
    /// Number of the worker's connections.
    own: u64,
}

impl Share {
    /// Share of worker `worker` (counted from 0) of `workers`; each has every `workers`th of `connections`. There are
    /// at least as many connections as workers.
    pub(super) fn new(worker: usize, workers: usize, connections: usize) -> Self {
        debug_assert!(worker < workers && workers <= connections, "every worker has a connection");
        let own = (connections - worker).div_ceil(workers) as u64;
        Self { worker: worker as u64, workers: workers as u64, connections: connections as u64, own }
    }

    /// Number of the worker's connections.
    pub(super) fn own(self) -> u64 {
        self.own
    }

    /// Number in the whole schedule of the worker's message `number`.
    fn global_number(self, number: u64) -> u64 {
        let (round, turn) = (number / self.own, number % self.own);
        round.saturating_mul(self.connections).saturating_add(self.worker + turn * self.workers)
    }

    /// How many of the worker's messages precede number `global_number` of the whole schedule.
    fn before(self, global_number: u64) -> u64 {
        let (rounds, turn) = (global_number / self.connections, global_number % self.connections);
        rounds.saturating_mul(self.own).saturating_add(turn.saturating_sub(self.worker).div_ceil(self.workers))
    }

    /// Messages of the whole schedule per message of the worker.
    #[allow(clippy::cast_precision_loss, reason = "so few connections are exact in 53 bits")]
    fn messages_per_own(self) -> f64 {
        self.connections as f64 / self.own as f64
    }
}

/// When one worker has to send its messages, as times since the start of the load. `u64::MAX` nanoseconds is the latest
/// time and means never.
#[derive(Debug, Clone)]
pub(super) struct ArrivalSchedule {
    arrivals: Arrivals,
    curve: RateCurve,
    share: Share,
    seed: u64,
    next: u64,
    /// Position of the next message in the whole schedule: the mean number of messages of all workers before it.
    position: f64,
}

impl ArrivalSchedule {
    /// One worker's share of all messages that become due by `curve`.
    pub(super) fn new(curve: impl Into<RateCurve>, arrivals: Arrivals, seed: u64, share: Share) -> Self {
        let (curve, seed) = (curve.into(), mix(seed ^ mix(share.worker)));
        let mut schedule = Self { arrivals, curve, share, seed, next: 0, position: 0.0 };
        schedule.position = match arrivals {
            Arrivals::Uniform => schedule.uniform_position(),
            Arrivals::Poisson => schedule.random_step(),
        };
        schedule
    }

    /// When the next message is due. A Poisson process with a changing rate is one of rate 1 whose time is the number of
    /// messages due (P. Lewis, G. Shedler, "Simulation of nonhomogeneous Poisson processes").
    pub(super) fn due(&self) -> Duration {
        Duration::from_nanos(to_u64(self.curve.nanos_at(self.position)))
    }

    /// Mean time that the first `count` messages of this worker take.
    #[allow(clippy::cast_precision_loss, reason = "53 bits are exact enough")]
    pub(super) fn mean_duration(&self, count: u64) -> Duration {
        Duration::from_nanos(to_u64(self.curve.nanos_at(count as f64 * self.share.messages_per_own())))
    }

    /// Advances to the following message.
    pub(super) fn advance(&mut self) {
        self.advance_by(1);
    }

    /// Advances by `count` messages.
    pub(super) fn advance_by(&mut self, count: u64) {
        match self.arrivals {
            Arrivals::Uniform => {
                self.next = self.next.saturating_add(count);
                self.position = self.uniform_position();
            }
            Arrivals::Poisson if count <= MAX_DRAWN => (0..count).for_each(|_| {
                self.next = self.next.wrapping_add(1);
                self.position += self.random_step();
            }),
            #[allow(clippy::cast_precision_loss, reason = "a mean of many")]
            Arrivals::Poisson => {
                self.next = self.next.wrapping_add(count);
                self.position += count as f64 * self.share.messages_per_own();
            }
        }
    }

    /// Number of messages, starting with the next one, that can share one due time when only those up to `time` count.
    /// Their ages at `time` differ by less than a thousandth. At least 1.
    pub(super) fn count_of_same_age(&self, time: Duration) -> u64 {
        let due = self.curve.nanos_at(self.position);
        #[allow(clippy::cast_precision_loss, reason = "53 bits are exact enough")]
        let age = (nanos(time) as f64 - due).max(0.0);
        let messages = self.curve.messages_at(due + age / AGE_RESOLUTION) - self.position;
        to_u64(messages / self.share.messages_per_own()).max(1)
    }

    /// Drops messages due before `time`, of a uniform schedule.
    pub(super) fn skip(&mut self, time: Duration) {
        if self.arrivals == Arrivals::Uniform && self.due() < time {
            #[allow(clippy::cast_precision_loss, reason = "104 days of nanoseconds are exact in 53 bits")]
            let passed = to_u64(self.curve.messages_at(nanos(time) as f64).ceil());
            self.next = self.share.before(passed).max(self.next);
            self.position = self.uniform_position();
        }
    }

    /// Computed from the number, not from the previous message: 53 bits of nanoseconds are exact for 104 days.
    #[allow(clippy::cast_precision_loss)]
    fn uniform_position(&self) -> f64 {
        self.share.global_number(self.next) as f64
    }

    /// Exponentially distributed step, by inversion; the same in every run with the same seed.
    fn random_step(&self) -> f64 {
        // The upper 53 bits, scaled to (0, 1].
        #[allow(clippy::cast_precision_loss)]
        let uniform = ((mix(self.seed.wrapping_add(self.next)) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        -uniform.ln() * self.share.messages_per_own()
    }
}

/// Converts to an integer, saturating. `number` is never negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn to_u64(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::{ArrivalSchedule, Arrivals, RateCurve, Share};
    use proptest::prelude::*;
    use std::time::Duration;

    /// Share of one of `workers` with one connection each.
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
    fn errors_of_a_uniform_schedule_do_not_add_up() {
        let schedule = ArrivalSchedule::new(30_000.0, Arrivals::Uniform, 0, equal(0, 1));
        let instants = instants(schedule, 3_000_001);
        assert_eq!(instants[..4], [0, 33_333, 66_666, 100_000].map(Duration::from_nanos));
        assert_eq!(instants[3_000_000], Duration::from_secs(100));
    }

    /// For any number of workers, each message is due when it would be with a single worker, and every connection gets
    /// the same number of messages.
    #[test]
    fn workers_of_a_uniform_schedule_take_turns() {
        for (workers, connections) in [(1, 1), (3, 3), (2, 3), (4, 5), (3, 10), (4, 4), (2, 2)] {
            let (rounds, mut all) = (100, Vec::new());
            for worker in 0..workers {
                let share = Share::new(worker, workers, connections);
                let own = (worker..connections).step_by(workers).count();
                assert_eq!(share.own(), own as u64, "worker {worker} of {workers}, {connections} connections");
                let schedule = ArrivalSchedule::new(3000.0, Arrivals::Uniform, 0, share);
                let mean_duration = schedule.mean_duration(90 * own as u64);
                assert_eq!(mean_duration.as_millis(), 30 * connections as u128);
                all.extend(instants(schedule, rounds * own));
            }
            all.sort();
            let alone = instants(ArrivalSchedule::new(3000.0, Arrivals::Uniform, 0, equal(0, 1)), rounds * connections);
            assert_eq!(all, alone, "{connections} connections over {workers} workers");
        }
    }

    /// The workers of several machines share a schedule like those of one. The machines may have different numbers of
    /// workers.
    #[test]
    fn shards_of_a_uniform_schedule_take_turns() {
        for (workers, connections) in [(vec![1], 3), (vec![1, 1], 2), (vec![2, 2, 2], 17), (vec![1, 2, 1, 3], 13)] {
            let (shards, rounds, mut all) = (workers.len(), 50, Vec::new());
            for (shard, workers) in workers.iter().enumerate() {
                for worker in 0..*workers {
                    let share = Share::new(shard + shards * worker, shards * workers, connections);
                    let schedule = ArrivalSchedule::new(3000.0, Arrivals::Uniform, 0, share);
                    all.extend(instants(schedule, rounds * usize::try_from(share.own()).expect("a few")));
                }
            }
            all.sort();
            let alone = instants(ArrivalSchedule::new(3000.0, Arrivals::Uniform, 0, equal(0, 1)), rounds * connections);
            assert_eq!(all, alone, "{connections} connections over {workers:?} workers");
        }
    }

    fn ramp(from: f64, to: f64, begin_s: u64, duration_s: u64) -> RateCurve {
        RateCurve::ramp(from, to, Duration::from_secs(begin_s), Duration::from_secs(duration_s))
    }

    /// 2 s at 100/s, then 10 s with a mean of 300/s or 150/s: as many messages as the integral of the rate.
    #[test]
    fn workers_of_a_ramp_take_turns() {
        for (to, due) in [(500.0, 3000), (200.0, 1500), (1.0, 505)] {
            let curve = ramp(100.0, to, 2, 10);
            let alone = instants(ArrivalSchedule::new(curve, Arrivals::Uniform, 0, equal(0, 1)), 200 + due + 1);
            assert_eq!((alone[0], alone[100]), (Duration::ZERO, Duration::from_secs(1)));
            assert_eq!(alone[200], Duration::from_secs(2));
            assert!(alone[200 + due - 1] < Duration::from_secs(12) && alone[200 + due] >= Duration::from_secs(12));
            for (workers, connections) in [(3, 3), (2, 3), (4, 5), (3, 10)] {
                let schedules = (0..workers).map(|worker| Share::new(worker, workers, connections)).map(|share| {
                    let own = usize::try_from(share.own()).expect("a few");
                    let count = alone.len() / connections * own;
                    instants(ArrivalSchedule::new(curve, Arrivals::Uniform, 0, share), count)
                });
                let mut all: Vec<_> = schedules.flatten().collect();
                all.sort();
                assert_eq!(all[..], alone[..all.len()], "{connections} connections over {workers} workers, to {to}/s");
            }
        }
    }

    /// Within five standard deviations of the integral of the rate, in each second.
    #[test]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn a_poisson_ramp_follows_its_rate() {
        for (from, to) in [(1000.0, 20_000.0), (20_000.0, 1000.0)] {
            let mut seconds = [0_u32; 10];
            for worker in 0..3 {
                let share = Share::new(worker, 3, 5);
                let mut schedule = ArrivalSchedule::new(ramp(from, to, 0, 10), Arrivals::Poisson, 7, share);
                while let Some(second) = seconds.get_mut(schedule.due().as_secs() as usize) {
                    *second += 1;
                    schedule.advance();
                }
            }
            for (number, count) in seconds.into_iter().enumerate() {
                let expected = from + (to - from) * (number as f64 + 0.5) / 10.0;
                assert!(
                    (f64::from(count) - expected).abs() < 5.0 * expected.sqrt(),
                    "second {number}: {count} of {expected}"
                );
            }
        }
    }

    /// Kolmogorov-Smirnov test of the gaps against the exponential distribution. At 10,000 samples a distance of 0.0163
    /// is exceeded by chance for one seed in a hundred. The seed is fixed.
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

    /// Those that a late start has passed, and no others.
    #[test]
    fn a_uniform_schedule_skips_the_messages_before_an_instant() {
        for (worker, workers, connections) in [(0, 1, 1), (1, 2, 5), (1, 3, 10), (2, 3, 10), (3, 4, 4)] {
            let share = Share::new(worker, workers, connections);
            let all = instants(ArrivalSchedule::new(1000.0, Arrivals::Uniform, 0, share), 100);
            for micros in [0, 500, 1000, 2500, 7500, 20_000, 33_300] {
                let time = Duration::from_micros(micros);
                let mut schedule = ArrivalSchedule::new(1000.0, Arrivals::Uniform, 0, share);
                schedule.skip(time);
                let begin = all.partition_point(|due| *due < time);
                assert_eq!(instants(schedule, 20), all[begin..begin + 20], "worker {worker} at {time:?}");
            }
        }
    }

    #[test]
    fn random_schedules_skip_nothing() {
        let mut schedule = ArrivalSchedule::new(1000.0, Arrivals::Poisson, 1, equal(0, 1));
        let due = schedule.due();
        schedule.skip(Duration::from_secs(1));
        assert_eq!(schedule.due(), due);
    }

    #[test]
    fn many_random_gaps_take_their_mean_duration() {
        let count = 1_000_000;
        let mut schedule = ArrivalSchedule::new(1000.0, Arrivals::Poisson, 1, Share::new(0, 4, 5));
        let begin = schedule.due();
        schedule.advance_by(count);
        assert_eq!(schedule.due().saturating_sub(begin).as_secs(), 2500);
        assert_eq!(schedule.mean_duration(count).as_secs(), 2500);
    }

    /// After a second, the messages of a millisecond may share a due time.
    #[test]
    fn messages_of_about_the_same_age_are_counted() {
        let share = Share::new(0, 4, 5);
        for arrivals in [Arrivals::Uniform, Arrivals::Poisson] {
            let schedule = ArrivalSchedule::new(4_000_000.0, arrivals, 1, share);
            for (millis, expected) in [(0, 1_u64), (1024, 1600), (10_240, 16_000)] {
                let count = schedule.count_of_same_age(schedule.due() + Duration::from_millis(millis));
                assert!(count.abs_diff(expected) <= 1, "{count} after {millis} ms");
            }
            assert_eq!(schedule.count_of_same_age(Duration::ZERO), 1, "it is not due");
        }
    }

    #[test]
    fn seeds_and_workers_have_different_schedules() {
        let of = |seed, worker| instants(ArrivalSchedule::new(1000.0, Arrivals::Poisson, seed, equal(worker, 2)), 10);
        assert_eq!(of(1, 0), of(1, 0));
        assert!(of(1, 0) != of(2, 0) && of(1, 0) != of(1, 1));
    }

    /// Any rates and share that the command line accepts. The number is a constant rate.
    fn extremes() -> impl Strategy<Value = (Option<f64>, RateCurve, Arrivals, Share)> {
        let rate = || {
            prop_oneof![
                prop::num::f64::POSITIVE | prop::num::f64::SUBNORMAL,
                prop::sample::select(vec![f64::MIN_POSITIVE, 5e-324, 1e-11, 2e-10, 1.0, 100e6, f64::MAX]),
            ]
        };
        let constant = rate().prop_map(|rate| (Some(rate), rate.into()));
        let accepted = (rate(), rate()).prop_map(|(from, to)| (from.min(100e6), to.min(100e6)));
        let ramp = (accepted, any::<u64>(), 1..u64::MAX).prop_map(|((from, to), begin, duration)| {
            (None, RateCurve::ramp(from, to, Duration::from_nanos(begin), Duration::from_nanos(duration)))
        });
        let share = (0_usize..9, 1_usize..9, 1_usize..20_000);
        let share = share.prop_map(|(worker, workers, more)| Share::new(worker % workers, workers, workers + more));
        let arrivals = prop::sample::select(vec![Arrivals::Uniform, Arrivals::Poisson]);
        (prop_oneof![constant, ramp], arrivals, share)
            .prop_map(|((rate, curve), arrivals, share)| (rate, curve, arrivals, share))
    }

    proptest! {
        #[test]
        fn due_times_never_decrease_and_always_advance(
            (rate, curve, arrivals, share) in extremes(),
            steps in prop::collection::vec(prop_oneof![1..1000_u64, any::<u64>()], 1..20),
            time in prop_oneof![0..1000_u64, any::<u64>()],
        ) {
            let mut schedule = ArrivalSchedule::new(curve, arrivals, 7, share);
            let time = Duration::from_nanos(time);
            for step in steps {
                let (before, count_of_same_age) = (schedule.due(), schedule.count_of_same_age(time));
                prop_assert!(count_of_same_age >= 1);
                schedule.advance_by(step);
                prop_assert!(schedule.due() >= before, "{:?} after {before:?}", schedule.due());
                // The unit tests of ramps say more about them.
                let Some(rate) = rate else { continue };
                let moves = arrivals == Arrivals::Uniform && before < Duration::from_secs(9_000_000) && rate <= 1e9;
                prop_assert!(!moves || schedule.due() > before, "it stands still at {before:?}");
                schedule.skip(time);
                // 53 bits represent a century with an error of a few hundred nanoseconds.
                let about = time.saturating_sub(time / (1 << 30));
                prop_assert!(arrivals == Arrivals::Poisson || schedule.due() >= about || rate > 100e6, "{:?} {time:?}", schedule.due());
                prop_assert!(schedule.mean_duration(step) <= Duration::from_nanos(u64::MAX));
            }
        }
    }
}
