//! Quantities as text: parses "64KiB", "10s" and "5k/s", and formats numbers for people.
//!
//! Parsing is exact: sizes and durations never pass through floating point. A text that is not a whole number of bytes
//! or nanoseconds is refused, never rounded. Formatting rounds.
//! This module must never read a clock, an option or the environment, and must never panic, whatever the text or
//! number.
//!
//! The parsers have the signature that `clap` expects: `#[arg(value_parser = parse_duration)]`.

mod date_formats;
mod decimal;
mod error;
mod format;
mod parse;
mod saturating_time;

pub use date_formats::{
    format_day_and_time, format_daytime, format_http_date, format_rfc3339, format_time_of_day, parse_instant,
    parse_rfc3339, seconds_since_1900,
};
pub use error::{Problem, Quantity, UnitError};
pub use format::{format_count, format_counted, format_duration, format_rate, format_size};
pub use parse::{RateRange, parse_count, parse_duration, parse_rate, parse_rate_range, parse_size};
pub use saturating_time::{later, nanos};

#[cfg(test)]
mod tests;
