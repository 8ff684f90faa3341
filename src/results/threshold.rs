//! Thresholds on a run's results for scripts: `p99>2ms`, `errors>0`, `rate<49k`.

use super::latencies::MAX_NANOS;
use super::{Latencies, ReplyCheck, RunResults, Statuses, format_latency};
use crate::units::{format_count, format_duration, format_rate, parse_duration, parse_rate};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Valid thresholds, for the end of an error message.
const EXAMPLES: &str = "p99>2ms, service.p99.9>5ms, errors>0 or rate<49k";

/// The operators. Longer ones come first, because `>=` begins with `>`.
const OPERATORS: [(&str, Operator); 5] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("==", Operator::Equal),
    (">", Operator::Above),
    ("<", Operator::Below),
];

/// A metric, an operator and a bound. The run fails if the comparison holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    metric: Metric,
    operator: Operator,
    /// In nanoseconds, per second, or a count, depending on the metric.
    bound: f64,
    name: String,
    typed_bound: String,
}

/// Result of checking a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The threshold was not crossed.
    Passed,
    /// The threshold was crossed.
    Crossed,
    /// The metric was not measured, or the run was interrupted. This counts as a failure.
    Unknown,
}

/// A verdict with its text and mark: `✗ p99 is 3.10 ms, which is > 2.00 ms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThresholdResult {
    /// Whether the threshold was crossed.
    pub verdict: Verdict,
    text: String,
}

impl ThresholdResult {
    /// What was measured, without the mark: `p99 is 3.10 ms, which is > 2.00 ms`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// An invalid threshold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{input:?} is not a threshold: {problem}; give one like {EXAMPLES}")]
pub struct ThresholdError {
    /// The text as given.
    pub input: String,
    /// What is wrong with it.
    pub problem: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Metric {
    Time(LatencyKind, Statistic),
    Count(Count),
    Rate,
}

/// The histogram of a latency metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LatencyKind {
    /// The reported latency: see [`RunResults::latency`].
    Latency,
    ServiceTime,
    ClientDelay,
    Ceiling,
    Floor,
    Connect,
    Handshake,
    SendDelay,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Statistic {
    Quantile(f64),
    Mean,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Errors,
    TimedOut,
    Unanswered,
    Mismatches,
    Invalid,
    /// HTTP responses of a class of statuses.
    Status(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Above,
    AtLeast,
    Below,
    AtMost,
    Equal,
}

impl Threshold {
    /// Checks the threshold against the results of a run.
    #[must_use]
    pub fn evaluate(&self, results: &RunResults) -> ThresholdResult {
        if results.interrupted {
            // A partial run may cross thresholds that a complete run would not.
            let text = format!("{self} was not evaluated: the run was interrupted");
            return ThresholdResult { verdict: Verdict::Unknown, text };
        }
        let Some(value) = self.metric.of(results) else {
            let is_unframed = results.reply_check == ReplyCheck::Unframed;
            let why = if is_unframed { ": the end of a reply is unknown" } else { "" };
            let text = format!("{} was not measured{why}", self.name);
            return ThresholdResult { verdict: Verdict::Unknown, text };
        };
        let is_crossed = self.operator.holds(value, self.bound);
        let (verdict, relation) = if is_crossed { (Verdict::Crossed, "which is") } else { (Verdict::Passed, "not") };
        let (operator, bound) = (self.operator.sign(), self.metric.show_bound(self.bound));
        let mark = if self.metric.is_bounded(results) { "!" } else { "" };
        let explanation = if is_crossed { self.lateness(results) } else { None };
        let (value, explanation) = (self.metric.show(value), explanation.unwrap_or_default());
        let text = format!("{} is {value}{mark}, {relation} {operator} {bound}{explanation}", self.name);
        ThresholdResult { verdict, text }
    }

    /// Why a latency may have crossed the threshold although the server is fast enough: its lower bound did not.
    fn lateness(&self, results: &RunResults) -> Option<String> {
        let Metric::Time(LatencyKind::Latency, statistic) = self.metric else { return None };
        let floor = statistic.of(results.floor()?)?;
        (!self.operator.holds(floor, self.bound)).then(|| {
            let (floor, what_helps) = (self.metric.show(floor), results.what_helps());
            format!("; it may be as low as {floor}: the client's own lateness could explain it{what_helps}")
        })
    }
}

impl Threshold {
    /// The quantile of the reported latency that stays below a limit, if that is what the expression says.
    pub(super) fn upper_limit(&self) -> Option<(f64, Duration)> {
        let Metric::Time(LatencyKind::Latency, Statistic::Quantile(quantile)) = self.metric else { return None };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a whole number")]
        let limit = Duration::from_nanos(self.bound as u64);
        (self.operator == Operator::Below).then_some((quantile, limit))
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}{}", self.name, self.operator.sign(), self.typed_bound)
    }
}

impl Verdict {
    /// The mark of the verdict in reports.
    fn mark(self) -> char {
        match self {
            Self::Passed => '✓',
            Self::Crossed => '✗',
            Self::Unknown => '?',
        }
    }
}

impl fmt::Display for ThresholdResult {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.verdict.mark(), self.text)
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        parse(text).map_err(|problem| ThresholdError { input: text.to_owned(), problem })
    }
}

