//! Titles and scales of the charts, and names of the tiles.

use super::scale::Scale;
use super::{charts, figures, html_report};
use crate::results::{Datagrams, Interval, LoadKind, RunResults};
use std::time::Duration;

/// A run of one second with a reply after 3 ms, which was sent 1 ms after it was due.
fn run(kind: LoadKind) -> RunResults {
    let mut results = RunResults::of("multiconn-client");
    results.load.kind = kind;
    let times = &mut results.histograms;
    times.service_time.record(Duration::from_millis(2));
    if kind == LoadKind::Open {
        times.response_time.record(Duration::from_millis(3));
    }
    let latency = results.latency().pack();
    results.intervals.push(Interval { seconds: 1.0, open: 1, latency, ..Default::default() });
    results
}

fn titles(results: &RunResults) -> Vec<String> {
    charts::charts(results, false).iter().flat_map(|chart| [chart.y.title(), chart.x.title()]).collect()
}

#[test]
fn each_tile_names_its_latency() {
    for (kind, name) in [(LoadKind::Open, "Response time"), (LoadKind::Closed, "Service time")] {
        let html = figures(&run(kind), &[]);
        for quantile in ["p50", "p99", "p99.9", "max"] {
            assert!(html.contains(&format!("<dt>{name} {quantile}</dt>")), "{html}");
        }
    }
    let mut results = run(LoadKind::Closed);
    std::mem::swap(&mut results.histograms.first_byte, &mut results.histograms.service_time);
    assert!(figures(&results, &[]).contains("<dt>First byte p50</dt><dd>2.00 ms</dd>"));
}

#[test]
fn axes_have_titles_with_units() {
    let time = "Time since the start of the measurement (s)";
    let share = "Share of replies (%, logarithmic towards 100 %)";
    let (rate, open) = ("Rate (messages/s)", "Open at the end of the second (connections)");
    let response = "Response time (ms, logarithmic)";
    let expected = ["Latency (ms, logarithmic)", share, response, time, rate, time, open, time];
    assert_eq!(titles(&run(LoadKind::Open)), expected);
    let html = html_report(&run(LoadKind::Open));
    assert!(expected.iter().all(|title| html.contains(&format!(">{title}</p>"))), "{html}");
    let service = "Service time (ms, logarithmic)";
    let mut results = run(LoadKind::Closed);
    assert_eq!(titles(&results)[..4], [service, share, service, time]);
    results.datagrams = Some(Datagrams::default());
    assert_eq!(titles(&results)[6], "Open at the end of the second (sockets)");
}

