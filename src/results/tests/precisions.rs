//! Precision of percentiles: exact, bounded or unknown, and what the report says about it.

use super::{RunResults, busy, lower_floor, sample};
use crate::results::{
    Cpu, LoadKind, Precision, Remedy, TextReport, Threshold, TimestampSource, Verdict, compare, html_report, merge,
    percentiles,
};
use std::time::Duration;

fn precision(results: &RunResults, quantile: f64) -> Precision {
    results.percentile(quantile).expect("replies").precision
}

/// A run without spread between its seconds.
pub(super) fn constant(seconds: u32, micros: u64, floor_micros: u64) -> RunResults {
    let mut results = sample(seconds, 100, 1);
    let count = results.histograms.response_time.count();
    for (times, micros) in [
        (&mut results.histograms.response_time, micros),
        (&mut results.histograms.service_time, micros),
        (&mut results.histograms.floor, floor_micros),
    ] {
        times.clear();
        times.record_many_nanos(micros * 1000, count);
    }
    for interval in &mut results.intervals {
        let mut latencies = crate::results::Latencies::default();
        latencies.record_many_nanos(micros * 1000, interval.answered);
        interval.latency = latencies.pack();
    }
    results
}

#[test]
fn ten_percent_are_negligible() {
    for (floor, expected) in [(1000, Precision::Exact), (901, Precision::Exact), (898, Precision::Bounded)] {
        let results = constant(3, 1000, floor);
        assert_eq!(precision(&results, 0.5), expected, "{floor}");
        assert_eq!(precision(&results, 1.0), expected, "{floor}");
    }
}

/// With medians of 1 and 2 ms in turn, chance explains a difference of 20 %.
#[test]
fn less_than_the_spread_between_seconds_is_negligible() {
    let mut results = constant(20, 1000, 800);
    assert_eq!(precision(&results, 0.5), Precision::Bounded);
    let slow = constant(1, 2000, 800).intervals[0].latency.clone();
    results.intervals.iter_mut().step_by(2).for_each(|interval| interval.latency = slow.clone());
    let median = results.percentile(0.5).expect("replies");
    assert!(median.plus_minus > Some(Duration::from_micros(250)), "{median:?}");
    assert_eq!(median.precision, Precision::Exact);
    assert!(!results.is_bounded(0.5));
    // Too few seconds show no spread.
    results.intervals.truncate(7);
    assert_eq!(
        (results.percentile(0.5).expect("replies").plus_minus, precision(&results, 0.5)),
        (None, Precision::Bounded)
    );
}

#[test]
fn interval_has_the_width_of_the_spread() {
    let results = sample(20, 100, 1);
    let shown = percentiles(&results, &[0.5, 0.99, 0.999, 0.9999, 1.0]);
    let plus_minus: Vec<_> = shown.iter().map(|percentile| percentile.plus_minus.is_some()).collect();
    assert_eq!(plus_minus, [true, true, true, false, false], "20,000 replies have 2 above the p99.99");
    // Independent samples of 95 to 130 µs: the standard error of the median is about 0.13 µs.
    let of_median = shown[0].plus_minus.expect("enough replies");
    assert!((Duration::from_nanos(80)..Duration::from_nanos(600)).contains(&of_median), "{of_median:?}");
}

/// A stall at the end of a run is a single event, although its replies arrive after the last interval.
#[test]
fn replies_after_the_load_spread_too() {
    let mut results = sample(20, 100, 1);
    let mut stalled = crate::results::Latencies::default();
    stalled.record_many_nanos(500_000_000, 100);
    results.histograms.response_time.add(&stalled);
    results.after_load =
        Some(crate::results::Interval { latency: stalled.pack(), answered: 100, ..Default::default() });
    let p99_9 = results.percentile(0.999).expect("replies");
    assert!(p99_9.value > Duration::from_millis(400), "{p99_9:?}");
    assert!(p99_9.plus_minus > Some(Duration::from_millis(100)), "{p99_9:?}");
}

#[test]
fn two_remedies_are_settings_of_the_client() {
    let settings = [Remedy::Spin, Remedy::Workers, Remedy::LowerRate, Remedy::OwnCpu].map(Remedy::setting);
    assert_eq!(settings, [Some("spin"), Some("workers"), None, None]);
}

