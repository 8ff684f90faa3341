//! Plots: the percentile curve of `show`, the page of `compare --html`, and the lines of `csv`.

use super::support::{Program, expect_refusal};
use super::{file, report, sample};
use multiconn::results::RunResults;
use std::fs;

#[test]
fn show_draws_the_percentile_curve() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = sample(10, 100);
    run.histograms.service_time.record(std::time::Duration::from_millis(80));
    run.histograms.response_time.record(std::time::Duration::from_millis(80));
    let exit = report(&["show", &file(&folder, "run.json", &run)]);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let start = exit.stdout.iter().position(|line| line.trim() == "Response time (ms, logarithmic)").unwrap();
    let plot = &exit.stdout[start + 1..];
    assert!(exit.stdout.iter().all(|line| line.chars().count() <= 80), "{exit:#?}");
    let rows: Vec<&str> = plot.iter().filter_map(|line| line.split_once(" |")).map(|(_, row)| row).collect();
    assert_eq!(rows.len(), 12, "{plot:#?}");
    // From a low time at the left end to the longest at the right.
    let first = rows.iter().position(|row| row.starts_with('*')).unwrap();
    assert!(first > 6 && rows[0].ends_with(" *"), "{plot:#?}");
    assert!(plot[0].trim_start().starts_with("100 |"), "{plot:#?}");
    assert!(plot[first].trim_start().starts_with("0.1 |"), "{plot:#?}");
    let axis = plot[13].split_whitespace().collect::<Vec<_>>();
    assert_eq!(axis, ["0", "50", "90", "99", "99.9"], "{plot:#?}");
    // Without replies there is nothing to draw.
    let exit = report(&["show", &file(&folder, "empty.json", &RunResults::of("multiconn-client 1.2.3"))]);
    assert!(exit.code == Some(0) && !exit.stdout.iter().any(|line| line.contains('|')), "{exit:#?}");
}

#[test]
fn compare_makes_a_page_of_both_runs() {
    let folder = tempfile::tempdir().unwrap();
    let [before, after] = [("before.json", 100), ("after.json", 300)].map(|(name, micros)| {
        let mut results = sample(10, micros);
        results.targets = vec!["<b>a server</b>".to_owned()];
        file(&folder, name, &results)
    });
    let path = folder.path().join("both.html").display().to_string();
    let exit = report(&["compare", &before, &after, "--html", &path, "--fail-if-worse"]);
    assert_eq!(exit.code, Some(3), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("worse")), "the table is printed: {exit:#?}");
    let page = fs::read_to_string(&path).unwrap();
    assert_eq!(page.matches("<svg class=\"chart\"").count(), 3, "{page}");
    assert_eq!(page.matches(">before</li>").count(), 3, "{page}");
    assert!(page.contains("<strong>Worse.</strong>") && page.contains("p50: before 1"), "{page}");
    assert!(!page.contains("<b>") && page.contains("&lt;b&gt;a server"), "{page}");
    let exit = report(&["compare", &before, &after, "--html", "-"]);
    assert_eq!((exit.code, exit.stdout.join("\n").trim_end()), (Some(0), page.trim_end()));
    expect_refusal(Program::report(&["compare", &before, &after, "--html", &after]), 2, &["after.json", "overwritten"]);
}

#[test]
fn csv_has_a_line_per_interval() {
    let folder = tempfile::tempdir().unwrap();
    let mut results = sample(3, 100);
    results.intervals[2].latency = multiconn::results::Latencies::default().pack();
    let run = file(&folder, "run.json", &results);
    let exit = report(&["csv", &run]);
    assert_eq!((exit.code, exit.stdout.len()), (Some(0), 4), "{exit:#?}");
    let headings: Vec<&str> = exit.stdout[0].split(',').collect();
    let second: Vec<&str> = exit.stdout[2].split(',').collect();
    let value = |name: &str| second[headings.iter().position(|heading| *heading == name).unwrap()];
    let expected = &results.intervals[1];
    assert_eq!((value("start_s"), value("sent"), value("open")), ("1", "500", "10"));
    assert_eq!(value("p99_ns"), expected.latency.p99_ns.to_string());
    assert!(exit.stdout[3].ends_with(",0,,,,,"), "no latency without replies: {exit:#?}");
    let path = folder.path().join("run.csv").display().to_string();
    assert_eq!(report(&["csv", &run, "-o", &path]).code, Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap().lines().collect::<Vec<_>>(), exit.stdout);
}
