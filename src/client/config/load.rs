//! Load configuration: rate, arrivals, duration, warm-up, reconnects.

use crate::client::arrivals::Arrivals;
use crate::client::rate_curve::RateCurve;
use crate::error::Error;
use crate::event_loop::unix_time;
use crate::results::Timestamp;
use crate::units::format_duration;
use std::time::Duration;

/// Maximum rate of messages and of connects, per second: more than any machine achieves.
pub(in crate::client) const MAX_PER_SECOND: f64 = 100e6;

/// Time between the last connection being open and the start of an open loop. Clearing the metrics takes about 3 ms
/// without optimization, and waking another worker on a busy machine a few more; the first messages would be late by
/// that.
const START_DELAY: Duration = Duration::from_millis(20);

/// How far ahead the instant is that an error names as an example.
const EXAMPLE_DELAY: Duration = Duration::from_secs(60);

/// Load configuration.
///
/// Without a rate the loop is closed: a connection sends its next message when a reply arrives. With a rate the loop is
/// open: messages are due at instants fixed beforehand, however slow the server is, and response times count from these
/// instants.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct LoadConfig {
    /// Messages due per second, over all connections and workers. Default: none, a closed loop.
    pub rate: Option<f64>,
    /// Rate at the end of the duration, to which the rate changes linearly; above or below it. It needs a duration.
    /// Default: none, a constant rate.
    pub ramp_to: Option<f64>,
    /// Distribution of the times between messages. Default: uniform.
    pub arrivals: Arrivals,
    /// Seed of everything random: Poisson arrival times and message bytes. Default: 0.
    pub seed: u64,
    /// How long messages are sent, after the warm-up. Default: until each connection has sent its messages.
    pub duration: Option<Duration>,
    /// Initial time whose messages are sent and verified, but not measured. Default: none.
    pub warm_up: Duration,
    /// When the load begins, by the clock of this machine. Connections are opened at once; if one is not open by then,
    /// the run ends and nothing is sent. It holds without a rate and a duration, too. Default: as soon as every connection
    /// was opened or has failed.
    pub start_at: Option<Timestamp>,
    /// Number of messages after which a connection is closed and replaced by a new one. Default: never.
    pub reconnect_every: Option<u64>,
}

impl LoadConfig {
    /// Whether the load begins at one instant for all connections, after all were opened or have failed.
    pub(in crate::client) fn has_common_start(&self) -> bool {
        self.rate.is_some() || self.duration.is_some() || self.start_at.is_some()
    }

    /// When messages are due in an open loop. The warm-up runs at the rate with which a ramp begins.
    pub(in crate::client) fn rate_curve(&self) -> Option<RateCurve> {
        Some(match self.ramp_to.zip(self.duration) {
            Some((to, duration)) => RateCurve::ramp(self.rate?, to, self.warm_up, duration),
            None => self.rate?.into(),
        })
    }

    /// How long before the start of the load the workers prepare for it.
    pub(in crate::client) fn preparation(&self) -> Duration {
        self.rate.map_or(Duration::ZERO, |_| START_DELAY)
    }

    /// Checks that the load is possible.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if it is not.
    pub(in crate::client) fn check(&self) -> Result<(), Error> {
        let refuse = |settings, problem: &str| Err(Error::config(settings, problem));
        let is_refused = |rate: Option<f64>| rate.is_some_and(|rate| !(rate > 0.0 && rate <= MAX_PER_SECOND));
        if is_refused(self.rate) || is_refused(self.ramp_to) {
            let problem = "a rate is a number of messages per second above 0 and up to 100M; give one such as 50k";
            return refuse(if is_refused(self.rate) { &["load.rate"] } else { &["load.ramp_to"] }, problem);
        }
        if self.ramp_to.is_some() && self.rate.is_none() {
            return refuse(&["load.rate", "load.ramp_to"], "a ramp begins with a rate; give one, such as 10k");
        }
        if self.rate.is_none() && self.arrivals != Arrivals::Uniform {
            return refuse(&["load.rate", "load.arrivals"], "arrivals follow a rate; give one, such as 50k");
        }
        if self.ramp_to.is_some() && self.duration.is_none() {
            let problem = "a rate changes over a duration; give one, such as 10s";
            return refuse(&["load.ramp_to", "load.duration"], problem);
        }
        if self.duration.is_some_and(|duration| duration.is_zero()) {
            return refuse(&["load.duration"], "a load of no duration sends nothing; give more, such as 10s");
        }
        if !self.warm_up.is_zero() && self.duration.is_none() {
            return refuse(
                &["load.warm_up", "load.duration"],
                "a warm-up comes before a duration; give one, such as 10s",
            );
        }
        if let Some(start_at) = self.start_at {
            let now = unix_time();
            if let Some(ago) = now.checked_sub(start_at.since_1970()) {
                let example = Timestamp::after_1970(now + EXAMPLE_DELAY);
                let problem = format!(
                    "the load had to begin at {start_at}, {} ago; give a later instant such as {example}",
                    format_duration(ago)
                );
                return Err(Error::config(&["load.start_at"], problem));
            }
        }
        if self.reconnect_every == Some(0) {
            let problem = "a connection for 0 messages sends nothing; give 1 or more, such as 1";
            return refuse(&["load.reconnect_every"], problem);
        }
        Ok(())
    }
}