/// Nothing may be concluded without kernel timestamps, without a schedule, or from some of the messages.
#[test]
fn runs_without_bounds_have_no_marks() {
    let late = constant(3, 1000, 100);
    assert_eq!(precision(&late, 0.5), Precision::Bounded);
    let changed = |change: fn(&mut RunResults)| {
        let mut results = late.clone();
        change(&mut results);
        results
    };
    for results in [
        changed(|results| results.receive_timestamps = None),
        changed(|results| results.receive_timestamps.as_mut().expect("timestamps").source = TimestampSource::User),
        changed(|results| results.receive_timestamps.as_mut().expect("timestamps").missing = 1_000),
        changed(|results| results.histograms.floor.clear()),
        changed(|results| results.histograms.floor.record_nanos(1)),
        changed(|results| {
            results.load.kind = LoadKind::Closed;
            results.histograms.response_time.clear();
        }),
    ] {
        assert_eq!(precision(&results, 0.5), Precision::Unknown);
        let text = TextReport(&results).to_string();
        assert!(!text.contains('!') && !text.contains("at least"), "{text}");
        assert!(text.contains("\n    client ") && text.contains("(not included above)"), "{text}");
    }
    // A merged run needs the floors of all.
    let mut old = changed(|results| results.run_ids = vec!["other".to_owned()]);
    old.histograms.floor.clear();
    assert_eq!(precision(&merge(&[late.clone(), old]).expect("two runs"), 0.5), Precision::Unknown);
    assert!(RunResults::of("x").percentile(0.5).is_none());
}

#[test]
fn bounded_values_are_marked() {
    let mut results = sample(20, 100, 1);
    lower_floor(&mut results, 0.7);
    results.machine.cpus = Some(2);
    results.cpu = Some(Cpu { waiting_s: Some(1.5), throttled_s: Some(0.1), ..busy(0.6) });
    assert!(results.valid && results.has_late_client());
    let text = TextReport(&results).to_string();
    let rows: Vec<_> = text.lines().skip_while(|line| !line.starts_with("  latency")).collect();
    assert!(rows.iter().all(|row| row.chars().count() <= 80), "{text}");
    for (row, start) in rows.iter().skip(1).zip([
        "    response ",
        "      ± ",
        "      at least ",
        "    client          +800 ns",
        "                 (not included above)",
        "    connect ",
        "  marked !     may be as low as \"at least\", because the client was late (1.50 s",
        "               waiting for a CPU); what helps: a CPU of its own",
    ]) {
        assert!(row.starts_with(start), "{start:?} in\n{text}");
    }
    assert_eq!((rows[1].matches('!').count(), rows.len()), (6, 9), "{text}");
    // Marks stand behind values that are right-aligned with those of the other rows.
    let ends = |row: &str| {
        row.char_indices().filter(|(_, c)| *c == 's').map(|(index, _)| row[..index].chars().count()).collect::<Vec<_>>()
    };
    assert_eq!(
        ends(rows[1].trim_start_matches("    response"))[..],
        ends(rows[3].trim_start_matches("      at least"))[..].iter().map(|end| end + 2).collect::<Vec<_>>()[..],
        "{text}"
    );
    assert!(text.contains("(60 %), 1.50 s waiting for a CPU\n"), "throttled for less than 1 % of the time: {text}");
    let html = html_report(&results);
    assert!(html.contains(" µs !</dd>") && html.contains("At least") && html.contains("may be as low as"), "{html}");
}

#[test]
fn only_remedies_that_apply_are_named() {
    let mut results = sample(3, 100, 1);
    let with = |results: &RunResults, change: fn(&mut RunResults)| {
        let mut results = results.clone();
        change(&mut results);
        results.remedies()
    };
    results.cpu = Some(Cpu { waiting_s: Some(0.0), throttled_s: Some(0.0), steal_s: Some(0.0), ..busy(0.6) });
    results.machine.cpus = Some(2);
    assert_eq!(results.remedies(), [Remedy::Spin], "the server needs the other CPU");
    assert_eq!(with(&results, |results| results.configuration.set("spin", "1ms")), [Remedy::LowerRate]);
    assert_eq!(with(&results, |results| results.configuration.set("spin", "0s")), [Remedy::Spin]);
    assert_eq!(with(&results, |results| results.configuration.set("spin", 0)), [Remedy::Spin]);
    assert_eq!(with(&results, |results| results.machine.cpus = Some(3)), [Remedy::Spin, Remedy::Workers]);
    assert_eq!(
        with(&results, |results| results.targets = vec!["10.0.0.1:1".to_owned()]),
        [Remedy::Spin, Remedy::Workers],
        "the server is on another machine"
    );
    let two_workers = |results: &mut RunResults| {
        results.machine.cpus = Some(3);
        results.configuration.set("workers", 2);
    };
    assert_eq!(with(&results, two_workers), [Remedy::Spin]);
    let idle = |results: &mut RunResults| {
        (results.machine.cpus, results.cpu.as_mut().expect("CPU times").share) = (Some(4), 0.1);
    };
    assert_eq!(with(&results, idle), [Remedy::Spin], "an idle worker needs no help");
    let take = |results: &mut RunResults| {
        let cpu = results.cpu.as_mut().expect("CPU times");
        (cpu.waiting_s, cpu.throttled_s, cpu.steal_s, cpu.share) = (Some(0.5), Some(0.5), Some(0.5), 0.95);
    };
    assert_eq!(
        with(&results, take),
        [Remedy::CpuLimit, Remedy::OwnCpu, Remedy::OwnMachine, Remedy::MoreCpus, Remedy::LowerRate]
    );
}

