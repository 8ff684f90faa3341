//! Thresholds: parsing, errors, and evaluation.

use super::sample;
use crate::results::{ReplyCheck, RunResults, Threshold, ThresholdResult, Verdict};
use proptest::prelude::*;
use std::time::Duration;

fn evaluate(results: &RunResults, text: &str) -> ThresholdResult {
    let threshold: Threshold = text.parse().unwrap_or_else(|error| panic!("{error}"));
    threshold.evaluate(results)
}

#[test]
fn result_shows_value_and_bound() {
    let mut results = RunResults::of("x");
    results.measured_s = 10.0;
    results.messages.answered = 490_000;
    results.messages.timed_out = 2;
    results.messages.pending = 3;
    for _ in 0..100 {
        results.histograms.service_time.record(Duration::from_micros(3100));
    }
    results.errors.insert("reset".to_owned(), 5);
    for (text, expected) in [
        ("p99>2ms", "✗ p99 is 3.10 ms, which is > 2.00 ms"),
        ("p99 > 4ms", "✓ p99 is 3.10 ms, not > 4.00 ms"),
        ("p99.9>=1ms", "✗ p99.9 is 3.10 ms, which is >= 1.00 ms"),
        ("send.max<1s", "✗ send.max is 3.10 ms, which is < 1.00 s"),
        ("max>1h", "✓ max is 3.10 ms, not > 1 h"),
        ("mean<=3ms", "✓ mean is 3.10 ms, not <= 3.00 ms"),
        ("errors>0", "✗ errors is 5, which is > 0"),
        ("errors==5", "✗ errors is 5, which is == 5"),
        ("errors>5000", "✓ errors is 5, not > 5,000"),
        ("timed_out>=2", "✗ timed_out is 2, which is >= 2"),
        ("timeouts>=2", "✗ timeouts is 2, which is >= 2"),
        ("unanswered>4", "✗ unanswered is 5, which is > 4"),
        ("lost>4", "✗ lost is 5, which is > 4"),
        ("mismatches>0", "✓ mismatches is 0, not > 0"),
        ("invalid>0", "✓ invalid is 0, not > 0"),
        ("rate<50k", "✗ rate is 49.0 k/s, which is < 50.0 k/s"),
        ("rate<49k/s", "✓ rate is 49.0 k/s, not < 49.0 k/s"),
        ("rate<=0", "✓ rate is 49.0 k/s, not <= 0 /s"),
        ("send_delay.p99>1ms", "? send_delay.p99 was not measured"),
        ("handshake.p50>1ms", "? handshake.p50 was not measured"),
    ] {
        let result = evaluate(&results, text);
        assert_eq!(result.to_string(), expected, "{text}");
        assert!(
            expected.ends_with(result.text()) && result.text().contains(" is ") || expected.starts_with('?'),
            "{text}"
        );
        let verdict = [Verdict::Passed, Verdict::Crossed, Verdict::Unknown].into_iter().zip("✓✗?".chars());
        let expected: Vec<_> =
            verdict.filter(|(_, mark)| expected.starts_with(*mark)).map(|(verdict, _)| verdict).collect();
        assert_eq!(expected, [result.verdict], "{text}");
    }
    results.interrupted = true;
    assert_eq!(evaluate(&results, "p99>2ms").to_string(), "? p99>2ms was not evaluated: the run was interrupted");
}

/// A bound on replies that were not measured cannot pass.
#[test]
fn unframed_replies_are_not_evaluated() {
    let mut results = sample(3, 100, 1);
    results.reply_check = ReplyCheck::Unframed;
    results.histograms.response_time.clear();
    results.histograms.service_time.clear();
    for text in ["p99>1h", "max>1h", "send.p50>1h", "rate<1", "rate<=0", "mismatches>0"] {
        let result = evaluate(&results, text);
        assert!(
            result.verdict == Verdict::Unknown && result.to_string().contains("the end of a reply is unknown"),
            "{text}"
        );
    }
    assert_eq!(evaluate(&results, "errors>0").verdict, Verdict::Passed);
}

#[test]
fn send_delay_and_connect_times_have_thresholds() {
    let results = sample(2, 100, 1);
    assert_eq!(evaluate(&results, "lag.p99>1us").verdict, Verdict::Passed);
    assert_eq!(evaluate(&results, "connect.max>200us").verdict, Verdict::Crossed);
}

#[test]
fn errors_quote_the_text_and_an_example() {
    for bad in [
        "",
        "p99",
        ">2ms",
        "p99>",
        "p99>2",
        "p99>fast",
        "p99>61m",
        "p0>1ms",
        "p100>1ms",
        "p>1ms",
        "p-1>1ms",
        "p1e1>1ms",
        "q99>1ms",
        "errors>1.5",
        "errors>-1",
        "rate<fast",
        "rate<0k",
        "p99=2ms",
        "p99=>2ms",
        "foo.p99>1ms",
        "p99>1ms>2ms",
        "send.errors>0",
        "pNaN>1ms",
    ] {
        let error = bad.parse::<Threshold>().expect_err(bad).to_string();
        assert!(error.starts_with(&format!("{bad:?}")) && error.contains("rate<49k"), "{error}");
    }
}

#[test]
fn display_equals_the_typed_text() {
    for text in ["p99>2ms", "errors==0", "rate<=49k", "connect.p99.9>=1s"] {
        assert_eq!(text.parse::<Threshold>().expect("a good one").to_string(), text);
    }
}

proptest! {
    #[test]
    fn display_round_trips(
        metric in "(send|service|connect|handshake|lag|send_delay)[.](p[1-9][0-9]([.][0-9]{1,3})?|max|mean)|p[1-9]|errors|timed_out|timeouts|unanswered|lost|mismatches|invalid|rate",
        operator in prop::sample::select(vec![">", ">=", "<", "<=", "=="]),
        space in " ?",
        number in 0_u32..100_000,
    ) {
        let is_count = ["errors", "timed_out", "timeouts", "unanswered", "lost", "mismatches", "invalid", "rate"].contains(&metric.as_str());
        let text = format!("{space}{metric}{space}{operator}{space}{number}{}", if is_count { "" } else { "us" });
        let threshold: Threshold = text.parse().expect("a threshold");
        prop_assert_eq!(threshold.to_string().parse(), Ok(threshold));
    }
}