#[allow(clippy::cast_precision_loss, reason = "below 2^53 it is exact: 104 days in nanoseconds")]
fn parse(text: &str) -> Result<Threshold, String> {
    let start = text.find(['>', '<', '=']).ok_or("it has no >, >=, <, <= or ==")?;
    let found = OPERATORS.iter().find(|(sign, _)| text[start..].starts_with(sign));
    let &(sign, operator) = found.ok_or("the operators are >, >=, <, <= and ==")?;
    let (name, typed_bound) = (text[..start].trim(), text[start + sign.len()..].trim());
    let metric = Metric::named(name).ok_or_else(|| {
        format!("{name:?} is none of p50, p99.9, max, mean (also service.p50, client.p50, ceiling.p50, floor.p50, connect.p50, handshake.p50, send_delay.p50), errors, timed_out, unanswered, mismatches, invalid, 1xx to 5xx, rate")
    })?;
    let bound = match metric {
        Metric::Time(..) => match parse_duration(typed_bound).map_err(|error| error.to_string())?.as_nanos() {
            // Times of an hour or more count as one hour.
            nanos if nanos > MAX_NANOS.into() => return Err("times above 1 h all count as 1 h".to_owned()),
            nanos => nanos as f64,
        },
        // "rate<=0" checks that any reply was received, although 0 is not a rate to request.
        Metric::Rate if typed_bound == "0" => 0.0,
        Metric::Rate => parse_rate(typed_bound).map_err(|error| error.to_string())?,
        Metric::Count(_) => {
            typed_bound.parse::<u64>().map_err(|_| format!("{typed_bound:?} is not a whole number"))? as f64
        }
    };
    Ok(Threshold { metric, operator, bound, name: name.to_owned(), typed_bound: typed_bound.to_owned() })
}

