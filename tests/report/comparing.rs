//! `multiconn-report compare`: its table and exit status.

use super::support::{Exit, Program, expect_refusal};
use super::{file, report, sample};
use multiconn::results::RunResults;

/// The verdict of the row for `metric`.
#[track_caller]
fn verdict(exit: &Exit, metric: &str) -> String {
    let line = exit.stdout.iter().find(|line| line.split_whitespace().next() == Some(metric));
    let line = line.unwrap_or_else(|| panic!("no {metric} in {exit:#?}"));
    line.rsplit("  ").next().unwrap().to_owned()
}

#[test]
fn slower_run_is_worse_and_fails_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (file(&folder, "a.json", &sample(10, 100)), file(&folder, "b.json", &sample(10, 120)));
    let exit = report(&["compare", &a, &b]);
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert_eq!((verdict(&exit, "p50"), verdict(&exit, "p99")), ("worse".to_owned(), "worse".to_owned()));
    assert_eq!(verdict(&exit, "rate"), "within the noise");
    assert!(exit.stdout.iter().all(|line| line.chars().count() <= 80), "{exit:#?}");
    assert_eq!(report(&["compare", "--fail-if-worse", &a, &b]).code, Some(3));
    assert_eq!(report(&["compare", "--fail-if-worse", &b, &a]).code, Some(0));
    assert_eq!(verdict(&report(&["compare", &b, &a]), "p50"), "better");
}

#[test]
fn warnings_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let (before, mut after) = (sample(4, 100), sample(10, 100));
    after.configuration.set("connections", 20);
    after.messages.due = Some(1_000_000);
    after.finalize();
    let exit = report(&["compare", &file(&folder, "a.json", &before), &file(&folder, "b.json", &after)]);
    assert!(exit.stdout[0].starts_with("WARNING: the run after is NOT VALID"), "{exit:#?}");
    let differs = "WARNING: the setting connections differs: 10 before, 20 after";
    assert!(exit.stdout.iter().any(|line| line == differs), "{exit:#?}");
    assert_eq!(verdict(&exit, "p50"), "too few intervals");
}

/// An inconclusive comparison fails.
#[test]
fn inconclusive_runs_fail_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let good = file(&folder, "good.json", &sample(10, 100));
    let mut dead = RunResults::of("multiconn-client 1.2.3");
    dead.errors.insert("refused".to_owned(), 10);
    let mut invalid = sample(10, 100);
    invalid.messages.due = Some(1_000_000);
    invalid.finalize();
    let mut lost = sample(10, 100);
    (lost.connections.completed, lost.connections.failed) = (0, 10);
    lost.finalize();
    let mut half = sample(10, 100);
    (half.connections.completed, half.connections.failed, half.messages.lost) = (9, 1, 1);
    half.errors.insert("closed_early".to_owned(), 1);
    half.finalize();
    let both = "inconclusive: the run after lost 1 of 10 connections and 1 of 5,001 messages, and the run before none";
    let half_file = file(&folder, "half.json", &half);
    let exit = report(&["compare", "--fail-if-worse", &good, &half_file]);
    assert_eq!((exit.code, exit.stderr), (Some(3), vec![both.to_owned()]));
    // Equal losses of both runs leave the verdict to the numbers.
    assert_eq!(report(&["compare", "--fail-if-worse", &half_file, &half_file]).code, Some(0));
    for (name, results, reason) in [
        ("dead.json", &dead, "inconclusive: the run after measured no reply"),
        ("invalid.json", &invalid, "inconclusive: the run after is not valid: client-limited"),
        ("lost.json", &lost, "inconclusive: the run after lost every connection"),
        ("short.json", &sample(4, 100), "inconclusive: the run after is too short: it has 4 intervals"),
    ] {
        let bad = file(&folder, name, results);
        let exit = report(&["compare", "--fail-if-worse", &good, &bad]);
        assert_eq!((exit.code, exit.stderr.len()), (Some(3), 1), "{exit:#?}");
        assert!(exit.stderr[0].starts_with(reason), "{exit:#?}");
        assert!(exit.stdout.iter().any(|line| line.trim_start().starts_with("p50")), "the table is printed: {exit:#?}");
        assert_eq!(report(&["compare", "--fail-if-worse", &bad, &good]).code, Some(3));
        assert_eq!(report(&["compare", &good, &bad]).code, Some(0));
        let exit = report(&["compare", "--fail-if-worse", "--allow-inconclusive", &good, &bad]);
        assert_eq!((exit.code, exit.stderr.len()), (Some(0), 1), "{exit:#?}");
    }
    let worse = file(&folder, "worse.json", &sample(10, 120));
    assert_eq!(report(&["compare", "--fail-if-worse", "--allow-inconclusive", &good, &worse]).code, Some(3));
    expect_refusal(Program::report(&["compare", "--allow-inconclusive", &good, &good]), 2, &["--fail-if-worse"]);
}
