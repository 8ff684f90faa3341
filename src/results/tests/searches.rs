//! Text, page and file of a search for the highest rate.

use super::sample;
use crate::results::{
    FindMax, JudgedSlice, MeasuredRate, Purpose, RateVerdict, RunResults, SearchEnd, SliceCounts, SliceVerdict,
    html_report, merge,
};

fn slices(good: usize, bad: usize) -> Vec<JudgedSlice> {
    let counts = SliceCounts { seconds: 1, due: 1000, over: vec![0], over_floor: vec![0], ..SliceCounts::default() };
    let good = std::iter::repeat_n(SliceVerdict::Good, good);
    good.chain(std::iter::repeat_n(SliceVerdict::Bad, bad))
        .map(|verdict| JudgedSlice::new(verdict, counts.clone()))
        .collect()
}

fn rate(rate: f64, purpose: Purpose, verdict: RateVerdict, (good, bad): (usize, usize), nanos: u64) -> MeasuredRate {
    let measured = MeasuredRate::new(rate, purpose, 0.0);
    MeasuredRate { verdict, percentiles_ns: vec![nanos], slices: slices(good, bad), ..measured }
}

/// A search that has found 182,000 messages per second.
fn searched() -> RunResults {
    let mut results = sample(30, 400, 1);
    results.measured_s = 30.0;
    results.connections.requested = 64;
    results.bytes.sent = results.messages.sent * 64;
    results.find_max = Some(Box::new(FindMax {
        expressions: vec!["p99<10ms".to_owned()],
        end: SearchEnd::Width,
        holds: Some(182_000.0),
        confirmed: true,
        fails: Some(185_700.0),
        typical: Some(188_000.0),
        recovered_s: Some(1.2),
        width: 0.02,
        budget_s: 300.0,
        search_s: 158.0,
        rates: vec![
            rate(182_000.0, Purpose::Lower, RateVerdict::Good, (21, 0), 9_100_000),
            rate(185_700.0, Purpose::Upper, RateVerdict::Bad, (8, 13), 13_100_000),
            rate(182_000.0, Purpose::Confirm, RateVerdict::Good, (30, 0), 9_000_000),
        ],
    }));
    results
}

fn first_line(change: impl FnOnce(&mut FindMax)) -> String {
    let mut results = searched();
    change(results.find_max.as_mut().expect("it was searched"));
    results.to_string().lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_report_begins_with_the_outcome() {
    let text = searched().to_string();
    let lines: Vec<_> = text.lines().take(6).collect();
    assert_eq!(
        lines,
        [
            "p99<10ms holds up to 182 k/s, 64 connections of 64 B",
            "  holds        182 k/s    p99 8.10 ms ± 8.10 µs, in a fresh run of 30.0 s",
            "  fails        186 k/s    p99 13.1 ms, over the limit in 13 of 21 seconds",
            "  typical      188 k/s    more than half of all slices hold",
            "  server       recovered within 1.20 s after overload",
            "  search       72 slices at 3 rates in 2 m 38 s",
        ]
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn each_end_has_its_words() {
    for (end, holds, words) in [
        (SearchEnd::UpperBound, true, "holds up to at least 182 k/s, the highest rate allowed, 64"),
        (SearchEnd::Client, true, "holds up to at least 182 k/s: the client is the limit, 64"),
        (SearchEnd::Client, false, "cannot be judged: the client is the limit, 64"),
        (SearchEnd::Budget, true, "holds up to at least 182 k/s: the budget of 5 m allows no more, 64"),
        (SearchEnd::Budget, false, "was not found to hold within the budget of 5 m, 64"),
        (SearchEnd::NothingHolds, false, "does not hold at 182 k/s, the lowest rate, 64"),
        (SearchEnd::NotConfirmed, false, "held at no rate in a fresh run, 64"),
        (SearchEnd::Interrupted, true, "holds up to at least 182 k/s so far: interrupted, 64"),
        (SearchEnd::Interrupted, false, "was not found to hold so far: interrupted, 64"),
        (SearchEnd::Failed, false, "cannot be judged: the run at 182 k/s failed, 64"),
    ] {
        let line = first_line(|found| (found.end, found.holds) = (end, found.holds.filter(|_| holds)));
        assert!(line.starts_with(&format!("p99<10ms {words}")), "{line}");
    }
    let line = first_line(|found| found.expressions.push("p90<5ms".to_owned()));
    assert!(line.starts_with("p99<10ms and p90<5ms hold up to 182 k/s, 64"), "{line}");
}

#[test]
fn only_an_overload_has_a_recovery() {
    let recovery = |change: fn(&mut FindMax)| {
        let mut results = searched();
        let found = results.find_max.as_mut().expect("it was searched");
        found.recovered_s = None;
        change(found);
        let text = results.to_string();
        text.lines().find_map(|line| line.strip_prefix("  server       ")).map(str::to_owned)
    };
    assert_eq!(recovery(|_| ()).as_deref(), Some("was not seen to recover after overload"));
    assert_eq!(recovery(|found| found.rates.retain(|rate| rate.verdict == RateVerdict::Good)), None);
    assert_eq!(recovery(|found| (found.end, found.holds) = (SearchEnd::NothingHolds, None)), None);
}

#[test]
fn what_was_not_sent_or_answered_has_no_size_and_no_time() {
    let mut results = searched();
    results.bytes.sent = 0;
    results.find_max.as_mut().expect("it was searched").rates[1].percentiles_ns = vec![0];
    let text = results.to_string();
    assert!(text.lines().next().is_some_and(|line| line.ends_with(", 64 connections")), "{text}");
    assert!(text.contains("nothing was answered, over the limit in 13 of 21 seconds"), "{text}");
    let rate = &results.find_max.as_ref().expect("it was searched").rates[1];
    assert_eq!([SliceVerdict::Good, SliceVerdict::Bad].map(|verdict| rate.count(verdict)), [8, 13]);
}

#[test]
fn a_file_keeps_the_search_and_a_merge_drops_it() {
    let results = searched();
    assert_eq!(RunResults::from_json(&results.to_json()), Ok(results.clone()));
    let merged = merge(&[results, sample(3, 100, 2)]).expect("they are of one kind");
    assert_eq!(merged.find_max, None);
}

#[test]
fn numbers_of_a_search_are_checked() {
    for (from, to) in [
        ("\"due\":1000", "\"due\":-1"),
        ("\"fails\":185700.0", "\"fails\":1e300"),
        ("\"rate\":185700.0", "\"rate\":1e300"),
        ("\"good\"", "\"fine\""),
    ] {
        let text = searched().to_json_line().replacen(from, to, 1);
        assert!(RunResults::from_json(&text).is_err(), "{to}");
    }
}

#[test]
fn the_page_shows_the_percentile_over_the_rate() {
    let page = html_report(&searched());
    assert!(page.contains("<h2>Percentile by rate</h2>") && page.contains("messages/s"), "{page}");
    assert!(!html_report(&sample(3, 100, 1)).contains("Percentile by rate"));
    // A file may hold anything.
    let mut results = searched();
    let found = results.find_max.as_mut().expect("it was searched");
    found.expressions = vec!["<script>".to_owned(), "p99<1ms".to_owned()];
    found.rates.clear();
    assert!(!html_report(&results).contains("<script>"));
    let text = results.to_string();
    assert!(text.starts_with("<script> and p99<1ms hold up to 182 k/s"), "{text}");
}
