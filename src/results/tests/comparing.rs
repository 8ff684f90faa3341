//! Comparison of runs with known differences.

use super::precisions::constant;
use super::{RunResults, sample};
use crate::results::bootstrap::{Blocks, reaches};
use crate::results::{Change, Datagrams, Interval, Latencies, ReplyCheck, compare};
use crate::units::format_count;
use std::collections::{BTreeMap, BTreeSet};

fn outcomes(before: &RunResults, after: &RunResults) -> BTreeMap<&'static str, Change> {
    compare(before, after).outcomes().collect()
}

#[test]
fn random_differences_are_within_the_noise() {
    let mut wrong = 0;
    for seed in 0..10 {
        let (before, after) = (sample(20, 100, seed), sample(20, 100, seed + 100));
        let found = outcomes(&before, &after);
        wrong += found.values().filter(|outcome| matches!(outcome, Change::Better | Change::Worse)).count();
        assert_eq!(found["max"], Change::SingleEvent);
    }
    // 40 verdicts at 99 % confidence, from few intervals: 3 wrong ones occur once in a hundred runs.
    assert!(wrong <= 3, "{wrong} of 40 exceed the noise");
}

#[test]
fn slower_run_is_worse_and_faster_run_is_better() {
    let (before, after) = (sample(20, 100, 1), sample(20, 110, 2));
    let found = outcomes(&before, &after);
    assert_eq!((found["p50"], found["p99"], found["rate"]), (Change::Worse, Change::Worse, Change::WithinNoise));
    assert!(compare(&before, &after).is_worse());
    assert_eq!(outcomes(&after, &before)["p50"], Change::Better);
    assert!(!compare(&after, &before).is_worse());
}

#[test]
fn options_of_logging_and_output_do_not_differ() {
    let (before, mut after) = (sample(20, 100, 1), sample(20, 100, 2));
    for name in ["verbose", "quiet", "log-format", "no-progress", "json", "hgrm", "hdr-log", "html", "fail-if"] {
        after.configuration.set(name, "x");
    }
    assert_eq!(compare(&before, &after).warnings, Vec::<String>::new());
}

#[test]
fn new_errors_are_worse() {
    let (before, mut after) = (sample(20, 100, 1), sample(20, 100, 2));
    after.intervals.iter_mut().for_each(|interval| interval.errors = 10);
    after.errors.insert("reset".to_owned(), 200);
    assert_eq!(outcomes(&before, &after)["errors"], Change::Worse);
    after.intervals.iter_mut().for_each(|interval| interval.errors = 0);
    after.errors.insert("reset".to_owned(), 3);
    assert_eq!(outcomes(&before, &after)["errors"], Change::WithinNoise, "3 may be chance");
    assert_eq!(outcomes(&before, &before)["errors"], Change::WithinNoise);
    let text = compare(&before, &before).to_string();
    assert!(text.contains("+0.0 %") && text.contains("+0 /s"), "{text}");
    // In 99 of 100 cases chance explains a difference up to 2.58 times the square root of the errors: here 5.8, 7.3 and 11.5.
    for (errors, outcome) in [(5, Change::WithinNoise), (8, Change::Worse), (20, Change::Worse)] {
        after.errors.insert("reset".to_owned(), errors);
        assert_eq!(outcomes(&before, &after)["errors"], outcome, "{errors}");
    }
}

#[test]
fn more_replies_are_better() {
    let (before, mut after) = (sample(20, 100, 1), sample(20, 100, 2));
    after.messages.answered *= 2;
    after.intervals.iter_mut().for_each(|interval| interval.answered *= 2);
    assert_eq!(outcomes(&before, &after)["rate"], Change::Better);
    assert_eq!(outcomes(&after, &before)["rate"], Change::Worse);
}

/// The lateness of a client may explain a difference only if the percentile is bounded, and only down to its lower bound.
#[test]
fn a_lower_bound_within_the_noise_is_marked() {
    let before = constant(20, 1000, 1000);
    for (micros, floor_micros, is_marked) in [(2000, 900, true), (2000, 1500, false), (1030, 980, false)] {
        let text = compare(&before, &constant(20, micros, floor_micros)).to_string();
        assert_eq!(text.contains("(bounded)"), is_marked, "{text}");
    }
}

#[test]
fn a_run_without_replies_has_no_latency() {
    let mut silent = sample(20, 100, 1);
    silent.histograms = crate::results::Histograms::default();
    for (before, after) in [(&sample(20, 100, 2), &silent), (&silent, &sample(20, 100, 2)), (&silent, &silent)] {
        let text = compare(before, after).to_string();
        for name in ["p50", "p99", "p99.9", "max"] {
            let line = text.lines().find(|line| line.split_whitespace().next() == Some(name)).expect("a row");
            let row = line.split("  ").map(str::trim).collect::<Vec<_>>().join(" ");
            assert!(row.contains(" none ") && !row.contains('%') && row.ends_with("too few replies"), "{line}");
            assert!(!row.contains(" 0 s"), "{line}");
        }
    }
}

