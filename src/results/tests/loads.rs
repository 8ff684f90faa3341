//! Rates of a load, and its shards.

use crate::results::{Load, Shard};

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
