//! HTTP statuses: counting, merging, comparing, thresholds and reports.

use super::sample;
use crate::results::{RunResults, Statuses, Threshold, Verdict, compare, html_report, merge};

/// A run with a response of each status.
fn with_statuses(seed: u64, statuses: &[u16]) -> RunResults {
    let mut results = sample(10, 100, seed);
    let mut counts = Statuses::default();
    for status in statuses {
        counts.count(*status);
    }
    results.statuses = Some(counts);
    results
}

#[test]
fn statuses_are_counted_by_class() {
    let results = with_statuses(1, &[101, 200, 204, 304, 404, 500, 599, 999]);
    let counts = results.statuses.expect("set above").named();
    assert_eq!(counts, [("1xx", 1), ("2xx", 2), ("3xx", 1), ("4xx", 1), ("5xx", 3)]);
    let json = results.to_json();
    assert!(json.contains("\"statuses\": {"), "{json}");
    assert_eq!(RunResults::from_json(&json).map(|read| read.statuses), Ok(results.statuses));
    assert!(!sample(1, 100, 1).to_json().contains("statuses"), "only of HTTP");
    assert!(results.to_string().contains("\n  statuses     1xx 1, 2xx 2, 3xx 1, 4xx 1, 5xx 3\n"), "{results}");
    let page = html_report(&results);
    assert!(page.contains("responses with status 5xx") && !page.contains("responses with status 6xx"));
}

#[test]
fn statuses_are_added_when_merging() {
    let (one, two) = (with_statuses(1, &[200, 404]), with_statuses(2, &[200]));
    let merged = merge(&[one.clone(), two]).expect("runs of one kind");
    assert_eq!(
        merged.statuses.map(|counts| counts.named()[1..4].to_vec()),
        Some(vec![("2xx", 2), ("3xx", 0), ("4xx", 1)])
    );
    let other = merge(&[one.clone(), sample(10, 100, 3)]).expect("runs of one kind");
    assert_eq!(other.statuses, one.statuses);
}

#[test]
fn new_errors_make_a_comparison_inconclusive() {
    let (before, after) = (with_statuses(1, &[200, 404]), with_statuses(2, &[200, 404, 404, 500]));
    let found = compare(&before, &after).inconclusive;
    assert_eq!(found, ["the run after has 1 response with status 5xx, and the run before none"]);
    assert!(compare(&after, &before).inconclusive.is_empty());
    let without = [1, 2].map(|seed| with_statuses(seed, &[200]));
    assert!(compare(&without[0], &without[1]).inconclusive.is_empty());
}

#[test]
fn a_class_can_have_a_threshold() {
    let threshold = |text: &str| text.parse::<Threshold>().expect("valid");
    let results = with_statuses(1, &[200, 500]);
    for (text, verdict) in [("5xx>0", Verdict::Crossed), ("4xx>0", Verdict::Passed), ("2xx<2", Verdict::Crossed)] {
        assert_eq!(threshold(text).evaluate(&results).verdict, verdict, "{text}");
    }
    assert_eq!(threshold("5xx>0").evaluate(&sample(1, 100, 1)).verdict, Verdict::Unknown);
    assert!("6xx>0".parse::<Threshold>().is_err());
}
