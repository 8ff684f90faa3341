//! What a person reads fits into 80 columns and says first what matters most.

use super::sample;
use crate::record::{LoadKind, Record, Summary, compare};
use std::time::Duration;

#[test]
fn it_fits_into_eighty_columns() {
    let mut record = sample(3, 100_000, 1);
    record.target = "a-rather-long-name-of-a-host.example.org:65432".to_owned();
    record.errors.insert("reply_timeout".to_owned(), 1_234_567);
    record.messages.timed_out = 1_234_567;
    record.messages.due = Some(123_456_789);
    record.histograms.unanswered_age.record(Duration::from_secs(3000));
    record.settle();
    let text = Summary(&record).to_string();
    for line in text.lines().filter(|line| !line.contains("example.org")) {
        assert!(line.chars().count() <= 80, "{line:?} in\n{text}");
    }
    for part in
        ["from due", "from send", "client lag", "unanswered", "p99.99", "1,234,567 reply timeout", "123,456,789 due"]
    {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let is_torn = |pair: &[&str]| {
        let unit = pair[1].trim_start().split([' ', ',', ')']).next().unwrap_or_default();
        pair[0].ends_with(|letter: char| letter.is_ascii_digit())
            && ["ms", "µs", "s", "%", "k/s", "M/s"].contains(&unit)
    };
    assert!(!text.lines().collect::<Vec<_>>().windows(2).any(is_torn), "a number is torn from its unit:\n{text}");
    assert!(text.starts_with("NOT VALID: the client was the limit"), "{text}");
    assert!(!text.contains("handshake"), "what was not measured is not shown:\n{text}");
}

#[test]
fn a_valid_run_begins_with_what_it_was() {
    let text = Summary(&sample(3, 100, 1)).to_string();
    assert!(text.starts_with("100 connections to 127.0.0.1:65432: every reply was right\n"), "{text}");
}

#[test]
fn without_a_schedule_the_latency_is_that_from_sending() {
    let mut record = Record::of("x");
    record.histograms.latency_from_send.record(Duration::from_micros(7));
    assert_eq!(record.latency().count(), 1);
    record.load.kind = LoadKind::Open;
    assert!(record.latency().is_empty(), "of open load it would hide how late the messages were");
}

#[test]
fn a_comparison_fits_into_eighty_columns() {
    let (mut before, after) = (sample(10, 100, 1), sample(10, 100_000, 2));
    before.configuration.set("message", "a long message, ".repeat(10));
    let text = compare(&before, &after).to_string();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line:?} in\n{text}");
    }
}