impl Metric {
    fn named(name: &str) -> Option<Self> {
        let (times, statistic) = match name.split_once('.') {
            // "send" and "lag" are the names of earlier versions.
            Some(("service" | "send", rest)) => (LatencyKind::ServiceTime, rest),
            Some(("client", rest)) => (LatencyKind::ClientDelay, rest),
            Some(("ceiling", rest)) => (LatencyKind::Ceiling, rest),
            Some(("floor", rest)) => (LatencyKind::Floor, rest),
            Some(("connect", rest)) => (LatencyKind::Connect, rest),
            Some(("handshake", rest)) => (LatencyKind::Handshake, rest),
            Some(("send_delay" | "lag", rest)) => (LatencyKind::SendDelay, rest),
            _ => (LatencyKind::Latency, name),
        };
        if let Some(statistic) = Statistic::named(statistic) {
            return Some(Self::Time(times, statistic));
        }
        match name {
            "errors" => Some(Self::Count(Count::Errors)),
            // "timeouts" and "lost" are the names of earlier versions.
            "timed_out" | "timeouts" => Some(Self::Count(Count::TimedOut)),
            "unanswered" | "lost" => Some(Self::Count(Count::Unanswered)),
            "mismatches" => Some(Self::Count(Count::Mismatches)),
            "invalid" => Some(Self::Count(Count::Invalid)),
            "rate" => Some(Self::Rate),
            _ => {
                let class = Statuses::default().named().into_iter().find(|(class, _)| *class == name);
                class.map(|(class, _)| Self::Count(Count::Status(class)))
            }
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "below 2^53 it is exact")]
    fn of(self, results: &RunResults) -> Option<f64> {
        let messages = &results.messages;
        match self {
            Self::Time(times, statistic) => statistic.of(times.of(results)?),
            Self::Count(Count::Mismatches) if !results.reply_check.has_counts() => None,
            Self::Count(count) => Some(match count {
                Count::Errors => results.error_count(),
                Count::TimedOut => messages.timed_out,
                Count::Unanswered => messages.unanswered(),
                Count::Mismatches => results.mismatches.count,
                Count::Invalid => u64::from(!results.valid),
                Count::Status(class) => results.statuses?.of_class(class)?,
            } as f64),
            Self::Rate => (results.reply_check != ReplyCheck::Unframed).then(|| results.rate()),
        }
    }

    /// Whether the lateness of the client may have raised it.
    fn is_bounded(self, results: &RunResults) -> bool {
        let Self::Time(LatencyKind::Latency, Statistic::Quantile(quantile)) = self else { return false };
        results.is_bounded(quantile)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they were whole numbers above 0")]
    fn show(self, value: f64) -> String {
        match self {
            Self::Time(..) => format_latency(Duration::from_nanos(value as u64)),
            Self::Count(_) => format_count(value as u64),
            Self::Rate => format_rate(value),
        }
    }

    /// Formats a bound as typed: here an hour means exactly one hour, not one or more.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they were whole numbers above 0")]
    fn show_bound(self, bound: f64) -> String {
        match self {
            Self::Time(..) => format_duration(Duration::from_nanos(bound as u64)),
            _ => self.show(bound),
        }
    }
}

impl LatencyKind {
    /// None if it is not known.
    fn of(self, results: &RunResults) -> Option<&Latencies> {
        let times = &results.histograms;
        Some(match self {
            Self::Latency => results.latency(),
            Self::ServiceTime => &times.service_time,
            Self::ClientDelay => &times.client_delay,
            Self::Ceiling => &times.ceiling,
            Self::Floor => results.floor()?,
            Self::Connect => &times.connect,
            Self::Handshake => &times.handshake,
            Self::SendDelay => &times.send_delay,
        })
    }
}

impl Statistic {
    /// In nanoseconds; none without times.
    #[allow(clippy::cast_precision_loss, reason = "below 2^53 it is exact")]
    fn of(self, times: &Latencies) -> Option<f64> {
        match self {
            Self::Quantile(quantile) => times.at(quantile).map(|time| time.as_nanos() as f64),
            Self::Mean => times.mean_ns(),
        }
    }

    /// `max`, `mean`, or `p` and a percentage above 0 and below 100.
    fn named(name: &str) -> Option<Self> {
        match name {
            "max" => return Some(Self::Quantile(1.0)),
            "mean" => return Some(Self::Mean),
            _ => {}
        }
        let digits = name.strip_prefix('p').filter(|digits| digits.bytes().all(|c| c.is_ascii_digit() || c == b'.'))?;
        let percent: f64 = digits.parse().ok()?;
        (percent > 0.0 && percent < 100.0).then_some(Self::Quantile(percent / 100.0))
    }
}

impl Operator {
    fn sign(self) -> &'static str {
        OPERATORS.iter().find(|(_, operator)| *operator == self).map_or("", |(sign, _)| sign)
    }

    #[allow(clippy::float_cmp, reason = "== is an exact comparison")]
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Above => value > bound,
            Self::AtLeast => value >= bound,
            Self::Below => value < bound,
            Self::AtMost => value <= bound,
            Self::Equal => value == bound,
        }
    }
}
