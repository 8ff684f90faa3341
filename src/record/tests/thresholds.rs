//! Thresholds: what can be typed, what is refused, and when one is crossed.

use super::sample;
use crate::record::{Record, Threshold};
use proptest::prelude::*;
use std::time::Duration;

fn crossing(record: &Record, text: &str) -> Option<String> {
    let threshold: Threshold = text.parse().unwrap_or_else(|error| panic!("{error}"));
    threshold.crossed_by(record).map(|crossing| crossing.to_string())
}

#[test]
fn a_crossed_threshold_says_what_it_is_and_what_it_should_be() {
    let mut record = Record::of("x");
    record.measured_s = 10.0;
    record.messages.verified = 490_000;
    record.messages.timed_out = 2;
    record.messages.pending = 3;
    for _ in 0..100 {
        record.histograms.latency_from_send.record(Duration::from_micros(3100));
    }
    record.errors.insert("reset".to_owned(), 5);
    for (text, expected) in [
        ("p99>2ms", Some("p99 is 3.10 ms, which is > 2ms")),
        ("p99 > 4ms", None),
        ("p99.9>=1ms", Some("p99.9 is 3.10 ms, which is >= 1ms")),
        ("send.max<1s", Some("send.max is 3.10 ms, which is < 1s")),
        ("mean<=3ms", None),
        ("errors>0", Some("errors is 5, which is > 0")),
        ("errors==5", Some("errors is 5, which is == 5")),
        ("errors>5", None),
        ("timeouts>=2", Some("timeouts is 2, which is >= 2")),
        ("lost>4", Some("lost is 5, which is > 4")),
        ("mismatches>0", None),
        ("rate<50k", Some("rate is 49.0 k/s, which is < 50k")),
        ("rate<49k/s", None),
        ("rate<=0", None),
        ("lag.p99>1ms", Some("lag.p99 was not measured, so that it cannot be compared")),
        ("handshake.p50>1ms", Some("handshake.p50 was not measured, so that it cannot be compared")),
    ] {
        assert_eq!(crossing(&record, text).as_deref(), expected, "{text}");
    }
}

#[test]
fn the_lag_and_the_connects_have_thresholds_of_their_own() {
    let record = sample(2, 100, 1);
    assert_eq!(crossing(&record, "lag.p99>1us"), None);
    assert!(crossing(&record, "connect.max>200us").is_some());
}

#[test]
fn what_is_no_threshold_is_named_beside_a_good_one() {
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
fn a_threshold_is_shown_as_it_can_be_typed() {
    for text in ["p99>2ms", "errors==0", "rate<=49k", "connect.p99.9>=1s"] {
        assert_eq!(text.parse::<Threshold>().expect("a good one").to_string(), text);
    }
}

proptest! {
    #[test]
    fn what_is_shown_is_read_again(
        metric in "(send|connect|handshake|lag)[.](p[1-9][0-9]([.][0-9]{1,3})?|max|mean)|p[1-9]|errors|timeouts|lost|mismatches|invalid|rate",
        operator in prop::sample::select(vec![">", ">=", "<", "<=", "=="]),
        space in " ?",
        number in 0_u32..100_000,
    ) {
        let is_count = ["errors", "timeouts", "lost", "mismatches", "invalid", "rate"].contains(&metric.as_str());
        let text = format!("{space}{metric}{space}{operator}{space}{number}{}", if is_count { "" } else { "us" });
        let threshold: Threshold = text.parse().expect("a threshold");
        prop_assert_eq!(threshold.to_string().parse(), Ok(threshold));
    }
}
