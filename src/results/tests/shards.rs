//! Shards of one load are checked before their sum is believed.

use super::{STARTED, sample};
use crate::results::shard_check::differences;
use crate::results::{Configuration, LoadStart, Merger, RunResults, Shard, Timestamp, merge};
use std::time::Duration;

/// Shard `index` of `count`, of a load of 10 seconds that began `late_ms` after the others.
fn shard(index: usize, count: usize, late_ms: u64) -> RunResults {
    let mut results = sample(10, 100, index as u64 + 1);
    results.run_ids = vec![format!("{index}-{late_ms}")];
    results.shard = Some(Shard { index, count });
    results.configuration.set("shard", format!("{index}/{count}"));
    results.machine.host = Some(format!("node-{index}"));
    // The connections were opened before.
    let began = Some(Timestamp::after_1970(STARTED + Duration::from_millis(3000 + late_ms)));
    results.start = Some(LoadStart { began, ..LoadStart::default() });
    results.finalize();
    results
}

/// What is wrong with these runs as `count` shards.
fn problems(runs: &[RunResults], count: usize) -> Vec<String> {
    let mut merger = Merger::default();
    for run in runs {
        merger.add(run).expect("one kind");
    }
    merger.check_shards(count).iter().map(ToString::to_string).collect()
}

#[test]
fn complete_shards_are_one_load() {
    let runs: Vec<_> = (0..8).rev().map(|index| shard(index, 8, 30 * index as u64)).collect();
    assert_eq!(problems(&runs, 8), [""; 0]);
    let merged = merge(&runs).expect("one kind");
    assert_eq!((merged.runs, merged.shard, merged.load.rate), (8, None, Some(8000.0)));
    assert_eq!((merged.machine.host.as_deref(), merged.notes.len()), (None, 0));
    let start = merged.start.expect("all have one");
    assert_eq!((start.began, start.requested), (Some(Timestamp::after_1970(STARTED + Duration::from_secs(3))), None));
    assert!(start.skew_s.is_some_and(|skew| (skew - 0.21).abs() < 1e-9), "{start:?}");
    assert!((merged.measured_s - 10.21).abs() < 1e-9 && merged.intervals.len() == 10, "{merged:?}");
    assert!(merged.to_string().contains("start        within 210 ms by the clocks of the machines"), "{merged}");
}

#[test]
fn requested_start_and_lateness_are_kept() {
    let mut runs = [shard(0, 2, 0), shard(1, 2, 0)];
    for (run, late_s) in runs.iter_mut().zip([0.001, 0.004]) {
        let start = run.start.as_mut().expect("it has one");
        (start.requested, start.late_s, start.clock_error_s) = (start.began, Some(late_s), Some(late_s * 3.0));
    }
    let merged = merge(&runs).expect("one kind");
    assert!(merged.to_string().contains("(each ± 12.0 ms at most)"), "{merged}");
    runs[0].start.as_mut().expect("it has one").clock_error_s = None;
    let start = merge(&runs).expect("one kind").start.expect("both have one");
    assert_eq!(
        (start.requested, start.began, start.late_s),
        (start.requested, Some(Timestamp::after_1970(STARTED + Duration::from_secs(3))), Some(0.004))
    );
    assert!(start.skew_s.is_some_and(|skew| (skew - 0.003).abs() < 1e-9), "{start:?}");
    assert_eq!(start.clock_error_s, None, "one clock is not synchronized");
}

