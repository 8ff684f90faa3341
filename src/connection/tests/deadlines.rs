//! What time does to a connection.

use super::{Bench, Puppet, SECOND, lingering};
use crate::connection::{CloseReason, Limits};
use crate::service::Wait;
use std::time::{Duration, Instant};

#[test]
fn the_next_deadline_is_the_earliest() {
    let seconds = |count: Option<u32>| count.map(|count| SECOND * count);
    for (idle, service, drain, earliest) in [
        (None, None, None, None),
        (Some(1), Some(2), Some(3), Some(1)),
        (Some(2), Some(1), Some(3), Some(1)),
        (Some(3), Some(2), Some(1), Some(1)),
        (None, Some(2), Some(1), Some(1)),
        (None, None, Some(1), Some(1)),
        (Some(1), None, None, Some(1)),
    ] {
        let mut bench = Bench::new(Puppet { says: b"", waits: Wait::Input });
        let now = bench.now;
        bench.connection.service.waits = seconds(service).map_or(Wait::Input, |time| Wait::Deadline(now + time));
        bench.limits = Limits { idle: seconds(idle), ..Limits::patient() };
        bench.limits.drain_by = seconds(drain).map(|time| now + time);
        bench.serve();
        assert_eq!(bench.deadline(), seconds(earliest), "{idle:?} {service:?} {drain:?}");
    }
}

#[test]
fn a_peer_that_never_speaks_is_finished_however_long_idle_is() {
    let mut bench = Bench::new(Puppet { says: b"", waits: Wait::Input });
    bench.limits = Limits { first_byte: Some(SECOND), ..Limits::patient() };
    assert_eq!(bench.deadline(), Some(SECOND));
    bench.receive(b"x");
    assert_eq!(bench.deadline(), None, "one byte is enough");
    let mut bench = Bench::new(Puppet { says: b"", waits: Wait::Input });
    bench.limits = Limits { first_byte: Some(SECOND), ..Limits::patient() };
    bench.pass(SECOND);
    bench.shut();
    bench.connection.handle_end();
    assert_eq!(bench.connection.closed(), Some(CloseReason::FirstByteTimeout));
}

#[test]
fn who_was_spoken_to_first_need_not_speak() {
    let mut bench = Bench::new(Puppet { says: b"welcome", waits: Wait::Input });
    bench.limits = Limits { first_byte: Some(SECOND), ..Limits::patient() };
    bench.send(7);
    assert_eq!(bench.deadline(), None);
}

#[test]
fn a_write_that_goes_nowhere_is_cut_and_one_that_creeps_is_not() {
    let mut bench = Bench::new(Puppet { says: b"123", waits: Wait::Input });
    bench.limits = Limits { write: Some(SECOND * 2), ..Limits::patient() };
    assert_eq!(bench.deadline(), None, "nothing was refused yet");
    bench.connection.handle_write_blocked(bench.now);
    bench.pass(SECOND);
    bench.receive(b"what is received is no excuse");
    bench.pass(SECOND / 2);
    bench.send(1);
    bench.pass(Duration::from_nanos(1_999_999_999));
    assert_eq!(bench.connection.closed(), None, "something was taken");
    bench.pass(Duration::from_nanos(1));
    assert_eq!(bench.connection.closed(), Some(CloseReason::WriteTimeout));
}

/// What a peer has acknowledged shows at the checks, eight within a limit: it is never cut before the limit, and at the latest
/// one check after it.
#[test]
fn a_peer_that_acknowledges_something_in_time_is_not_cut() {
    let limit = SECOND * 8;
    for step in [300, 1000, 3700, 7999, 8000].map(Duration::from_millis) {
        let mut bench = Bench::new(Puppet { says: b"123", waits: Wait::Input });
        bench.limits = Limits { write: Some(limit), idle: Some(limit * 2), ..Limits::patient() };
        bench.connection.handle_write_blocked(bench.now);
        let begin = bench.now;
        let last = begin + step * 10;
        while bench.connection.closed().is_none() {
            bench.now += bench.deadline().expect("a check");
            // One byte with each step, ten in all.
            let acknowledged = (0..=10).rev().find(|&count| begin + step * count <= bench.now).unwrap_or_default();
            bench.connection.handle_delivery(acknowledged.into(), false, bench.now);
            bench.pass(Duration::ZERO);
        }
        let late = (bench.now - last).checked_sub(limit).unwrap_or_else(|| panic!("cut too early with {step:?}"));
        assert!(late <= limit / 8, "cut {late:?} late with {step:?}");
        assert_eq!(bench.connection.closed(), Some(CloseReason::WriteTimeout));
        assert!(bench.connection.is_cut());
    }
}

#[test]
fn acknowledgements_put_off_the_idle_timeout_too() {
    let mut bench = Bench::new(Puppet { says: b"123", waits: Wait::Input });
    bench.limits = Limits { idle: Some(SECOND * 8), ..Limits::patient() };
    bench.connection.handle_write_blocked(bench.now);
    for acknowledged in 1..100 {
        bench.now += bench.deadline().expect("a check");
        bench.connection.handle_delivery(acknowledged / 7, false, bench.now);
        bench.pass(Duration::ZERO);
    }
    assert_eq!(bench.connection.closed(), None);
    bench.pass(SECOND * 8);
    assert_eq!((bench.connection.closed(), bench.connection.is_cut()), (Some(CloseReason::Idle), true));
}

