//! What kind of load a client puts on a server: until when, how fast, and on what connections.

use super::arrivals::Arrivals;
use crate::error::Error;
use std::time::{Duration, Instant};

/// More messages, or connects, than any machine begins in a second.
pub(super) const MOST_PER_SECOND: f64 = 100e6;

/// How long the workers have to make ready for a load that follows the clock, once every connection is there. Clearing the
/// books takes some 3 ms without optimization, and waking another worker on a busy machine a few more; what is due at the
/// beginning would be late by that.
const LEAD: Duration = Duration::from_millis(20);

/// When messages are sent.
///
/// Without a rate the loop is closed: the next message of a connection goes out when an answer has come in. With one it
/// is open: messages are due at instants that are known beforehand, however slow the server is, and latencies count
/// from there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoadConfig {
    /// How many messages are due per second, over all connections and workers. Default: as many as are answered.
    pub rate: Option<f64>,
    /// How they follow each other. Default: evenly.
    pub arrivals: Arrivals,
    /// Where everything random begins: the times of a Poisson process, and the bytes of messages. Default: 0.
    pub seed: u64,
    /// Messages are sent for this long, after the warm-up. Default: until each connection has sent its own.
    pub duration: Option<Duration>,
    /// What was due in this time at the beginning is sent and checked, and not measured. Default: none.
    pub warm_up: Duration,
    /// After so many messages a connection is closed and opened anew. Default: never.
    pub reconnect_every: Option<u64>,
}

impl LoadConfig {
    /// Whether connections wait for each other, so that there is one instant at which the load begins.
    pub(super) fn begins_together(&self) -> bool {
        self.rate.is_some() || self.duration.is_some()
    }

    /// When the load begins whose connections, or sockets, were all there at `now`.
    pub(super) fn begin_after(&self, now: Instant) -> Instant {
        now + self.rate.map_or(Duration::ZERO, |_| LEAD)
    }

    /// # Errors
    ///
    /// [`Error::Usage`] for a load that can never be put on anything.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::Usage(text.to_owned()));
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate <= MOST_PER_SECOND)) {
            return refuse(
                "a rate is a number of messages per second above 0 and up to 100M; give one such as --rate 50k",
            );
        }
        if self.rate.is_none() && self.arrivals != Arrivals::Uniform {
            return refuse("arrivals follow a rate; give one, such as --rate 50k --arrivals poisson");
        }
        if self.duration.is_some_and(|duration| duration.is_zero()) {
            return refuse("a load of no duration sends nothing; give more, such as --duration 10s");
        }
        if !self.warm_up.is_zero() && self.duration.is_none() {
            return refuse("a warm-up comes before a duration; give one, such as --warm-up 1s --duration 10s");
        }
        if self.reconnect_every == Some(0) {
            return refuse("a connection for 0 messages sends nothing; give 1 or more, such as --reconnect-every 1");
        }
        Ok(())
    }
}