#[test]
fn few_intervals_or_replies_give_no_verdict() {
    let few = sample(5, 100, 1);
    let found = outcomes(&few, &sample(20, 200, 2));
    assert_eq!((found["rate"], found["p50"]), (Change::TooFewIntervals, Change::TooFewIntervals));
    // 5,000 replies have 5 above the p99.9.
    assert_eq!(found["p99.9"], Change::TooFewReplies);
    assert_eq!(outcomes(&RunResults::of("x"), &RunResults::of("x"))["p50"], Change::TooFewReplies);
    // Replies of which the end is not known are not counted.
    let unframed = RunResults { reply_check: ReplyCheck::Unframed, ..sample(20, 100, 2) };
    for (before, after) in [(&unframed, &sample(20, 100, 1)), (&sample(20, 100, 1), &unframed)] {
        assert_eq!(outcomes(before, after)["rate"], Change::TooFewReplies);
    }
}

/// A percentile needs ten replies above it.
#[test]
fn ten_replies_above_a_percentile_suffice() {
    for (replies, quantile) in [(1_000, 0.99), (10_000, 0.999), (100_000, 0.9999), (20, 0.5)] {
        assert!(reaches(replies, quantile), "{replies} replies for {quantile}");
        assert!(!reaches(replies - 1, quantile), "{} replies for {quantile}", replies - 1);
    }
}

#[test]
fn differing_options_and_invalid_runs_cause_warnings() {
    let (before, mut after) = (sample(10, 100, 1), sample(10, 100, 2));
    assert_eq!(compare(&before, &after).warnings, [""; 0]);
    after.configuration.set("port", 1);
    assert_eq!(compare(&before, &after).warnings, [""; 0], "the server is the subject of the comparison");
    after.configuration.set("rate", "2k");
    after.machine.kernel = Some("Linux 5".to_owned());
    after.valid = false;
    after.reasons = vec!["because".to_owned()];
    let warnings = compare(&before, &after).warnings;
    assert_eq!(
        warnings,
        [
            "the run after is NOT VALID: because",
            "the setting rate differs: 1k before, 2k after",
            "the machines differ in kernel: Linux 6.18.5 before, Linux 5 after",
        ]
    );
    assert!(compare(&before, &after).to_string().starts_with("WARNING: the run after is NOT VALID: because\n"));
}

#[test]
fn runs_without_enough_data_are_inconclusive() {
    let good = sample(10, 100, 1);
    let mut shortest = sample(8, 100, 2);
    shortest.histograms.response_time.clear();
    shortest.histograms.response_time.record_many_nanos(100_000, 1000);
    assert_eq!(compare(&good, &shortest).inconclusive, [""; 0]);
    let changed = |change: fn(&mut RunResults)| {
        let mut results = sample(10, 100, 2);
        change(&mut results);
        results
    };
    let mut dead = RunResults::of("x");
    dead.errors.insert("refused".to_owned(), 10);
    let few = changed(|results| {
        results.histograms.response_time.clear();
        results.histograms.response_time.record_many_nanos(100_000, 999);
    });
    let expect = |bad: RunResults, reason: &str| {
        for (before, after, name) in [(&good, &bad, "after"), (&bad, &good, "before")] {
            assert_eq!(compare(before, after).inconclusive, [format!("the run {name} {reason}")]);
        }
    };
    expect(dead, "measured no reply");
    expect(changed(|results| results.reply_check = ReplyCheck::Unframed), "has replies without a known end");
    expect(changed(|results| results.interrupted = true), "was interrupted");
    let not_valid = changed(|results| (results.valid, results.reasons) = (false, vec!["slow".to_owned()]));
    expect(not_valid, "is not valid: slow");
    let failed = changed(|results| (results.connections.failed, results.connections.completed) = (9, 0));
    expect(failed, "lost every connection");
    expect(sample(7, 100, 2), "is too short: it has 7 intervals of the 8 that are needed");
    expect(few, "is too short: it has 999 of the 1,000 replies that a p99 needs");
}

#[test]
fn new_losses_are_inconclusive() {
    let before = sample(10, 100, 1);
    let mut after = sample(10, 100, 2);
    for (requested, failed, lost) in [
        (5, 2, "2 of 5 connections"),
        (5, 5, "5 of 5 connections"),
        (1, 1, "1 of 1 connection"),
        (5, 9, "9 connections"),
    ] {
        (after.connections.requested, after.connections.failed, after.connections.completed) = (requested, failed, 1);
        let expected = format!("the run after lost {lost}, and the run before none");
        assert_eq!(compare(&before, &after).inconclusive, [expected]);
        // Lost datagrams are errors.
        let datagrams = RunResults { datagrams: Some(Datagrams::default()), ..after.clone() };
        assert_eq!(compare(&before, &datagrams).inconclusive, [""; 0]);
    }
    let mut worse = after.clone();
    worse.connections.failed += 1;
    assert_eq!(compare(&after, &worse).inconclusive, [""; 0], "a loss of this kind is not new");
    (after.connections.failed, after.connections.completed, after.messages.lost) = (0, 0, 3);
    let expected =
        format!("the run after lost 3 of {} messages, and the run before none", format_count(after.messages.sent));
    assert_eq!(compare(&before, &after).inconclusive, [expected]);
}

#[test]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "nanoseconds")]
fn a_draw_without_replies_has_no_time() {
    let mut results = RunResults::of("x");
    results.intervals = vec![Interval { seconds: 1.0, ..Interval::default() }; 8];
    let mut latencies = Latencies::default();
    latencies.record_nanos(1000);
    results.intervals[3].latency = latencies.pack();
    let blocks = Blocks::of(&results).expect("eight intervals");
    let times: BTreeSet<u64> = blocks.draws(1).map(|draw| draw.at(0.5) as u64).collect();
    assert_eq!(times, BTreeSet::from([0, 1000]));
}
