//! Formatter output, above all at the boundaries between units.

use std::time::Duration;

use super::KIB;
use crate::units::*;

#[test]
fn sizes_are_shown() {
    for (bytes, text) in [
        (0, "0 B"),
        (22, "22 B"),
        (1023, "1023 B"),
        (64 * KIB, "64 KiB"),
        (1127, "1.1 KiB"),
        (KIB * KIB - 1, "1 MiB"),
        (3 * KIB * KIB / 2, "1.5 MiB"),
        (5 * KIB * KIB * KIB, "5 GiB"),
        (u64::MAX, "16777216 TiB"),
    ] {
        assert_eq!(format_size(bytes), text);
    }
}

#[test]
fn durations_are_shown() {
    for (nanos, text) in [
        (0, "0 s"),
        (7, "7 ns"),
        (999, "999 ns"),
        (1_000, "1.00 µs"),
        (61_240, "61.2 µs"),
        (999_499, "999 µs"),
        (999_500, "1.00 ms"),
        (1_400_000, "1.40 ms"),
        (9_996_000, "10.0 ms"),
        (10_000_000_000, "10.0 s"),
        (59_949_000_000, "59.9 s"),
        (59_950_000_000, "1 m"),
        (125_400_000_000, "2 m 5 s"),
        (3_599_600_000_000, "1 h"),
        (12_000_000_000_000, "3 h 20 m"),
    ] {
        assert_eq!(format_duration(Duration::from_nanos(nanos)), text);
    }
    assert_eq!(format_duration(Duration::MAX), "5124095576030431 h");
}

#[test]
fn counts_and_rates_are_shown() {
    for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(format_count(count), text);
    }
    assert_eq!(format_count(u64::MAX), "18,446,744,073,709,551,615");
    for (rate, text) in [
        (0.0, "0 /s"),
        (1e-300, "1.00e-300 /s"),
        (1e-9, "0.00000000100 /s"),
        (0.000_123_4, "0.000123 /s"),
        (0.05, "0.0500 /s"),
        (0.099_96, "0.100 /s"),
        (0.5, "0.500 /s"),
        (0.9996, "1.00 /s"),
        (950.0, "950 /s"),
        (999.7, "1.00 k/s"),
        (218_049.3, "218 k/s"),
        (1_250_000.0, "1.25 M/s"),
        (1e300, "1.00e300 /s"),
        (-5.0, "-5 /s"),
        (f64::INFINITY, "inf /s"),
        (f64::NAN, "NaN /s"),
    ] {
        assert_eq!(format_rate(rate), text);
    }
}

#[test]
fn counted_nouns_have_a_plural() {
    let texts = [0, 1, 1000].map(|count| format_counted(count, "connection"));
    assert_eq!(texts, ["0 connections", "1 connection", "1,000 connections"]);
}
