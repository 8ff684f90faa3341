//! Accepted texts, refused texts, and the error messages.

use std::time::Duration;

use super::KIB;
use crate::units::*;

#[test]
fn sizes_are_parsed() {
    for (text, bytes) in [
        ("0", 0),
        ("64", 64),
        ("64B", 64),
        ("64KiB", 64 * KIB),
        ("64kiB", 64 * KIB),
        ("64Ki", 64 * KIB),
        ("1MiB", KIB * KIB),
        ("1.5MiB", 3 * KIB * KIB / 2),
        ("10k", 10_000),
        ("10K", 10_000),
        ("1_000", 1_000),
        ("1_0_00KiB", 1_000 * KIB),
        ("1,234,567.5k", 1_234_567_500),
        ("64KB", 64_000),
        ("1M", 1_000_000),
        ("2G", 2_000_000_000),
        ("2GiB", 2 * KIB * KIB * KIB),
        ("3TB", 3_000_000_000_000),
        (" 1.50 k ", 1_500),
        ("7.000B", 7),
        // 2^-30 GiB and 2^-40 TiB: one byte, exactly.
        ("15.000000000931322574615478515625GiB", 15 * KIB * KIB * KIB + 1),
        ("0.0000000000009094947017729282379150390625TiB", 1),
        ("18446744073709551615", u64::MAX),
        ("18446744073709551.615k", u64::MAX),
    ] {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
}

#[test]
fn bad_sizes_are_refused() {
    for text in [
        "",
        " ",
        "B",
        "KiB",
        "-1",
        "+1",
        "1.",
        ".5k",
        "1e3",
        "1_",
        "_1",
        "1__0",
        "1,00",
        "1000,000",
        ",1",
        "1,000_000",
        "0x10",
    ] {
        assert_eq!(parse_size(text).unwrap_err().problem, Problem::Malformed, "{text}");
    }
    for text in ["1m", "1g", "1i", "1iB", "1kb", "1KiBB", "1KBi", "1k k", "1k2", "1 parsec"] {
        assert_eq!(parse_size(text).unwrap_err().problem, Problem::Malformed, "{text}");
    }
    for text in ["1.5", "1.1KiB", "0.0001k", "0.0000000000001TiB"] {
        assert_eq!(parse_size(text).unwrap_err().problem, Problem::TooFine, "{text}");
    }
    for text in ["18446744073709551616", "18446744073709551.616k", "17179869184GiB"] {
        assert_eq!(parse_size(text).unwrap_err().problem, Problem::TooLarge, "{text}");
    }
}

#[test]
fn counts_are_parsed_and_refused() {
    for (text, count) in
        [("0", 0), ("1000", 1000), ("1_000", 1000), ("1,000,000", 1_000_000), ("10k", 10_000), (" 1.5 M ", 1_500_000)]
    {
        assert_eq!(parse_count(text), Ok(count), "{text}");
    }
    for text in ["", "many", "-5", "+5", "1Ki", "5B", "1_", "1,5", "10,00", "1e3"] {
        assert_eq!(parse_count(text).unwrap_err().problem, Problem::Malformed, "{text}");
    }
    let error = parse_count("1.5").unwrap_err();
    assert_eq!(error.to_string(), r#""1.5" is not a whole number; give one like 1000, 1_000 or 10k"#);
    assert_eq!(parse_count("18446744073709551616").unwrap_err().problem, Problem::TooLarge);
}

#[test]
fn durations_are_parsed() {
    for (text, nanos) in [
        ("0", 0),
        ("0.0", 0),
        ("0s", 0),
        ("100ns", 100),
        ("250us", 250_000),
        ("250\u{b5}s", 250_000),
        ("250\u{3bc}s", 250_000),
        ("10ms", 10_000_000),
        ("1.5s", 1_500_000_000),
        ("0.000000001s", 1),
        ("1m30s", 90_000_000_000),
        ("1 m 30 s", 90_000_000_000),
        ("2h", 7_200_000_000_000),
        ("1h0m0.5s", 3_600_500_000_000),
        ("1_000ms", 1_000_000_000),
        ("90m", 5_400_000_000_000),
        ("18446744073709551615ns", u64::MAX),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
    }
}

#[test]
fn bad_durations_are_refused() {
    for text in ["", "s", "-1s", "1.s", "5 parsecs", "1S", "30s1m", "1s1s", "1s,", "1.2.3s", "1d"] {
        assert_eq!(parse_duration(text).unwrap_err().problem, Problem::Malformed, "{text}");
    }
    for text in ["5", "1.5", "1m30", "1m0"] {
        assert_eq!(parse_duration(text).unwrap_err().problem, Problem::NoUnit, "{text}");
    }
    for text in ["0.5ns", "1.0001us"] {
        assert_eq!(parse_duration(text).unwrap_err().problem, Problem::TooFine, "{text}");
    }
    for text in ["18446744073709551616ns", "18446744073s709551616ns", "9999999h"] {
        assert_eq!(parse_duration(text).unwrap_err().problem, Problem::TooLarge, "{text}");
    }
}

#[test]
fn rates_are_parsed_and_refused() {
    for (text, rate) in [
        ("100", 100.0),
        ("5k", 5e3),
        ("5K/s", 5e3),
        ("218 k/s", 218e3),
        ("1.5M/s", 1.5e6),
        ("0.1k", 100.0),
        ("0.5", 0.5),
        ("950 /s", 950.0),
        ("1_000.5k", 1_000_500.0),
    ] {
        let parsed = parse_rate(text).unwrap();
        assert_eq!(parsed.to_bits(), f64::to_bits(rate), "{text}");
    }
    for text in ["", "/s", "k", "300/m", "5k/h", "5/k", "-5", "1e3", "inf", "NaN", "5Ki", "5/s/s"] {
        assert_eq!(parse_rate(text).unwrap_err().problem, Problem::Malformed, "{text}");
    }
    let beyond = format!("{}", u128::MAX).repeat(9);
    assert_eq!(parse_rate(&beyond).unwrap_err().problem, Problem::TooLarge);
    let vanishing = format!("0.{}1", "0".repeat(400));
    for text in ["0", "0.0k/s", &vanishing] {
        assert_eq!(parse_rate(text).unwrap_err().problem, Problem::Zero, "{text}");
    }
}

#[test]
fn rate_ranges_are_parsed() {
    for (text, from, to) in [
        ("50k", 50e3, None),
        ("1k..50k", 1e3, Some(50e3)),
        ("50k/s .. 1.5k/s", 50e3, Some(1.5e3)),
        ("0.5..0.5", 0.5, Some(0.5)),
        ("1_000..2,000", 1e3, Some(2e3)),
    ] {
        assert_eq!(parse_rate_range(text), Ok(RateRange { from, to }), "{text}");
    }
    for text in ["", "..", "1k..", "..1k", "1k...2k", "1k..2k..3k", "1k-2k", "1..fast"] {
        assert_eq!(parse_rate_range(text).unwrap_err().problem, Problem::Malformed, "{text}");
    }
    for text in ["0", "0..1k", "1k..0"] {
        assert_eq!(parse_rate_range(text).unwrap_err().problem, Problem::Zero, "{text}");
    }
}

#[test]
fn errors_quote_the_input_and_show_examples() {
    for (error, message) in [
        (
            parse_duration("5 parsecs").unwrap_err(),
            r#""5 parsecs" is not a duration; give one like 250us, 10ms, 5s or 1m30s"#,
        ),
        (
            parse_duration("5").unwrap_err(),
            r#""5" needs a unit to be a duration; give one like 250us, 10ms, 5s or 1m30s"#,
        ),
        (
            parse_size("1.5").unwrap_err(),
            r#""1.5" is not a whole number of bytes; give one like 64, 10k, 64KiB or 1.5MiB"#,
        ),
        (parse_rate("0").unwrap_err(), r#""0" is not a rate above zero; give one like 100, 5k, 5k/s or 1.5M/s"#),
        (
            parse_rate_range("1k..fast").unwrap_err(),
            r#""1k..fast" is not a rate or range of rates; give one like 5k, 50k or 10k..200k"#,
        ),
    ] {
        assert_eq!(error.to_string(), message);
    }
}
