//! Text report: fits 80 columns, and the most important lines come first.

use super::sample;
use crate::results::{LoadKind, ReplyCheck, RunResults, TextReport, compare, format_latency, html_report};
use std::time::Duration;

#[test]
fn report_fits_into_80_columns() {
    let mut results = sample(3, 100_000, 1);
    results.targets = vec!["a-rather-long-name-of-a-host.example.org:65432".to_owned()];
    results.errors.insert("reply_timeout".to_owned(), 1_234_567);
    results.messages.timed_out = 1_234_567;
    results.messages.due = Some(123_456_789);
    results.histograms.unanswered_age.record(Duration::from_secs(3000));
    results.finalize();
    let text = TextReport(&results).to_string();
    for line in text.lines().filter(|line| !line.contains("example.org")) {
        assert!(line.chars().count() <= 80, "{line:?} in\n{text}");
    }
    for part in [
        "    response ",
        "    client ",
        "(not included above)",
        "unanswered",
        "p99.99",
        "1,234,567 timed out waiting for a reply",
        "123,456,789 due",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let is_torn = |pair: &[&str]| {
        let unit = pair[1].trim_start().split([' ', ',', ')']).next().unwrap_or_default();
        pair[0].ends_with(|character: char| character.is_ascii_digit())
            && ["ms", "µs", "s", "%", "k/s", "M/s"].contains(&unit)
    };
    assert!(!text.lines().collect::<Vec<_>>().windows(2).any(is_torn), "a number is torn from its unit:\n{text}");
    assert!(text.starts_with("NOT VALID: client-limited"), "{text}");
    assert!(!text.contains("handshake"), "unmeasured times are not shown:\n{text}");
}

/// Reports of loads and of short runs share these texts.
#[test]
fn causes_in_words() {
    let mut results = sample(3, 100, 1);
    for cause in ["refused", "reset", "out_of_ports", "tls_alert_116", "enosys", "not_received_econnreset", "a_new_one"]
    {
        results.errors.insert(cause.to_owned(), 2);
    }
    results.errors.insert("mismatch".to_owned(), 2);
    results.failed_by_target.insert("127.0.0.1:1".to_owned(), 3);
    let text = TextReport(&results).to_string();
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "2 connection refused: nothing listens there",
        "2 reset by peer",
        "more source addresses",
        "2 TLS: the peer ended the connection: it requires a certificate",
        "2 Function not implemented (ENOSYS)",
        "2 not received: connection reset by peer (ECONNRESET)",
        "2 a new one",
        "2 echo mismatch",
        "target 127.0.0.1:1: 3 failed",
    ] {
        assert!(joined.contains(part), "no {part:?} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(html_report(&results).contains("reset by peer"), "{text}");
}

#[test]
fn valid_run_begins_with_its_target_and_verdict() {
    let text = TextReport(&sample(3, 100, 1)).to_string();
    assert!(text.starts_with("100 connections to 127.0.0.1:65432: every reply was correct\n"), "{text}");
}

#[test]
fn run_without_measurements_is_reported() {
    let mut results = RunResults::of("x");
    assert!(!results.is_success() && TextReport(&results).to_string().contains(": nothing was measured\n"));
    results.messages.sent = 1;
    assert!(results.is_success() && TextReport(&results).to_string().contains(": every message was sent\n"));
    results.messages.answered = 1;
    assert!(results.is_success() && TextReport(&results).to_string().contains(": every message was answered\n"));
    results.reply_check = ReplyCheck::Compared;
    assert!(results.is_success() && TextReport(&results).to_string().contains(": every reply was correct\n"));
    results = RunResults::of("x");
    results.errors.insert("refused".to_owned(), 1);
    assert!(TextReport(&results).to_string().contains(": failed\n"));
}

/// Only compared replies are called correct, and only counted messages answered.
#[test]
fn wording_depends_on_the_reply_check() {
    let mut results = sample(3, 100, 1);
    for (check, verdict, says, says_not) in [
        (ReplyCheck::Compared, "every reply was correct", "answered and verified", "received"),
        (ReplyCheck::Counted, "every message was answered", " answered, ", "verified"),
        (ReplyCheck::Unframed, "bytes came back on every connection", "  reads        5,000\n", "answered"),
        (ReplyCheck::NotExpected, "every message was sent", " sent, ", "answered"),
    ] {
        results.reply_check = check;
        results.messages.reads = (check == ReplyCheck::Unframed).then_some(5000);
        results.finalize();
        let (text, html) = (TextReport(&results).to_string(), html_report(&results));
        let head = format!("100 connections to 127.0.0.1:65432: {verdict}\n");
        assert!(text.starts_with(&head) && html.contains(&format!("Outcome: {verdict}.")), "{text}");
        assert!(text.contains(says) && !text.contains(says_not), "{check:?}: {text}");
        let is_compared = check == ReplyCheck::Compared;
        assert!(html.contains("verified") == is_compared && !html.contains("rightly"), "{check:?}");
        assert_eq!(text.contains("the end of a reply is unknown"), check == ReplyCheck::Unframed, "{text}");
        let read = RunResults::from_json(&results.to_json()).expect("it was written by to_json");
        assert_eq!((read.reply_check, read.messages.reads), (check, results.messages.reads));
    }
    // Files of earlier versions have no reply check; their replies are not called correct.
    let old = results.to_json().replace("\"reply_check\"", "\"unknown\"");
    assert_eq!(RunResults::from_json(&old).expect("unknown fields are ignored").reply_check, ReplyCheck::Counted);
}

#[test]
fn load_that_ends_early_shows_its_length() {
    let mut results = sample(3, 100, 1);
    for (measured_s, words) in [(10.0, ", for 10.0 s\n"), (0.006_69, ", for 6.69 ms of at most 10.0 s\n")] {
        (results.measured_s, results.load.duration_s, results.load.arrivals) = (measured_s, Some(10.0), None);
        let text = TextReport(&results).to_string();
        assert!(text.contains(words), "{text}");
    }
    results.measured_s = 0.0;
    assert!(TextReport(&results).to_string().contains(", never began, planned for 10.0 s\n"));
    (results.warm_up_s, results.duration_s) = (1.0, 0.5);
    let text = TextReport(&results).to_string();
    assert!(text.contains("ended in its warm-up,"), "{text}");
    assert!(TextReport(&results).to_string().contains("500 ms including 500 ms warm-up"));
}

/// Times of an hour or more share one mark; shorter times have none.
#[test]
fn time_of_an_hour_or_more_is_marked() {
    let hour = Duration::from_secs(3600);
    for (time, shown, count) in [
        (Duration::from_nanos(3_599_999_999_999), "59 m 59 s", 0),
        (Duration::from_secs(3590), "59 m 51 s", 0),
        (hour, "≥ 1 h", 1),
        (hour * 3, "≥ 1 h", 1),
        (Duration::MAX, "≥ 1 h", 1),
    ] {
        let mut results = RunResults::of("x");
        results.histograms.service_time.record(time);
        results.messages.sent = 1;
        results.messages.answered = 1;
        results.finalize();
        let latencies = results.latency().clone();
        assert_eq!((latencies.at(0.5).map(format_latency).as_deref(), latencies.count_at_max()), (Some(shown), count));
        let difference = latencies.max().expect("one").abs_diff(time.min(hour));
        assert!(difference <= time.min(hour) / 1000, "{difference:?}");
        let text = TextReport(&results).to_string();
        assert_eq!(text.lines().filter(|line| line.trim_end().ends_with(shown)).count(), 1, "{text}");
        assert_eq!(text.contains("1 message took an hour or longer"), count == 1, "{text}");
        assert_eq!(html_report(&results).contains("≥ 1 h"), count == 1);
        assert_eq!(compare(&results, &results).to_string().contains("≥ 1 h"), count == 1);
    }
}

#[test]
fn closed_load_reports_the_service_time() {
    let mut results = RunResults::of("x");
    results.histograms.service_time.record(Duration::from_micros(7));
    assert_eq!(results.latency().count(), 1);
    results.load.kind = LoadKind::Open;
    assert!(results.latency().is_empty(), "for open load it would hide how late the messages were");
}

#[test]
fn comparison_fits_into_80_columns() {
    let (mut before, after) = (sample(10, 100, 1), sample(10, 100_000, 2));
    before.configuration.set("message", "a long message, ".repeat(10));
    let text = compare(&before, &after).to_string();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line:?} in\n{text}");
    }
}
