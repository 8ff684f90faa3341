//! Messages due as a function of time, in closed form: the integral of a constant rate, or of a linear ramp.

use super::clock::nanos;
use std::time::Duration;

const NANOS_PER_SECOND: f64 = 1e9;

/// More nanoseconds than any time here has.
#[allow(clippy::cast_precision_loss)]
const NEVER_NANOS: f64 = u64::MAX as f64;

/// When messages are due: the number of messages as a function of time, and its inverse. Times are nanoseconds since the
/// start of the load; numbers of messages may be fractions.
#[derive(Debug, Clone, Copy)]
pub(super) enum RateCurve {
    /// Time between two messages.
    Constant {
        gap_nanos: f64,
    },
    Ramp(Ramp),
}

/// A rate that is constant at first, then changes linearly, then stays at its last value. Rates are per nanosecond.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ramp {
    from: f64,
    to: f64,
    /// Time before the change, and how long the change takes.
    begin: f64,
    duration: f64,
    /// Messages before the change, and during it.
    before: f64,
    during: f64,
    /// Half of the change per nanosecond: the factor of the square of the time.
    half_slope: f64,
}

impl From<f64> for RateCurve {
    /// A constant number of messages per second.
    fn from(rate: f64) -> Self {
        // The interval of a very low rate exceeds the range. It is capped: infinity times 0 would be NaN.
        Self::Constant { gap_nanos: (NANOS_PER_SECOND / rate).min(NEVER_NANOS) }
    }
}

impl RateCurve {
    /// `from` messages per second for `begin`, then a linear change to `to` within `duration`, which is not zero.
    #[allow(clippy::cast_precision_loss, reason = "104 days of nanoseconds are exact in 53 bits")]
    #[allow(clippy::float_cmp, reason = "only an equal rate is constant")]
    pub(super) fn ramp(from: f64, to: f64, begin: Duration, duration: Duration) -> Self {
        if from == to {
            return from.into();
        }
        // As with a constant rate, a time between messages beyond the range is capped.
        let [from, to] = [from, to].map(|rate| (rate / NANOS_PER_SECOND).max(1.0 / NEVER_NANOS));
        let (begin, duration) = (nanos(begin) as f64, nanos(duration) as f64);
        Self::Ramp(Ramp {
            from,
            to,
            begin,
            duration,
            before: from * begin,
            during: f64::midpoint(from, to) * duration,
            half_slope: (to - from) / (2.0 * duration),
        })
    }

    /// When the first `messages` messages have become due.
    pub(super) fn nanos_at(&self, messages: f64) -> f64 {
        match self {
            Self::Constant { gap_nanos } => messages * gap_nanos,
            Self::Ramp(ramp) => ramp.nanos_at(messages),
        }
    }

    /// Number of messages that have become due in the first `nanos` nanoseconds.
    pub(super) fn messages_at(&self, nanos: f64) -> f64 {
        match self {
            Self::Constant { gap_nanos } => nanos / gap_nanos,
            Self::Ramp(ramp) => ramp.messages_at(nanos),
        }
    }
}

impl Ramp {
    fn nanos_at(&self, messages: f64) -> f64 {
        let number = messages - self.before;
        if number < 0.0 {
            messages / self.from
        } else if number > self.during {
            self.begin + self.duration + (number - self.during) / self.to
        } else if self.to > self.from {
            self.begin + root(self.half_slope, self.from, number).min(self.duration)
        } else {
            // A falling ramp is a rising one that runs backwards. Counted from its start, the discriminant near its end
            // would be the small difference of two large numbers.
            let rest = root(-self.half_slope, self.to, self.during - number);
            self.begin + (self.duration - rest).max(0.0)
        }
    }

    fn messages_at(&self, nanos: f64) -> f64 {
        let time = nanos - self.begin;
        if time < 0.0 {
            nanos * self.from
        } else if time > self.duration {
            self.before + self.during + (time - self.duration) * self.to
        } else {
            self.before + time * (self.from + self.half_slope * time)
        }
    }
}

/// The root of `half_slope * x² + rate * x = number`, which is not negative; nor are the arguments. All sums are of terms
/// with the same sign, so the relative error is that of a few roundings: below 0.01 ns in an hour.
fn root(half_slope: f64, rate: f64, number: f64) -> f64 {
    2.0 * number / (rate + (rate * rate + 4.0 * half_slope * number).sqrt())
}

