//! Quantities and dates: what was parsed is formatted and parsed again as the same value.

use super::{Choices, Memory, Target};
use crate::units::{
    format_count, format_duration, format_http_date, format_rate, format_rfc3339, format_size, parse_count,
    parse_duration, parse_instant, parse_rate, parse_rate_range, parse_rfc3339, parse_size,
};
use std::time::Duration;

const MEMORY: Memory = Memory { fixed: 64 * 1024, per_byte: 64 };

/// The largest relative error of a number with three significant digits.
const ROUNDING: f64 = 0.006;

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

#[test]
fn units_text() {
    Target {
        name: "units_text",
        memory: MEMORY,
        check: |input| {
            if let Ok(text) = str::from_utf8(input) {
                check_text(text);
            }
        },
    }
    .fuzz();
}

#[test]
fn units_numbers() {
    Target {
        name: "units_numbers",
        memory: MEMORY,
        check: |input| {
            let mut choices = Choices(input);
            let number = (0..8).fold(0, |number: u64, _| number << 8 | u64::from(choices.byte()));
            check_size(number >> (choices.byte() % 64));
            check_duration(Duration::from_nanos(number));
            check_count(number);
            check_rate(f64::from_bits(number));
            check_date(number % (LAST_SECOND * 1000));
        },
    }
    .fuzz();
}

fn check_text(text: &str) {
    let errors = [
        parse_size(text).map(check_size).err(),
        parse_duration(text).map(check_duration).err(),
        parse_count(text).map(check_count).err(),
        parse_rate(text).map(check_rate).err(),
        parse_rate_range(text)
            .map(|range| {
                check_rate(range.from);
                range.to.into_iter().for_each(check_rate);
            })
            .err(),
    ];
    for error in errors.into_iter().flatten() {
        let error = error.to_string();
        assert!(error.len() < 1024 + 10 * text.len() && !error.contains('\n'), "{error}");
    }
    let dates = [parse_rfc3339(text), parse_instant(text)];
    dates.into_iter().flatten().for_each(check_date);
}

fn check_size(bytes: u64) {
    assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
    assert_eq!(parse_size(&format!("{bytes}B")), Ok(bytes));
    let text = format_size(bytes);
    // A rounded size need not be a whole number of bytes.
    if let Ok(again) = parse_size(&text) {
        expect_near(to_f64(again), to_f64(bytes), 0.06, &text);
    }
}

fn check_duration(duration: Duration) {
    let nanos = duration.as_nanos();
    assert_eq!(parse_duration(&format!("{nanos}ns")), Ok(duration));
    let text = format_duration(duration);
    // Rounding up may exceed the longest duration.
    if nanos < u64::MAX.into() && duration < Duration::from_secs(5_000_000 * 3600) {
        let again = parse_duration(&text).unwrap_or_else(|error| panic!("{duration:?}: {error}"));
        let rounding = if duration.as_secs() < 60 { ROUNDING } else { 0.0 };
        // Pairs are rounded to seconds, or to minutes.
        let unit = if duration.as_secs() < 60 {
            0
        } else if duration.as_secs() < 3599 {
            1
        } else {
            31
        };
        let difference = again.abs_diff(duration).as_secs_f64();
        assert!(difference <= duration.as_secs_f64() * rounding + f64::from(unit), "{duration:?} is {text}");
    }
}

fn check_count(count: u64) {
    assert_eq!(parse_count(&count.to_string()), Ok(count));
    assert_eq!(parse_count(&format_count(count)), Ok(count));
}

fn check_rate(rate: f64) {
    let text = format_rate(rate);
    assert!(text.ends_with("/s") && text.len() < 400, "{text}");
    // Rates with an exponent are not for typing.
    if rate.is_finite() && (1e-8..9e14).contains(&rate) {
        let again = parse_rate(&text).unwrap_or_else(|error| panic!("{rate}: {error}"));
        expect_near(again, rate, ROUNDING, &text);
        // 17 digits are exact.
        assert_eq!(parse_rate(&format!("{rate}")).map(f64::to_bits), Ok(rate.to_bits()));
    }
}

fn check_date(unix_ms: u64) {
    let text = format_rfc3339(unix_ms);
    if unix_ms / 1000 <= LAST_SECOND {
        assert_eq!(parse_rfc3339(&text), Some(unix_ms), "{text}");
        assert_eq!(parse_instant(&text), Some(unix_ms), "{text}");
        assert_eq!(format_http_date(unix_ms / 1000).len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
    }
}

fn expect_near(value: f64, expected: f64, tolerance: f64, text: &str) {
    assert!((value - expected).abs() <= expected * tolerance, "{expected} is {text}");
}

#[allow(clippy::cast_precision_loss, reason = "compared with a tolerance")]
fn to_f64(number: u64) -> f64 {
    number as f64
}
