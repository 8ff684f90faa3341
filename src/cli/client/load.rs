//! Load options of the client: rate, duration, arrivals.

use crate::cli::values;
use crate::client::{Arrivals, LoadConfig};
use crate::units::{RateRange, parse_duration, parse_rate_range};
use clap::{Args, ValueEnum};
use std::time::Duration;

/// Load options.
#[derive(Debug, Args)]
pub(super) struct LoadOptions {
    /// Send messages for this long after all connections are open.
    #[arg(short, long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "stdin", help_heading = "Load")]
    duration: Option<Duration>,
    /// Send this many messages per second in total (open loop), such as 50k; at most 100M. FROM..TO, such as 10k..200k,
    /// changes the rate linearly over --duration. The rate does not depend on the server's speed. Default: a closed loop,
    /// where each connection sends its next message after a reply.
    #[arg(short, long, value_name = "RATE|FROM..TO", value_parser = parse_rate_range, conflicts_with = "stdin",
        allow_negative_numbers = true, help_heading = "Load")]
    rate: Option<RateRange>,
    /// Spacing of messages: even, or random as from independent users.
    #[arg(long, value_name = "uniform|poisson", value_enum, default_value_t = ArrivalsName::Uniform,
        conflicts_with = "stdin", hide_possible_values = true, help_heading = "Load")]
    arrivals: ArrivalsName,
    /// Run the load this long before measuring; added to --duration.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration, conflicts_with = "stdin", help_heading = "Load")]
    warm_up: Duration,
    /// Close each connection after N messages and open a new one; 1 opens a connection per message.
    #[arg(long, value_name = "N", value_parser = values::count, allow_negative_numbers = true, conflicts_with_all =
        ["stdin", "udp"], help_heading = "Load")]
    reconnect_every: Option<usize>,
    /// Seed for arrival times and payloads; equal seeds repeat a run.
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::seed, allow_negative_numbers = true,
        conflicts_with = "stdin", help_heading = "Load")]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ArrivalsName {
    Uniform,
    Poisson,
}

impl LoadOptions {
    /// The rate, or the bounds of rates.
    pub(super) fn rate(&self) -> Option<RateRange> {
        self.rate
    }

    pub(super) fn load(&self) -> LoadConfig {
        LoadConfig {
            rate: self.rate.map(|rate| rate.from),
            ramp_to: self.rate.and_then(|rate| rate.to),
            arrivals: match self.arrivals {
                ArrivalsName::Uniform => Arrivals::Uniform,
                ArrivalsName::Poisson => Arrivals::Poisson,
            },
            seed: self.seed,
            duration: self.duration,
            warm_up: self.warm_up,
            start_at: None,
            reconnect_every: self.reconnect_every.map(|count| count as u64),
        }
    }
}