#[test]
fn wrong_shards_are_named() {
    let of = |indices: &[usize]| indices.iter().map(|index| shard(*index, 4, 0)).collect::<Vec<_>>();
    let changed = |change: fn(&mut RunResults)| {
        let mut runs = of(&[0, 1, 2, 3]);
        change(&mut runs[2]);
        runs
    };
    assert_eq!(problems(&of(&[0, 1, 3]), 4), ["shard 2 of 4 is missing"]);
    assert_eq!(problems(&of(&[1]), 4), ["shards 0, 2 and 3 of 4 are missing"]);
    assert_eq!(
        problems(&of(&[0]), 40),
        [
            "run 1: shard 0 of 4 on node-0 is not one of 40",
            "shards 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 30 others of 40 are missing"
        ]
    );
    let mut twice = of(&[0, 1, 2, 3, 1]);
    twice[4].run_ids = vec!["again".to_owned()];
    assert_eq!(problems(&twice, 4), ["run 5: shard 1 of 4 on node-1 was given before: two runs have this number"]);
    assert_eq!(
        problems(
            &changed(|run| {
                run.configuration.set("rate", "2k");
                run.configuration.set("workers", 3);
                run.configuration.set("json", "b.json");
                run.configuration.set("hold", "1s");
            }),
            4
        ),
        [
            "run 3: shard 2 of 4 on node-2 is configured differently from the first run: hold is 1s, not none, rate is 2k, not 1k"
        ]
    );
    let whole = changed(|run| run.shard = None);
    assert_eq!(problems(&whole, 4)[0], "run 3: the run on node-2 is no shard: it sent a whole load");
    assert_eq!(problems(&[], 1), ["shard 0 of 1 is missing"]);
}

#[test]
fn shards_that_were_not_measured_together_are_named() {
    let together = "all shards were measured together in";
    let late = [shard(0, 3, 0), shard(1, 3, 2300), shard(2, 3, 0)];
    assert_eq!(
        problems(&late, 3),
        [format!(
            "run 2: shard 1 of 3 on node-1 began 2.30 s after shard 0: {together} 63 % of the time, and 95 % are needed"
        )]
    );
    let mut short = [shard(0, 3, 0), shard(1, 3, 0), shard(2, 3, 0)];
    short[2].measured_s = 9.0;
    assert_eq!(
        problems(&short, 3),
        [format!(
            "run 3: shard 2 of 3 on node-2 ended 1.00 s before shard 1: {together} 90 % of the time, and 95 % are needed"
        )]
    );
    short[2].measured_s = 9.6;
    assert_eq!(problems(&short, 3), [""; 0]);
    short[1].start = Some(LoadStart::default());
    assert_eq!(problems(&short, 3), ["run 2: shard 1 of 3 on node-1 measured nothing: its load did not begin"]);
}

#[test]
fn reasons_of_a_shard_name_it() {
    let mut runs = [shard(0, 3, 0), shard(1, 3, 0)];
    runs[1].messages.due = runs[1].messages.due.map(|due| due * 2);
    runs[1].finalize();
    let merged = merge(&runs).expect("one kind");
    assert!(merged.reasons.iter().any(|reason| reason.starts_with("shard 1 of 3: client-limited")), "{merged:?}");
    assert_eq!(merged.notes, ["shard 2 of 3 is missing"]);
    let alone = merge(&runs[..1]).expect("one kind");
    assert_eq!(alone.notes, [""; 0], "one shard is not a merged load");
}

/// A long value is shown in part.
#[test]
fn differing_options_are_shown_with_40_characters() {
    let with = |message: &str| {
        let mut configuration = Configuration::default();
        configuration.set("message", message);
        configuration
    };
    for (length, shown) in [(40, "x".repeat(40)), (41, "x".repeat(40) + "…"), (50, "x".repeat(40) + "…")] {
        let found = differences(&with("y"), &with(&"x".repeat(length)));
        assert_eq!(found, [format!("message is {shown}, not y")]);
    }
}

#[test]
fn a_load_is_missed_if_it_had_to_begin_and_did_not() {
    let instant = Some(Timestamp::after_1970(STARTED));
    let missed = |requested, began| LoadStart { requested, began, ..LoadStart::default() }.was_missed();
    assert_eq!([missed(instant, None), missed(instant, instant), missed(None, None)], [true, false, false]);
}