#[cfg(test)]
mod tests {
    use super::RateCurve;
    use proptest::prelude::*;
    use std::time::Duration;

    const SECOND: i128 = 1_000_000_000;

    /// Rates in messages per second, the time before the ramp and its duration in nanoseconds.
    fn ramps() -> impl Strategy<Value = (u32, u32, u64, u64)> {
        let rate = || prop_oneof![1..=100_000_000_u32, prop::sample::select(vec![1, 2, 1000, 99_999_999, 100_000_000])];
        let begin = prop_oneof![Just(0), 0..60_000_000_000_u64];
        let duration = prop_oneof![1_000_000..3_600_000_000_000_u64, Just(3_600_000_000_000), Just(1_000_000_000)];
        (rate(), rate(), begin, duration)
    }

    /// Twice the number of messages due `time` nanoseconds after the begin of a ramp, times its duration and a second:
    /// exact.
    fn scaled_integral(from: u32, to: u32, duration: u64, time: i128) -> i128 {
        let (from, to, duration) = (i128::from(from), i128::from(to), i128::from(duration));
        2 * from * duration * time + (to - from) * time * time
    }

    proptest! {
        /// Compared with exact integers: each message is due within a nanosecond of the root.
        #[test]
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        fn roots_are_exact_to_the_nanosecond((from, to, _, duration) in ramps(), share in 0.0..1.0_f64) {
            let curve = RateCurve::ramp(from.into(), to.into(), Duration::ZERO, Duration::from_nanos(duration));
            let all = f64::midpoint(from.into(), to.into()) * duration as f64 / 1e9;
            let number = (all * share).floor();
            let due = curve.nanos_at(number).floor() as i128;
            let scaled = number as i128 * 2 * i128::from(duration) * SECOND;
            prop_assert!(scaled_integral(from, to, duration, due - 1) < scaled.max(1), "message {number} is due at {due}");
            prop_assert!(scaled_integral(from, to, duration, due + 2) > scaled, "message {number} is due at {due}");
        }

        #[test]
        #[allow(clippy::cast_precision_loss)]
        fn times_and_numbers_are_inverse((from, to, begin, duration) in ramps(), time in 0.0..2.0_f64) {
            let durations = [begin, duration].map(Duration::from_nanos);
            let curve = RateCurve::ramp(from.into(), to.into(), durations[0], durations[1]);
            let time = time * (begin + duration) as f64;
            let back = curve.nanos_at(curve.messages_at(time));
            // Half of the last digit of the number of messages, in time of the lowest rate.
            let digit = curve.messages_at(time) * f64::EPSILON / f64::from(from.min(to)) * 1e9;
            prop_assert!((back - time).abs() <= 0.01 + 4.0 * digit, "{back} instead of {time}");
        }

        #[test]
        #[allow(clippy::cast_precision_loss)]
        fn a_curve_is_continuous_and_rises((from, to, begin, duration) in ramps(), steps in prop::collection::vec(0.0..2.0_f64, 20)) {
            let curve = RateCurve::ramp(from.into(), to.into(), Duration::from_nanos(begin), Duration::from_nanos(duration));
            let end = curve.messages_at((begin + duration) as f64);
            let mut numbers: Vec<_> = steps.into_iter().map(|step| (step * end).floor()).collect();
            numbers.extend([curve.messages_at(begin as f64), end].iter().flat_map(|at| [at.floor(), at.floor() + 1.0]));
            numbers.sort_by(f64::total_cmp);
            numbers.dedup();
            for pair in numbers.windows(2) {
                let [first, second] = [pair[0], pair[1]].map(|number| curve.nanos_at(number));
                let fastest = f64::from(from.max(to)) / 1e9;
                prop_assert!(second - first >= (pair[1] - pair[0]) / fastest * (1.0 - 1e-6) - 0.1, "{pair:?}: {first}, {second}");
            }
        }
    }

    #[test]
    fn equal_rates_are_constant() {
        let curve = RateCurve::ramp(30.0, 30.0, Duration::from_secs(1), Duration::from_secs(2));
        assert!(matches!(curve, RateCurve::Constant { .. }), "{curve:?}");
    }
}
