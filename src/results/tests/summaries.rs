//! What a person reads fits into 80 columns and says first what matters most.

use super::sample;
use crate::results::{LoadKind, ReplyCheck, RunResults, TextReport, compare, format_latency, page};
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
    let text = TextReport(&record).to_string();
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
        pair[0].ends_with(|datagram: char| datagram.is_ascii_digit())
            && ["ms", "µs", "s", "%", "k/s", "M/s"].contains(&unit)
    };
    assert!(!text.lines().collect::<Vec<_>>().windows(2).any(is_torn), "a number is torn from its unit:\n{text}");
    assert!(text.starts_with("NOT VALID: the client was the limit"), "{text}");
    assert!(!text.contains("handshake"), "what was not measured is not shown:\n{text}");
}

#[test]
fn a_valid_run_begins_with_what_it_was() {
    let text = TextReport(&sample(3, 100, 1)).to_string();
    assert!(text.starts_with("100 connections to 127.0.0.1:65432: every reply was right\n"), "{text}");
}

#[test]
fn a_run_that_measured_nothing_says_so() {
    let mut record = RunResults::of("x");
    assert!(!record.is_success() && TextReport(&record).to_string().contains(": nothing was measured\n"));
    record.messages.sent = 1;
    assert!(record.is_success() && TextReport(&record).to_string().contains(": every message was sent\n"));
    record.messages.verified = 1;
    assert!(record.is_success() && TextReport(&record).to_string().contains(": every message was answered\n"));
    record.reply_check = ReplyCheck::Compared;
    assert!(record.is_success() && TextReport(&record).to_string().contains(": every reply was right\n"));
    record = RunResults::of("x");
    record.errors.insert("refused".to_owned(), 1);
    assert!(TextReport(&record).to_string().contains(": something failed\n"));
}

/// Only what was compared is called right, and only what was counted answered.
#[test]
fn no_more_is_said_of_replies_than_is_known() {
    let mut record = sample(3, 100, 1);
    for (check, verdict, says, says_not) in [
        (ReplyCheck::Compared, "every reply was right", "answered and verified", "received"),
        (ReplyCheck::Counted, "every message was answered", " answered, ", "verified"),
        (ReplyCheck::Unframed, "bytes came back on every connection", "  reads        5,000\n", "answered"),
        (ReplyCheck::NotExpected, "every message was sent", " sent, ", "answered"),
    ] {
        record.reply_check = check;
        record.messages.reads = (check == ReplyCheck::Unframed).then_some(5000);
        record.settle();
        let (text, html) = (TextReport(&record).to_string(), page(&record));
        let head = format!("100 connections to 127.0.0.1:65432: {verdict}\n");
        assert!(text.starts_with(&head) && html.contains(&format!("Outcome: {verdict}.")), "{text}");
        assert!(text.contains(says) && !text.contains(says_not), "{check:?}: {text}");
        let is_compared = check == ReplyCheck::Compared;
        assert!(html.contains("verified") == is_compared && !html.contains("rightly"), "{check:?}");
        assert_eq!(text.contains("nothing tells where a reply ends"), check == ReplyCheck::Unframed, "{text}");
        let read = RunResults::from_json(&record.to_json()).expect("it was written by itself");
        assert_eq!((read.reply_check, read.messages.reads), (check, record.messages.reads));
    }
    // Files of earlier versions do not say, and then nothing is called right.
    let old = record.to_json().replace("\"reply_check\"", "\"unknown\"");
    assert_eq!(RunResults::from_json(&old).expect("what is not known is passed over").reply_check, ReplyCheck::Counted);
}

#[test]
fn a_load_that_ends_early_says_how_long_it_was() {
    let mut record = sample(3, 100, 1);
    for (measured_s, words) in [(10.0, ", for 10.0 s\n"), (0.006_69, ", for 6.69 ms of at most 10.0 s\n")] {
        (record.measured_s, record.load.duration_s, record.load.arrivals) = (measured_s, Some(10.0), None);
        let text = TextReport(&record).to_string();
        assert!(text.contains(words), "{text}");
    }
    (record.warm_up_s, record.duration_s) = (1.0, 0.5);
    assert!(TextReport(&record).to_string().contains("500 ms, of it 500 ms to warm up"));
}

/// Longer times than an hour are not told apart, and shorter ones are not marked.
#[test]
fn an_hour_or_more_is_marked() {
    let hour = Duration::from_secs(3600);
    for (time, shown, count) in [
        (Duration::from_nanos(3_599_999_999_999), "59 m 59 s", 0),
        (Duration::from_secs(3590), "59 m 51 s", 0),
        (hour, "≥ 1 h", 1),
        (hour * 3, "≥ 1 h", 1),
        (Duration::MAX, "≥ 1 h", 1),
    ] {
        let mut record = RunResults::of("x");
        record.histograms.latency_from_send.record(time);
        record.messages.sent = 1;
        record.messages.verified = 1;
        record.settle();
        let latencies = record.latency().clone();
        assert_eq!(
            (latencies.at(0.5).map(format_latency).as_deref(), latencies.count_of_longest()),
            (Some(shown), count)
        );
        let difference = latencies.max().expect("one").abs_diff(time.min(hour));
        assert!(difference <= time.min(hour) / 1000, "{difference:?}");
        let text = TextReport(&record).to_string();
        assert_eq!(text.lines().filter(|line| line.trim_end().ends_with(shown)).count(), 1, "{text}");
        assert_eq!(text.contains("1 message took an hour or longer"), count == 1, "{text}");
        assert_eq!(page(&record).contains("≥ 1 h"), count == 1);
        assert_eq!(compare(&record, &record).to_string().contains("≥ 1 h"), count == 1);
    }
}

#[test]
fn without_a_schedule_the_latency_is_that_from_sending() {
    let mut record = RunResults::of("x");
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