#[test]
fn the_unit_of_a_time_axis_fits_its_labels() {
    let labels = |low, high| {
        let scale = Scale::of_times(low, high);
        (scale.unit, scale.ticks.into_iter().map(|(_, label)| label).collect::<Vec<_>>())
    };
    let expect = |low, high, unit: &str, names: &[&str]| {
        assert_eq!(
            labels(low, high),
            (format!("{unit}, logarithmic"), names.iter().map(ToString::to_string).collect())
        );
    };
    expect(30.0, 90.0, "ns", &["20", "50", "100"]);
    expect(2e6, 9e6, "ms", &["2", "5", "10"]);
    expect(20e3, 1e6, "ms", &["0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
    expect(200.0, 1e6, "\u{b5}s", &["1", "10", "100", "1000"]);
    expect(1e6, 4e9, "s", &["0.001", "0.01", "0.1", "1"]);
}

#[test]
fn a_count_has_no_fractions() {
    let labels = |max| Scale::from_zero(max, 1.0, "connections").ticks.into_iter().map(|(_, label)| label);
    assert_eq!(labels(1.0).collect::<Vec<_>>(), ["0", "1"]);
    assert_eq!(labels(50.0).collect::<Vec<_>>(), ["0", "10", "20", "30", "40", "50"]);
}

#[test]
fn a_label_of_a_short_run_occurs_once() {
    for high in [0.0, 0.001, 0.002, 0.005, 0.3] {
        let ticks = Scale::over_time(0.0, high).ticks;
        assert!(ticks.len() >= 2 && ticks.windows(2).all(|pair| pair[0].1 < pair[1].1), "{ticks:?}");
    }
}

/// Places and labels of the ticks.
fn ticks(scale: &Scale) -> Vec<(f64, &str)> {
    scale.ticks.iter().map(|(place, label)| ((place * 1e6).round() / 1e6, label.as_str())).collect()
}

fn places<const N: usize>(scale: &Scale, values: [f64; N]) -> [String; N] {
    values.map(|value| format!("{:.1}", scale.place(value)))
}

#[test]
fn a_linear_scale_ends_with_a_round_value() {
    let scale = Scale::from_zero(4.2e6, 0.0, "messages/s");
    assert_eq!(ticks(&scale), [(0.0, "0"), (0.2, "1 M"), (0.4, "2 M"), (0.6, "3 M"), (0.8, "4 M"), (1.0, "5 M")]);
    assert_eq!(places(&scale, [-1.0, 0.0, 1e6, 2.5e6, 9e6]), ["0.0", "0.0", "0.2", "0.5", "1.0"]);
    let labels = |max| Scale::from_zero(max, 0.0, "").ticks.into_iter().map(|(_, label)| label).collect::<Vec<_>>();
    assert_eq!(labels(5000.0), ["0", "1 k", "2 k", "3 k", "4 k", "5 k"]);
    assert_eq!(labels(2000.0), ["0", "500", "1 k", "1.5 k", "2 k"]);
    assert_eq!(labels(0.9), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
    assert_eq!(ticks(&Scale::from_zero(0.0, 1.0, "connections")), [(0.0, "0"), (1.0, "1")]);
}

#[test]
fn a_time_scale_covers_its_run() {
    let expected = [(0.0, "0"), (0.2, "2"), (0.4, "4"), (0.6, "6"), (0.8, "8"), (1.0, "10")];
    assert_eq!(ticks(&Scale::over_time(0.0, 10.0)), expected);
    // The first tick is the first round time.
    assert_eq!(
        ticks(&Scale::over_time(103.0, 113.0)),
        [(0.1, "104"), (0.3, "106"), (0.5, "108"), (0.7, "110"), (0.9, "112")]
    );
    let scale = Scale::over_time(3.0, 13.0);
    assert_eq!(places(&scale, [3.0, 8.0, 13.0]), ["0.0", "0.5", "1.0"]);
    assert_eq!(ticks(&Scale::over_time(0.0, 0.0)), [(0.0, "0"), (1.0, "0.001")]);
}

#[test]
fn a_logarithmic_scale_has_equal_distances_for_equal_ratios() {
    let scale = Scale::of_times(1e3, 1e7);
    let labels = [(0.0, "0.001"), (0.25, "0.01"), (0.5, "0.1"), (0.75, "1"), (1.0, "10")];
    assert_eq!((ticks(&scale), scale.unit.as_str()), (labels.to_vec(), "ms, logarithmic"));
    assert_eq!(places(&scale, [0.0, 1e3, 1e7, 1e8]), ["0.0", "0.0", "1.0", "1.0"]);
    // Seven ticks are kept, eight are not.
    assert_eq!(Scale::of_times(1e6, 1e8).ticks.len(), 7);
    assert_eq!(Scale::of_times(1e6, 2e8).ticks.len(), 3);
    // Both ends are rounded outwards.
    assert_eq!(ticks(&Scale::of_times(2.4e6, 4.2e6)), [(0.0, "2"), (1.0, "5")]);
    assert_eq!(ticks(&Scale::of_times(0.0, 0.0)), [(0.0, "1"), (1.0, "2")]);
}

#[test]
fn a_quantile_scale_ends_with_the_number_of_values() {
    let scale = Scale::of_quantiles(10_000);
    let expected = [(0.0, "0"), (0.075_257, "50"), (0.25, "90"), (0.5, "99"), (0.75, "99.9"), (1.0, "99.99")];
    assert_eq!(ticks(&scale), expected);
    assert_eq!(ticks(&Scale::of_quantiles(100)), [(0.0, "0"), (0.150_515, "50"), (0.5, "90"), (1.0, "99")]);
}

/// In a narrow window, labels that would touch the one before are hidden.
#[test]
fn labels_that_touch_are_minor() {
    let mut results = run(LoadKind::Open);
    results.histograms.response_time.record_many_nanos(3_000_000, 10_000_000);
    let html = html_report(&results);
    let minor = html.split("<text class=\"x minor\"").skip(1).filter_map(|rest| rest.split(['>', '<']).nth(1));
    let minor: Vec<_> = minor.filter(|label| label.starts_with("99")).collect();
    assert_eq!(minor, ["99.999", "99.99999"]);
}

#[test]
fn a_rest_of_a_second_is_not_drawn() {
    let mut results = run(LoadKind::Open);
    let drawn = |results: &RunResults| {
        let charts = charts::charts(results, false);
        let rate = charts.iter().find(|chart| chart.y.name == "Rate").expect("it is drawn");
        rate.lines[0].points.iter().map(|point| point.0).collect::<Vec<_>>()
    };
    results.intervals.push(Interval { start_s: 1.0, seconds: 0.4, ..Interval::default() });
    assert_eq!(drawn(&results), [0.5]);
    results.intervals[1].seconds = 0.5;
    assert_eq!(drawn(&results), [0.5, 1.25]);
    // All there is.
    results.intervals = vec![Interval { seconds: 0.2, ..Interval::default() }];
    assert_eq!(drawn(&results), [0.1]);
}

#[test]
fn at_most_600_intervals_have_tooltips() {
    let mut results = run(LoadKind::Open);
    for (count, has_tooltips) in [(600_u32, true), (601, false), (900, false)] {
        let second = results.intervals[0].clone();
        results.intervals = (0..count).map(|start| Interval { start_s: start.into(), ..second.clone() }).collect();
        let has = charts::charts(&results, false).iter().any(|chart| !chart.tooltips.is_empty());
        assert_eq!(has, has_tooltips, "{count}");
    }
}
