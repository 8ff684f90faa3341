//! Parses counts, sizes, durations and rates as users type them.
//!
//! Spaces around the text and between number and unit are allowed, so that formatted output can be typed back. Thousands
//! may be separated: `1_000` and `1,000` are 1000. The parsers must never guess: an unknown or missing unit is an error.

use std::time::Duration;

use super::decimal::Decimal;
use super::{Problem, Quantity, UnitError};

/// A size in bytes: `64`, `64B`, `64KiB`, `1.5MiB`, `10k`, `2GB`.
///
/// k, M, G and T are powers of 1000; Ki, Mi, Gi and Ti are powers of 1024. `K` means `k`, and a `B` may follow. A
/// fraction is allowed when the result is a whole number of bytes.
///
/// # Errors
///
/// The text has another form, is a fraction of a byte, or needs more than 64 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    size_bytes(text).map_err(|problem| UnitError::new(text, Quantity::Size, problem))
}

/// A duration: `100ns`, `250us` or `250µs`, `10ms`, `1.5s`, `1m30s`, `2h`, or `0`.
///
/// Units go from large to small, each at most once. The longest duration is `u64::MAX` nanoseconds, about 584 years:
/// adding it to an `Instant` cannot overflow.
///
/// # Errors
///
/// The text has another form, has a number other than 0 without a unit, is finer than a nanosecond, or longer than 584
/// years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    duration_nanos(text).map(Duration::from_nanos).map_err(|problem| UnitError::new(text, Quantity::Duration, problem))
}

/// A rate per second: `100`, `5k`, `5k/s`, `1.5M/s`; k, M, G and T are powers of 1000.
///
/// The result is finite and above 0, but may be so small that its inverse is no `Duration`: use
/// `Duration::try_from_secs_f64` for the interval.
///
/// # Errors
///
/// The text has another form (another period such as `/m` included), is 0, or is too large for a finite number.
pub fn parse_rate(text: &str) -> Result<f64, UnitError> {
    rate_per_second(text).map_err(|problem| UnitError::new(text, Quantity::Rate, problem))
}

/// One rate per second, or two that bound a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateRange {
    /// The only rate, or the first one.
    pub from: f64,
    /// The second rate, which may be below the first.
    pub to: Option<f64>,
}

/// A rate, or a range `FROM..TO` of two: `50k`, `10k..200k`, `1k/s..500/s`.
///
/// # Errors
///
/// The text has another form, or [`parse_rate`] refuses one of the rates. The error names the whole text.
pub fn parse_rate_range(text: &str) -> Result<RateRange, UnitError> {
    let (from, to) = text.split_once("..").map_or((text, None), |(from, to)| (from, Some(to)));
    let parsed =
        rate_per_second(from).and_then(|from| Ok(RateRange { from, to: to.map(rate_per_second).transpose()? }));
    parsed.map_err(|problem| UnitError::new(text, Quantity::RateRange, problem))
}

/// A count: `0`, `1000`, `1_000`, `1,000`, `10k`, `1.5M`; k, M, G and T are powers of 1000.
///
/// # Errors
///
/// The text has another form, is not a whole number, or needs more than 64 bits.
pub fn parse_count(text: &str) -> Result<u64, UnitError> {
    whole_number(text).map_err(|problem| UnitError::new(text, Quantity::Count, problem))
}

fn whole_number(text: &str) -> Result<u64, Problem> {
    let (number, prefix) = Decimal::split(text.trim()).ok_or(Problem::Malformed)?;
    let power = thousands(prefix.trim_start()).ok_or(Problem::Malformed)?;
    number.times(1000_u64.pow(power))
}

fn size_bytes(text: &str) -> Result<u64, Problem> {
    let (number, rest) = Decimal::split(text.trim()).ok_or(Problem::Malformed)?;
    let unit = rest.trim_start();
    let prefix = unit.strip_suffix('B').unwrap_or(unit);
    let (base, prefix) = match prefix.strip_suffix('i') {
        Some(binary) if !binary.is_empty() => (1024_u64, binary),
        _ => (1000, prefix),
    };
    let power = thousands(prefix).ok_or(Problem::Malformed)?;
    number.times(base.pow(power))
}

fn duration_nanos(text: &str) -> Result<u64, Problem> {
    let mut rest = text.trim();
    let mut total = 0_u64;
    let mut previous_unit = None;
    loop {
        let (number, after) = Decimal::split(rest).ok_or(Problem::Malformed)?;
        let (name, after) = split_letters(after.trim_start());
        if name.is_empty() {
            return match (after, previous_unit) {
                ("", None) if number.is_zero() => Ok(0),
                ("", _) => Err(Problem::NoUnit),
                _ => Err(Problem::Malformed),
            };
        }
        let unit = unit_nanos(name).ok_or(Problem::Malformed)?;
        if previous_unit.is_some_and(|previous| previous <= unit) {
            return Err(Problem::Malformed);
        }
        total = total.checked_add(number.times(unit)?).ok_or(Problem::TooLarge)?;
        previous_unit = Some(unit);
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

fn rate_per_second(text: &str) -> Result<f64, Problem> {
    let text = text.trim();
    let text = text.strip_suffix("/s").map_or(text, str::trim_end);
    let (number, prefix) = Decimal::split(text).ok_or(Problem::Malformed)?;
    let power = thousands(prefix.trim_start()).ok_or(Problem::Malformed)?;
    let rate = number.to_f64(3 * power).ok_or(Problem::Malformed)?;
    if rate == 0.0 {
        return Err(Problem::Zero);
    }
    if rate.is_finite() { Ok(rate) } else { Err(Problem::TooLarge) }
}

/// The power of 1000 of a prefix. Only k may be upper or lower case: `m` could mean milli, minute or mega.
fn thousands(prefix: &str) -> Option<u32> {
    match prefix {
        "" => Some(0),
        "k" | "K" => Some(1),
        "M" => Some(2),
        "G" => Some(3),
        "T" => Some(4),
        _ => None,
    }
}

fn unit_nanos(name: &str) -> Option<u64> {
    match name {
        "ns" => Some(1),
        // The micro sign, and the Greek letter that some keyboards give for it.
        "us" | "\u{b5}s" | "\u{3bc}s" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "m" => Some(60 * 1_000_000_000),
        "h" => Some(3_600 * 1_000_000_000),
        _ => None,
    }
}

fn split_letters(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_alphabetic());
    text.split_at(end.unwrap_or(text.len()))
}
