//! How fast messages are sent, and until when.

use crate::cli::values;
use crate::client::{Arrivals, LoadConfig};
use crate::units::{parse_duration, parse_rate};
use clap::{Args, ValueEnum};
use std::time::Duration;

/// What kind of load to put on.
#[derive(Debug, Args)]
pub(super) struct LoadOptions {
    /// Send messages for this long, from when all connections are open.
    #[arg(short, long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "stdin", help_heading = "Load")]
    duration: Option<Duration>,
    /// Send so many messages per second in all, however slow the server is (open loop), such as 50k; 100M at most. Default:
    /// each connection sends the next message when it was answered.
    #[arg(short, long, value_name = "RATE", value_parser = parse_rate, conflicts_with = "stdin",
        allow_negative_numbers = true, help_heading = "Load")]
    rate: Option<f64>,
    /// Send them evenly, or at random as independent users do.
    #[arg(long, value_name = "uniform|poisson", value_enum, default_value_t = ArrivalsName::Uniform,
        conflicts_with = "stdin", hide_possible_values = true, help_heading = "Load")]
    arrivals: ArrivalsName,
    /// Do not measure what is due in this time at the beginning; it comes before --duration.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration, conflicts_with = "stdin", help_heading = "Load")]
    warm_up: Duration,
    /// Close each connection after N messages, and open another one; 1 is a connection for each message.
    #[arg(long, value_name = "N", value_parser = values::count, allow_negative_numbers = true, conflicts_with_all =
        ["stdin", "udp"], help_heading = "Load")]
    reconnect_every: Option<usize>,
    /// Where chance begins: the same seed gives the same times, and the same bytes.
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
    pub(super) fn load(&self) -> LoadConfig {
        LoadConfig {
            rate: self.rate,
            arrivals: match self.arrivals {
                ArrivalsName::Uniform => Arrivals::Uniform,
                ArrivalsName::Poisson => Arrivals::Poisson,
            },
            seed: self.seed,
            duration: self.duration,
            warm_up: self.warm_up,
            reconnect_every: self.reconnect_every.map(|count| count as u64),
        }
    }
}
