//! Titles and scales of the charts, and names of the tiles.

use super::scale::Scale;
use super::{charts, figures, html_report};
use crate::results::{Datagrams, LoadKind, RunResults};
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
    results.intervals.push(crate::results::Interval { seconds: 1.0, open: 1, latency, ..Default::default() });
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
