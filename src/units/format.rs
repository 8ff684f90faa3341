//! Formats sizes, durations, counts and rates for people.
//!
//! The text is rounded; it must never be parsed back for computing. The parsers accept durations, rates and sizes of
//! whole bytes from here, so that a number copied from a report works as an option.

use std::time::Duration;

/// Rates below this, less than one event in thirty years, are shown with an exponent.
const SMALLEST_DECIMAL_RATE: f64 = 1e-9;

/// Bytes in binary units with at most one decimal: `22 B`, `64 KiB`, `1.5 MiB`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let in_tenths = |unit_bytes| round_div(u128::from(bytes) * 10, unit_bytes);
    let (mut unit_bytes, mut unit) = (1024, "KiB");
    for larger in ["MiB", "GiB", "TiB"] {
        // Compared after rounding, so that one byte short of 1 MiB is not 1024 KiB.
        if in_tenths(unit_bytes) < 10_240 {
            break;
        }
        (unit_bytes, unit) = (unit_bytes * 1024, larger);
    }
    match (in_tenths(unit_bytes) / 10, in_tenths(unit_bytes) % 10) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

/// A duration with three significant digits: `250 ns`, `61.2 µs`, `1.40 ms`, `10.0 s`. From one minute on it is shown
/// as `2 m 5 s`, from one hour on as `3 h 20 m`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let seconds = duration.as_secs_f64();
    if nanos == 0 {
        return "0 s".to_owned();
    }
    if nanos < 1_000 {
        return format!("{nanos} ns");
    }
    if let Some(digits) = three_digits(seconds * 1e6) {
        return format!("{digits} µs");
    }
    if let Some(digits) = three_digits(seconds * 1e3) {
        return format!("{digits} ms");
    }
    if let Some(digits) = three_digits(seconds).filter(|_| seconds < 59.95) {
        return format!("{digits} s");
    }
    let whole_seconds = round_div(nanos, 1_000_000_000);
    if whole_seconds < 3_600 {
        return pair(whole_seconds, "m", "s");
    }
    pair(round_div(nanos, 60 * 1_000_000_000), "h", "m")
}

/// A count with thousands separated: `1,234,567`.
#[must_use]
pub fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 connection`, `1,000 connections`. Only for nouns whose plural ends in s.
#[must_use]
pub fn format_counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", format_count(count))
}

/// A rate per second with three significant digits: `950 /s`, `218 k/s`, `1.25 M/s`.
///
/// Rates below 1 get as many decimals as needed (`0.500 /s`, `0.000123 /s`), rates below 10^-9 an exponent. An invalid
/// rate (negative, infinite, not a number) is shown as it is rather than hidden.
#[must_use]
pub fn format_rate(per_second: f64) -> String {
    if per_second == 0.0 {
        return "0 /s".to_owned();
    }
    if per_second.is_nan() || per_second < 0.0 {
        return format!("{per_second} /s");
    }
    if per_second < SMALLEST_DECIMAL_RATE {
        return format!("{per_second:.2e} /s");
    }
    if per_second < 0.9995 {
        let mut decimals = 3;
        while per_second * 10_f64.powi(decimals) < 99.95 {
            decimals += 1;
        }
        return format!("{per_second:.*} /s", usize::try_from(decimals).unwrap_or(3));
    }
    let mut scaled = per_second;
    for prefix in ["", "k", "M", "G", "T"] {
        if let Some(digits) = three_digits(scaled) {
            return format!("{digits} {prefix}/s");
        }
        scaled /= 1e3;
    }
    format!("{per_second:.2e} /s")
}

/// `value` with three significant digits, or `None` when it rounds to 1000 or more. Each bound is where one more
/// decimal would round up to a fourth digit. `value` must be about 1 or more.
fn three_digits(value: f64) -> Option<String> {
    let bounds = [(9.995, 2), (99.95, 1), (999.5, 0)];
    let (_, decimals) = bounds.into_iter().find(|&(bound, _)| value < bound)?;
    Some(format!("{value:.decimals$}"))
}

/// Minutes and seconds, or hours and minutes; the smaller unit is left out when it is 0.
fn pair(count: u128, large: &str, small: &str) -> String {
    match (count / 60, count % 60) {
        (whole, 0) => format!("{whole} {large}"),
        (whole, rest) => format!("{whole} {large} {rest} {small}"),
    }
}

fn round_div(value: u128, by: u128) -> u128 {
    (value + by / 2) / by
}
