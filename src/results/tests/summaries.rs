//! Text report: fits 80 columns, and the most important lines come first.

use super::sample;
use crate::results::summary::{opening, subject};
use crate::results::{
    Datagrams, LoadKind, PeerReplies, ReplyCheck, RunResults, SearchReply, TextReport, compare, format_latency,
    html_report,
};
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

#[test]
fn replies_are_named_by_what_was_checked() {
    let verdict = |check: ReplyCheck, is_datagram| check.brief_words(is_datagram).verdict;
    for (check, on_connections, on_datagrams) in [
        (ReplyCheck::Echoed, "every byte came back as it was sent", "every datagram came back as it was sent"),
        (ReplyCheck::Compared, "every reply was correct", "every reply was correct"),
        (ReplyCheck::Counted, "every message was answered", "every datagram was answered"),
        (ReplyCheck::NotExpected, "everything was sent, and the server closed in order", "every datagram was sent"),
    ] {
        assert_eq!([verdict(check, false), verdict(check, true)], [on_connections, on_datagrams]);
    }
}

#[test]
fn a_brief_report_says_that_the_run_was_interrupted() {
    let mut results = RunResults::of("x");
    let first_line = |results: &RunResults| results.to_string().lines().next().unwrap_or_default().to_owned();
    assert!(!first_line(&results).contains("interrupted"), "{results}");
    results.interrupted = true;
    assert!(first_line(&results).ends_with("interrupted"), "{results}");
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
    assert_eq!((results.program.as_str(), results.runs, results.valid), ("x", 1, true));
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
    for (measured_s, words) in
        [(10.0, ", for 10.0 s\n"), (9.9, ", for 10.0 s\n"), (0.006_69, ", for 6.69 ms of at most 10.0 s\n")]
    {
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

#[test]
fn subject_names_at_most_three_targets() {
    let mut results = RunResults::of("x");
    for (requested, targets, expected) in [
        (1, "a", "1 connection to a"),
        (2, "a b", "2 connections to a, b"),
        (3, "a b c", "3 connections to a, b, c"),
        (1000, "a b c d e", "1,000 connections to a, b, c and 2 more"),
    ] {
        results.connections.requested = requested;
        results.targets = targets.split(' ').map(str::to_owned).collect();
        assert_eq!(subject(&results), expected);
    }
    results.datagrams = Some(Datagrams::default());
    assert_eq!(subject(&results), "1,000 sockets to a, b, c and 2 more (udp)");
}

#[test]
fn opening_has_the_rate_of_the_connections_after_the_first() {
    let mut results = RunResults::of("x");
    for (requested, opened, opening_s, expected) in [
        (10, 10, None, None),
        (10, 10, Some(0.0), None),
        (10, 0, Some(0.5), None),
        (10, 1, Some(0.5), None),
        (10, 2, Some(0.5), Some("500 ms, 2.00 /s")),
        // The others replaced connections that had ended.
        (3, 10, Some(0.5), Some("500 ms, 4.00 /s")),
    ] {
        let connections = &mut results.connections;
        (connections.requested, connections.opened, connections.opening_s) = (requested, opened, opening_s);
        assert_eq!(opening(&results).as_deref(), expected, "{opened} of {requested}");
    }
}

/// A run of two connections with one message each, of which one failed.
fn short_run() -> RunResults {
    let mut results = RunResults::of("x");
    results.targets = vec!["[::1]:1".to_owned()];
    results.reply_check = ReplyCheck::Echoed;
    let connections = &mut results.connections;
    (connections.requested, connections.opened, connections.most_open) = (2, 2, 2);
    (connections.completed, connections.failed) = (1, 1);
    (results.messages.sent, results.messages.answered, results.messages.timed_out) = (2, 1, 1);
    (results.bytes.sent, results.bytes.received) = (2000, 1000);
    (results.duration_s, results.measured_s) = (2.0, 2.0);
    results.errors.insert("reply_timeout".to_owned(), 1);
    results.histograms.connect.record(Duration::from_millis(2));
    results.histograms.service_time.record(Duration::from_millis(3));
    results
}

#[test]
fn brief_report_leaves_out_the_figures_of_a_load() {
    let mut results = short_run();
    results.notes = vec!["a note".to_owned()];
    results.reasons = vec!["a reason".to_owned()];
    let reply =
        |request, text: &str, is_binary, count| SearchReply { request, text: text.to_owned(), is_binary, count };
    results.search_replies = vec![reply(0, "a", false, 1), reply(1, "b", true, 1200)];
    let text = "Got result: a
Got response: b (1,200 times)
2 connections to [::1]:1: failed
  connections  2 opened, 2 at the same time, 1 failed
                       1 timed out waiting for a reply
  messages     2 sent, 1 echoed and verified, 0.500 /s
  bytes        2,000 sent, 1,000 echoed and verified
  time         2.00 s
  latency               p50       p90       p99     p99.9       max
    connect         2.00 ms   2.00 ms   2.00 ms   2.00 ms   2.00 ms
    service         3.00 ms   3.00 ms   3.00 ms   3.00 ms   3.00 ms";
    assert_eq!(results.to_string(), text);
    results.search_replies.clear();
    results.interrupted = true;
    assert!(results.to_string().starts_with("2 connections to [::1]:1: interrupted\n"));
    results.interrupted = false;
    let text = "FAILED: 1 of 2 messages was not answered within the reply timeout
NOT VALID: a reason
2 connections to [::1]:1: failed
  load         closed loop
  connections  2 opened, 2 at the same time, 1 failed
                       1 timed out waiting for a reply
  messages     2 sent, 1 answered and verified, 0.500 /s
  unanswered   1 timed out, 0 pending, 0 lost
  bytes        2,000 sent, 1,000 answered and verified
  time         2.00 s
  note         a note
  latency               p50       p90       p99     p99.9    p99.99       max
    service         3.00 ms   3.00 ms   3.00 ms   3.00 ms   3.00 ms   3.00 ms
    connect         2.00 ms   2.00 ms   2.00 ms   2.00 ms   2.00 ms   2.00 ms";
    assert_eq!(TextReport(&results).to_string(), text);
}

#[test]
fn brief_report_of_replies_without_a_known_end() {
    let mut results = short_run();
    results.reply_check = ReplyCheck::Unframed;
    results.messages.reads = Some(3000);
    results.histograms.first_byte.record(Duration::from_millis(1));
    results.histograms.handshake.record(Duration::from_millis(4));
    assert_eq!(
        results.to_string(),
        "2 connections to [::1]:1: failed
  connections  2 opened, 2 at the same time, 1 failed
                       1 timed out waiting for a reply
  messages     2 sent, 1.00 /s
  reads        3,000
  bytes        2,000 sent, 1,000 received
  time         2.00 s
  note         the end of a reply is unknown: replies and their latencies are
               not measured, only the first bytes on each connection; give a
               framing or a reply size
  latency               p50       p90       p99     p99.9       max
    connect         2.00 ms   2.00 ms   2.00 ms   2.00 ms   2.00 ms
    handshake       4.00 ms   4.00 ms   4.00 ms   4.00 ms   4.00 ms
    first byte      1.00 ms   1.00 ms   1.00 ms   1.00 ms   1.00 ms"
    );
}

#[test]
fn brief_report_of_datagrams_counts_each_outcome() {
    let mut results = short_run();
    results.datagrams = Some(Datagrams { late: 1000, ..Datagrams::default() });
    for (cause, count) in [
        ("reply_timeout", 1001),
        ("refused", 1002),
        ("corrupt", 1003),
        ("not_sent_enobufs", 1004),
        ("undelivered_ehostunreach", 1005),
        ("not_received_eio", 1006),
        ("out_of_ports", 1007),
    ] {
        results.errors.insert(cause.to_owned(), count);
    }
    results.mismatches.count = 1;
    results.mismatches.first = vec!["datagram 1".to_owned()];
    let peers = &mut results.datagrams.get_or_insert_default().peers;
    for (number, (replies, missing)) in [(0, 0), (1000, 0), (2000, 1000), (0, 1), (1, 1)].into_iter().enumerate() {
        peers.insert(format!("10.0.0.{number}:1"), PeerReplies { replies, missing, ..PeerReplies::default() });
    }
    assert_eq!(
        results.to_string(),
        "2 sockets to [::1]:1 (udp): failed
  sockets      2 opened, 1 failed
                   1,007 out of ports: no local port is free for this target; \
    widen net.ipv4.ip_local_port_range, or connect from more source addresses
  datagrams    2 sent, 1 echoed and verified, 0.500 /s
  not sent     1,004: No buffer space available (ENOBUFS)
  undelivered  1,005: the host cannot be reached (EHOSTUNREACH)
  not received 1,006 failures: Input/output error (EIO)
  timed out    1,001: no reply within the reply timeout
  late         1,000: after the reply timeout
  refused      1,002: nothing listens there
  corrupt      1,003
    datagram 1
  answered by  5 peers: 10.0.0.0:1, 10.0.0.1:1 1,000, 10.0.0.2:1 2,000 (1,000
               missing), 10.0.0.3:1 0 (1 missing), …
  bytes        2,000 sent, 1,000 echoed and verified
  time         2.00 s
  latency               p50       p90       p99     p99.9       max
    service         3.00 ms   3.00 ms   3.00 ms   3.00 ms   3.00 ms"
    );
    // Without counted replies, a reply timeout has no line of its own.
    results.reply_check = ReplyCheck::NotExpected;
    results.errors.clear();
    assert!(!results.to_string().contains("timed out"), "{results}");
}

#[test]
fn failures_are_named_by_target_in_the_order_given() {
    let mut results = short_run();
    results.targets = ["b", "a"].map(str::to_owned).to_vec();
    results.connections.retries = 1234;
    results.failed_by_target = ["a", "b", "c"].map(|target| (target.to_owned(), 1000)).into();
    let text = results.to_string();
    let lines: Vec<_> =
        text.lines().filter(|line| line.starts_with("  target") || line.starts_with("  retries")).collect();
    assert_eq!(
        lines,
        [
            "  retries      1,234",
            "  target       b: 1,000 failed",
            "  target       a: 1,000 failed",
            "  target       c: 1,000 failed"
        ]
    );
}

#[test]
fn the_first_line_has_the_outcome() {
    let first = |change: fn(&mut RunResults)| {
        let mut results = RunResults::of("x");
        change(&mut results);
        let text = TextReport(&results).to_string();
        text.lines().next().and_then(|line| line.strip_prefix("0 connections to : ")).map(str::to_owned)
    };
    for (outcome, change) in [
        ("nothing was measured", (|_| {}) as fn(&mut RunResults)),
        ("interrupted before anything was measured", |run| run.interrupted = true),
        ("interrupted", |run| (run.interrupted, run.messages.sent) = (true, 1)),
        ("nothing was sent; everything received was read", |run| run.load.kind = LoadKind::ReadOnly),
        ("every message was sent", |run| run.messages.sent = 1),
        ("every message was answered", |run| run.messages.answered = 1),
        ("failed", |run| _ = run.errors.insert("reset".to_owned(), 1)),
    ] {
        assert_eq!(first(change).as_deref(), Some(outcome));
    }
}

/// Causes are those of lost messages, and unknown without one.
#[test]
fn only_lost_messages_have_causes() {
    let mut results = short_run();
    results.errors.insert("reset".to_owned(), 1);
    for (lost, line) in [
        (0, "FAILED: 1 of 2 messages was not answered within the reply timeout"),
        (1, "FAILED: 1 of 3 messages was not answered within the reply timeout, 1 lost (reset)"),
    ] {
        results.messages.lost = lost;
        let text = TextReport(&results).to_string();
        assert_eq!(text.replace("\n        ", " ").lines().next(), Some(line));
    }
}

#[test]
fn a_mismatch_is_shown_with_its_number() {
    let mut results = short_run();
    results.mismatches.count = 1234;
    results.mismatches.first = vec!["connection 1".to_owned()];
    for (cause, lines) in [
        ("reset", "\n  mismatches   1,234\n    connection 1\n"),
        ("wrong_reply", "\n  wrong reply  2,345\n    connection 1\n"),
    ] {
        results.errors.insert(cause.to_owned(), 2345);
        assert!(results.to_string().contains(lines), "{results}");
        assert!(TextReport(&results).to_string().contains(lines), "{results}");
    }
}

/// The labels of the latency table.
fn rows(report: &str) -> Vec<&str> {
    let table = report.lines().skip_while(|line| !line.starts_with("  latency"));
    table.skip(1).filter_map(|line| line.get(4..14).map(str::trim)).collect()
}

#[test]
fn the_service_time_is_shown_if_it_differs() {
    let mut results = short_run();
    results.load.kind = LoadKind::Open;
    results.histograms.response_time.record(Duration::from_millis(3));
    assert_eq!(rows(&results.to_string()), ["response", "connect"]);
    results.histograms.response_time.record(Duration::from_millis(4));
    assert_eq!(rows(&results.to_string()), ["response", "service", "connect"]);
    results.histograms.service_time.clear();
    assert_eq!(rows(&results.to_string()), ["response", "connect"]);
    // A brief report says so if there are none.
    let empty = RunResults::of("x").to_string();
    assert!(empty.ends_with("\n    connect            none\n    service            none"), "{empty}");
}