/// A loss is significant above 1 % of the time of all workers; steal, of that of all CPUs.
#[test]
fn lost_times_are_shares_of_the_time_there_was() {
    let mut results = sample(20, 100, 1);
    results.configuration.set("workers", 4);
    results.machine.cpus = Some(8);
    for (waiting_s, steal_s, count) in [(0.7, 1.5, 0), (0.9, 1.5, 1), (0.7, 1.7, 1), (0.9, 1.7, 2)] {
        results.cpu = Some(Cpu { waiting_s: Some(waiting_s), steal_s: Some(steal_s), ..busy(0.6) });
        assert_eq!(results.lost_times_in_words().len(), count, "{waiting_s} s, {steal_s} s");
    }
    (results.measured_s, results.cpu) = (0.0, Some(Cpu { waiting_s: Some(0.0), ..busy(0.6) }));
    assert_eq!(results.lost_times_in_words(), [""; 0]);
}

/// Two thresholds on a p99 of 2 ms with a floor of 1 ms.
#[test]
fn lateness_may_explain_a_crossed_threshold() {
    let mut results = constant(3, 2000, 1000);
    results.cpu = Some(Cpu { waiting_s: Some(0.0), ..busy(0.2) });
    let evaluate = |results: &RunResults, text: &str| text.parse::<Threshold>().expect("a threshold").evaluate(results);
    for (text, verdict, expected) in [
        (
            "p99>1500us",
            Verdict::Crossed,
            "✗ p99 is 2.00 ms!, which is > 1.50 ms; it may be as low as 1.00 ms: the client's own lateness could explain \
             it; what helps: busy polling (spin)",
        ),
        ("p99>500us", Verdict::Crossed, "✗ p99 is 2.00 ms!, which is > 500 µs"),
        (
            "mean>=1500us",
            Verdict::Crossed,
            "✗ mean is 2.00 ms, which is >= 1.50 ms; it may be as low as 1.00 ms: the \
             client's own lateness could explain it; what helps: busy polling (spin)",
        ),
        ("p99>3ms", Verdict::Passed, "✓ p99 is 2.00 ms!, not > 3.00 ms"),
        ("p99<3ms", Verdict::Crossed, "✗ p99 is 2.00 ms!, which is < 3.00 ms"),
        ("service.p99>1500us", Verdict::Crossed, "✗ service.p99 is 2.00 ms, which is > 1.50 ms"),
        ("floor.p99>1500us", Verdict::Passed, "✓ floor.p99 is 1.00 ms, not > 1.50 ms"),
        ("client.max>1us", Verdict::Passed, "✓ client.max is 800 ns, not > 1.00 µs"),
        ("ceiling.p50<50us", Verdict::Passed, "✓ ceiling.p50 is 107 µs, not < 50.0 µs"),
    ] {
        let result = evaluate(&results, text);
        let shown = result.to_string();
        let is_same = shown == expected || text.starts_with("ceiling") && shown.starts_with("✓ ceiling.p50 is 1");
        assert!(result.verdict == verdict && is_same, "{shown}");
    }
    results.receive_timestamps = None;
    assert_eq!(evaluate(&results, "p99>1500us").to_string(), "✗ p99 is 2.00 ms, which is > 1.50 ms");
}

/// The same server, seen once by a client that was late.
#[test]
fn lateness_may_explain_a_difference() {
    let exact = sample(20, 100, 1);
    let mut late = sample(20, 110, 2);
    let joined = |before: &RunResults, after: &RunResults| {
        let text = compare(before, after).to_string();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(!joined(&exact, &late).contains("bounded"), "a slower server");
    lower_floor(&mut late, 0.5);
    for (before, after, verdict) in [(&exact, &late, "worse (bounded)"), (&late, &exact, "better (bounded)")] {
        let text = joined(before, after);
        assert!(text.contains(verdict) && text.contains("own lateness could explain"), "{text}");
        assert!(compare(before, after).to_string().lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    assert!(compare(&exact, &late).is_worse());
    let mut user = sample(20, 100, 3);
    user.receive_timestamps = None;
    let warning = "the arrival times of replies differ: kernel timestamps before, read times after";
    assert_eq!(compare(&exact, &user).warnings, [warning]);
}
