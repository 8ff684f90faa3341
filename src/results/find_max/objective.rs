//! Objective of a search: a percentile of the response time and its limit, such as `p99<1ms`.

use crate::results::Threshold;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Valid objectives, for the end of an error message.
const EXAMPLES: &str = "p99<1ms or p99.9<5ms";

/// What has to hold at a rate. `p99<1ms` means: of all messages due, at most 1 % took 1 ms or longer or were not
/// answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    quantile: f64,
    limit: Duration,
    text: String,
}

/// An invalid objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{input:?} is not an objective: {problem}; give one like {EXAMPLES}")]
pub struct ObjectiveError {
    /// The text as given.
    pub input: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Objective {
    /// The share of messages, from 0 to 1, that must be answered within the limit.
    #[must_use]
    pub fn quantile(&self) -> f64 {
        self.quantile
    }

    /// The share of messages that may exceed the limit.
    #[must_use]
    pub fn allowed(&self) -> f64 {
        1.0 - self.quantile
    }

    /// The limit of the response time. A message that takes exactly this long exceeds it.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// The name of the percentile, such as `p99`.
    #[must_use]
    pub fn percentile(&self) -> &str {
        self.text.split('<').next().unwrap_or_default().trim_end()
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, ObjectiveError> {
        let refuse = |problem: &str| ObjectiveError { input: text.to_owned(), problem: problem.to_owned() };
        let threshold: Threshold = text.parse().map_err(|_| refuse("it is not a percentile, < and a duration"))?;
        let (quantile, limit) = threshold
            .upper_limit()
            .ok_or_else(|| refuse("it has to say below which time (<) a percentile of the response time stays"))?;
        if limit.is_zero() {
            return Err(refuse("nothing is answered in less than 0"));
        }
        if quantile >= 1.0 {
            return Err(refuse("no number of messages shows that none takes longer"));
        }
        Ok(Self { quantile, limit, text: threshold.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::Objective;
    use std::time::Duration;

    #[test]
    fn percentiles_with_an_upper_limit_are_objectives() {
        let objective: Objective = "p99.9 < 5ms".parse().expect("an objective");
        assert!((objective.quantile() - 0.999).abs() < 1e-12 && (objective.allowed() - 0.001).abs() < 1e-12);
        assert_eq!((objective.limit(), objective.percentile()), (Duration::from_millis(5), "p99.9"));
        assert_eq!(objective.to_string(), "p99.9<5ms");
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in [
            "",
            "p99",
            "p99>1ms",
            "p99<=1ms",
            "max<1ms",
            "mean<1ms",
            "rate<5k",
            "errors<1",
            "connect.p99<1ms",
            "p99<0ms",
            "p99<5",
        ] {
            let error = text.parse::<Objective>().expect_err("no objective").to_string();
            assert!(error.starts_with(&format!("{text:?} is not an objective: ")), "{error}");
            assert!(error.ends_with("give one like p99<1ms or p99.9<5ms"), "{error}");
        }
    }
}