#[test]
fn lingering_lasts_as_long_as_the_peer_takes_what_was_sent() {
    let limits = Limits { write: Some(SECOND * 8), linger: SECOND * 5, ..Limits::patient() };
    let mut bench = lingering();
    bench.limits = limits.clone();
    for acknowledged in 1..20 {
        bench.now += bench.deadline().expect("a check");
        bench.connection.handle_delivery(acknowledged / 4, true, bench.now);
        bench.pass(Duration::ZERO);
        assert_eq!(bench.connection.closed(), None);
    }
    bench.connection.handle_delivery(20, false, bench.now);
    assert_eq!(bench.deadline(), Some(SECOND * 5), "all is delivered");
    bench.pass(SECOND * 5);
    assert_eq!((bench.connection.closed(), bench.connection.is_cut()), (Some(CloseReason::Completed), false));

    let mut bench = lingering();
    bench.limits = limits;
    bench.now += SECOND * 5;
    bench.connection.handle_delivery(1, true, bench.now);
    bench.pass(SECOND * 8);
    assert_eq!((bench.connection.closed(), bench.connection.is_cut()), (Some(CloseReason::WriteTimeout), true));
}

#[test]
fn a_lifetime_ends_in_order() {
    let mut bench = Bench::new(Puppet { says: b"123", waits: Wait::Input });
    bench.limits = Limits { lifetime: Some(SECOND), ..Limits::patient() };
    bench.pass(SECOND);
    assert_eq!(bench.connection.closed(), None, "what was answered is still sent");
    assert_eq!(bench.deadline(), None);
    bench.send(3);
    bench.shut();
    bench.connection.handle_end();
    assert_eq!(bench.connection.closed(), Some(CloseReason::Lifetime));
}

#[test]
fn while_lingering_only_linger_and_drain_count() {
    let mut bench = lingering();
    bench.limits.idle = Some(SECOND);
    assert_eq!(bench.deadline(), Some(SECOND * 5));
    bench.pass(SECOND * 4);
    assert_eq!(bench.connection.closed(), None);
    bench.limits.drain_by = Some(bench.now + SECOND / 2);
    assert_eq!(bench.deadline(), Some(SECOND / 2));
    bench.limits.drain_by = None;
    bench.pass(SECOND);
    assert_eq!(bench.connection.closed(), Some(CloseReason::Completed));
}

#[test]
fn a_service_that_has_ended_waits_for_no_instant() {
    let mut bench = Bench::new(Puppet { says: b"1", waits: Wait::Deadline(Instant::now() + SECOND) });
    bench.connection.service.waits = Wait::Close;
    bench.serve();
    assert_eq!(bench.deadline(), Some(SECOND * 10), "idle alone");
    bench.pass(SECOND * 2);
    assert!(!bench.connection.wants_service());
}

#[test]
fn a_silent_conversation_waits_for_no_instant_either() {
    let mut bench = Bench::new(Puppet { says: b"", waits: Wait::Deadline(Instant::now() + SECOND * 11) });
    bench.pass(SECOND * 10);
    bench.shut();
    assert_eq!(bench.deadline(), Some(SECOND * 5), "linger alone");
}

#[test]
fn lingering_counts_from_the_shut() {
    let mut bench = Bench::new(Puppet { says: b"bye", waits: Wait::Close });
    bench.send(3);
    bench.now += SECOND;
    bench.shut();
    assert_eq!(bench.deadline(), Some(SECOND * 5));
}

#[test]
fn bytes_that_leave_are_activity() {
    let mut bench = Bench::new(Puppet { says: b"123", waits: Wait::Input });
    bench.pass(SECOND * 9);
    bench.send(1);
    bench.pass(Duration::from_nanos(9_999_999_999));
    assert_eq!(bench.connection.closed(), None);
    bench.pass(Duration::from_nanos(1));
    assert_eq!(bench.connection.closed(), Some(CloseReason::Idle));
}

#[test]
fn a_deadline_before_its_time_changes_nothing() {
    let mut bench = Bench::new(Puppet { says: b"", waits: Wait::Input });
    bench.limits.drain_by = Some(bench.now + SECOND * 20);
    bench.pass(Duration::from_nanos(9_999_999_999));
    assert!(!bench.connection.wants_shut() && !bench.connection.wants_service());
    bench.pass(Duration::from_nanos(1));
    assert!(bench.connection.wants_shut());
}

/// The past is the earliest of all instants, and the others are checked all the same.
#[test]
fn a_service_that_waits_for_the_past_puts_no_deadline_off() {
    type Set = fn(&mut Limits, Instant);
    let limits: [(Set, CloseReason); 4] = [
        (|limits, _| limits.idle = Some(SECOND), CloseReason::Idle),
        (|limits, _| limits.lifetime = Some(SECOND), CloseReason::Lifetime),
        (|limits, _| limits.first_byte = Some(SECOND), CloseReason::FirstByteTimeout),
        (|limits, now| limits.drain_by = Some(now + SECOND), CloseReason::DrainCut),
    ];
    for wait in [Wait::Deadline, Wait::PreciseDeadline] {
        for (set, reason) in limits {
            let mut bench = Bench::new(Puppet { says: b"", waits: wait(Instant::now()) });
            bench.limits = Limits::patient();
            set(&mut bench.limits, bench.now);
            bench.serve();
            bench.pass(SECOND / 2);
            assert!(bench.connection.wants_service(), "it is called again");
            bench.serve();
            assert!(bench.deadline().is_some_and(|deadline| deadline.is_zero()), "and again with the next tick");
            assert_eq!(bench.connection.precise_deadline(), None, "not at once");
            bench.pass(SECOND / 2);
            if bench.connection.wants_shut() {
                bench.shut();
                bench.connection.handle_end();
            }
            assert_eq!(bench.connection.closed(), Some(reason));
        }
    }
}
