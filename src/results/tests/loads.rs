//! Rates of a load, and its shards.

use crate::results::{Histograms, Load, LoadKind, LoadStart, RunResults, Shard};

#[test]
fn a_ramp_changes_the_rate_over_the_duration() {
    let load = |ramp_to, duration_s| Load { rate: Some(100.0), ramp_to, duration_s, ..Load::default() };
    for (load, seconds, rate) in [
        (load(Some(300.0), Some(4.0)), 0.0, 100.0),
        (load(Some(300.0), Some(4.0)), 1.0, 150.0),
        (load(Some(300.0), Some(4.0)), 4.0, 300.0),
        (load(Some(300.0), Some(4.0)), 8.0, 300.0),
        (load(Some(50.0), Some(4.0)), 2.0, 75.0),
        (load(Some(300.0), Some(0.0)), 1.0, 100.0),
        (load(Some(300.0), None), 1.0, 100.0),
        (load(None, Some(4.0)), 1.0, 100.0),
    ] {
        assert_eq!(load.rate_at(seconds), Some(rate), "{load:?} after {seconds} s");
    }
    assert_eq!(Load::default().rate_at(1.0), None);
    assert_eq!(load(Some(300.0), Some(0.0)).required(2.0), Some(200.0), "a ramp without time");
}

#[test]
fn a_schedule_a_duration_or_a_start_makes_a_load() {
    let mut results = RunResults::of("x");
    assert!(!results.is_load());
    results.start = Some(LoadStart::default());
    assert!(!results.is_load(), "it was to begin at once");
    results.start = Some(LoadStart { requested: Some(results.started), ..LoadStart::default() });
    assert!(results.is_load());
    results.start = None;
    results.load.duration_s = Some(1.0);
    assert!(results.is_load());
    results.load = Load { kind: LoadKind::Open, ..Load::default() };
    assert!(results.is_load());
}

#[test]
fn without_time_there_is_no_rate() {
    let mut results = RunResults::of("x");
    results.messages.answered = 5;
    assert_eq!(format!("{:?}", results.rate()), "0.0");
}

/// Those of the connections stay.
#[test]
fn times_of_messages_can_be_cleared() {
    let mut histograms = Histograms::default();
    let counts = |histograms: &mut Histograms| {
        histograms.pairs(&Histograms::default()).map(|(name, times, _)| (name, times.count()))
    };
    for (_, times, _) in histograms.pairs(&Histograms::default()) {
        times.record_nanos(1000);
    }
    assert!(counts(&mut histograms).iter().all(|(_, count)| *count == 1));
    histograms.clear_messages();
    let left: Vec<_> = counts(&mut histograms).into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(left, [("connect", 1), ("handshake", 1)]);
}

#[test]
fn shards_are_numbered_from_0() {
    let check = |index, count| Shard { index, count }.check();
    assert_eq!([check(0, 1), check(0, 8), check(7, 8)], [Ok(()), Ok(()), Ok(())]);
    assert_eq!(check(0, 0), Err("a load of 0 shards has no part; give one such as 0/8".to_owned()));
    let text = "there is no shard 8 of 8: they are numbered from 0 to 7; give one such as 7/8";
    assert_eq!(check(8, 8), Err(text.to_owned()));
}

#[test]
fn shards_divide_the_connections() {
    let parts =
        |connections, count| (0..count).map(|index| Shard { index, count }.part_of(connections)).collect::<Vec<_>>();
    assert_eq!(parts(10, 4), [3, 3, 2, 2]);
    assert_eq!(parts(2, 3), [1, 1, 0]);
    assert_eq!(parts(5, 1), [5]);
}
