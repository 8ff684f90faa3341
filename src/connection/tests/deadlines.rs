//! Tests of the deadlines of a connection.

use super::{Harness, SECOND, ScriptedService, lingering};
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
        let mut harness = Harness::new(ScriptedService { writes: b"", wait: Wait::Input });
        let now = harness.now;
        harness.connection.service.as_mut().expect("the service exists").wait =
            seconds(service).map_or(Wait::Input, |time| Wait::Deadline(now + time));
        harness.limits = Limits { idle: seconds(idle), ..Limits::without_timeouts() };
        harness.limits.drain_by = seconds(drain).map(|time| now + time);
        harness.serve();
        assert_eq!(harness.deadline(), seconds(earliest), "{idle:?} {service:?} {drain:?}");
    }
}

#[test]
fn a_silent_peer_times_out_regardless_of_the_idle_timeout() {
    let mut harness = Harness::new(ScriptedService { writes: b"", wait: Wait::Input });
    harness.limits = Limits { first_byte: Some(SECOND), ..Limits::without_timeouts() };
    assert_eq!(harness.deadline(), Some(SECOND));
    harness.receive(b"x");
    assert_eq!(harness.deadline(), None, "one byte is enough");
    let mut harness = Harness::new(ScriptedService { writes: b"", wait: Wait::Input });
    harness.limits = Limits { first_byte: Some(SECOND), ..Limits::without_timeouts() };
    harness.advance(SECOND);
    harness.shut();
    harness.connection.handle_end();
    assert_eq!(harness.connection.closed(), Some(CloseReason::FirstByteTimeout));
}

#[test]
fn no_first_byte_timeout_after_output_was_sent() {
    let mut harness = Harness::new(ScriptedService { writes: b"welcome", wait: Wait::Input });
    harness.limits = Limits { first_byte: Some(SECOND), ..Limits::without_timeouts() };
    harness.send(7);
    assert_eq!(harness.deadline(), None);
}

#[test]
fn a_stalled_write_times_out_and_a_slow_one_does_not() {
    let mut harness = Harness::new(ScriptedService { writes: b"123", wait: Wait::Input });
    harness.limits = Limits { write: Some(SECOND * 2), ..Limits::without_timeouts() };
    assert_eq!(harness.deadline(), None, "no write has blocked yet");
    harness.connection.handle_write_blocked(harness.now);
    harness.advance(SECOND);
    harness.receive(b"received bytes do not count");
    harness.advance(SECOND / 2);
    harness.send(1);
    harness.advance(Duration::from_nanos(1_999_999_999));
    assert_eq!(harness.connection.closed(), None, "the socket took a byte");
    harness.advance(Duration::from_nanos(1));
    assert_eq!(harness.connection.closed(), Some(CloseReason::WriteTimeout));
}

/// Acknowledgements are noticed at the checks, eight within a limit. The connection is never closed before the limit,
/// and at most one check after it.
#[test]
fn acknowledgements_in_time_prevent_the_write_timeout() {
    let limit = SECOND * 8;
    for step in [300, 1000, 3700, 7999, 8000].map(Duration::from_millis) {
        let mut harness = Harness::new(ScriptedService { writes: b"123", wait: Wait::Input });
        harness.limits = Limits { write: Some(limit), idle: Some(limit * 2), ..Limits::without_timeouts() };
        harness.connection.handle_write_blocked(harness.now);
        let begin = harness.now;
        let last = begin + step * 10;
        while harness.connection.closed().is_none() {
            harness.now += harness.deadline().expect("a check");
            // One byte is acknowledged per step, ten in all.
            let acknowledged = (0..=10).rev().find(|&count| begin + step * count <= harness.now).unwrap_or_default();
            harness.connection.handle_delivery(acknowledged.into(), false, harness.now);
            harness.advance(Duration::ZERO);
        }
        let late = (harness.now - last).checked_sub(limit).unwrap_or_else(|| panic!("closed too early with {step:?}"));
        assert!(late <= limit / 8, "closed {late:?} late with {step:?}");
        assert_eq!(harness.connection.closed(), Some(CloseReason::WriteTimeout));
        assert!(harness.connection.is_cut());
    }
}

#[test]
fn acknowledgements_postpone_the_idle_timeout() {
    let mut harness = Harness::new(ScriptedService { writes: b"123", wait: Wait::Input });
    harness.limits = Limits { idle: Some(SECOND * 8), ..Limits::without_timeouts() };
    harness.connection.handle_write_blocked(harness.now);
    for acknowledged in 1..100 {
        harness.now += harness.deadline().expect("a check");
        harness.connection.handle_delivery(acknowledged / 7, false, harness.now);
        harness.advance(Duration::ZERO);
    }
    assert_eq!(harness.connection.closed(), None);
    harness.advance(SECOND * 8);
    assert_eq!((harness.connection.closed(), harness.connection.is_cut()), (Some(CloseReason::Idle), true));
}

#[test]
fn lingering_lasts_while_the_peer_acknowledges_output() {
    let limits = Limits { write: Some(SECOND * 8), linger: SECOND * 5, ..Limits::without_timeouts() };
    let mut harness = lingering();
    harness.limits = limits.clone();
    for acknowledged in 1..20 {
        harness.now += harness.deadline().expect("a check");
        harness.connection.handle_delivery(acknowledged / 4, true, harness.now);
        harness.advance(Duration::ZERO);
        assert_eq!(harness.connection.closed(), None);
    }
    harness.connection.handle_delivery(20, false, harness.now);
    assert_eq!(harness.deadline(), Some(SECOND * 5), "all output is acknowledged");
    harness.advance(SECOND * 5);
    assert_eq!((harness.connection.closed(), harness.connection.is_cut()), (Some(CloseReason::Completed), false));

    let mut harness = lingering();
    harness.limits = limits;
    harness.now += SECOND * 5;
    harness.connection.handle_delivery(1, true, harness.now);
    harness.advance(SECOND * 8);
    assert_eq!((harness.connection.closed(), harness.connection.is_cut()), (Some(CloseReason::WriteTimeout), true));
}

#[test]
fn the_lifetime_limit_finishes_in_order() {
    let mut harness = Harness::new(ScriptedService { writes: b"123", wait: Wait::Input });
    harness.limits = Limits { lifetime: Some(SECOND), ..Limits::without_timeouts() };
    harness.advance(SECOND);
    assert_eq!(harness.connection.closed(), None, "waiting output is still sent");
    assert_eq!(harness.deadline(), None);
    harness.send(3);
    harness.shut();
    harness.connection.handle_end();
    assert_eq!(harness.connection.closed(), Some(CloseReason::Lifetime));
}

#[test]
fn only_linger_and_drain_apply_while_lingering() {
    let mut harness = lingering();
    harness.limits.idle = Some(SECOND);
    assert_eq!(harness.deadline(), Some(SECOND * 5));
    harness.advance(SECOND * 4);
    assert_eq!(harness.connection.closed(), None);
    harness.limits.drain_by = Some(harness.now + SECOND / 2);
    assert_eq!(harness.deadline(), Some(SECOND / 2));
    harness.limits.drain_by = None;
    harness.advance(SECOND);
    assert_eq!(harness.connection.closed(), Some(CloseReason::Completed));
}

#[test]
fn no_service_deadline_after_the_service_has_closed() {
    let mut harness = Harness::new(ScriptedService { writes: b"1", wait: Wait::Deadline(Instant::now() + SECOND) });
    harness.connection.service.as_mut().expect("the service exists").wait = Wait::Close;
    harness.serve();
    assert_eq!(harness.deadline(), Some(SECOND * 10), "only the idle timeout applies");
    harness.advance(SECOND * 2);
    assert!(!harness.connection.wants_service());
}

#[test]
fn no_service_deadline_after_the_idle_timeout() {
    let mut harness = Harness::new(ScriptedService { writes: b"", wait: Wait::Deadline(Instant::now() + SECOND * 11) });
    harness.advance(SECOND * 10);
    harness.shut();
    assert_eq!(harness.deadline(), Some(SECOND * 5), "only the linger time applies");
}

#[test]
fn linger_time_counts_from_the_shutdown() {
    let mut harness = Harness::new(ScriptedService { writes: b"bye", wait: Wait::Close });
    harness.send(3);
    harness.now += SECOND;
    harness.shut();
    assert_eq!(harness.deadline(), Some(SECOND * 5));
}

#[test]
fn sent_bytes_count_as_activity() {
    let mut harness = Harness::new(ScriptedService { writes: b"123", wait: Wait::Input });
    harness.advance(SECOND * 9);
    harness.send(1);
    harness.advance(Duration::from_nanos(9_999_999_999));
    assert_eq!(harness.connection.closed(), None);
    harness.advance(Duration::from_nanos(1));
    assert_eq!(harness.connection.closed(), Some(CloseReason::Idle));
}

#[test]
fn a_deadline_checked_early_changes_nothing() {
    let mut harness = Harness::new(ScriptedService { writes: b"", wait: Wait::Input });
    harness.limits.drain_by = Some(harness.now + SECOND * 20);
    harness.advance(Duration::from_nanos(9_999_999_999));
    assert!(!harness.connection.wants_shut() && !harness.connection.wants_service());
    harness.advance(Duration::from_nanos(1));
    assert!(harness.connection.wants_shut());
}

/// A past instant is the earliest of all; the other deadlines are checked nevertheless.
#[test]
fn a_past_service_deadline_postpones_no_other_deadline() {
    type Set = fn(&mut Limits, Instant);
    let limits: [(Set, CloseReason); 4] = [
        (|limits, _| limits.idle = Some(SECOND), CloseReason::Idle),
        (|limits, _| limits.lifetime = Some(SECOND), CloseReason::Lifetime),
        (|limits, _| limits.first_byte = Some(SECOND), CloseReason::FirstByteTimeout),
        (|limits, now| limits.drain_by = Some(now + SECOND), CloseReason::DrainCut),
    ];
    for wait in [Wait::Deadline, Wait::PreciseDeadline] {
        for (set, reason) in limits {
            let mut harness = Harness::new(ScriptedService { writes: b"", wait: wait(Instant::now()) });
            harness.limits = Limits::without_timeouts();
            set(&mut harness.limits, harness.now);
            harness.serve();
            harness.advance(SECOND / 2);
            assert!(harness.connection.wants_service(), "it is called again");
            harness.serve();
            assert!(harness.deadline().is_some_and(|deadline| deadline.is_zero()), "and again with the next tick");
            assert_eq!(harness.connection.precise_deadline(), None, "no precise deadline, which would expire at once");
            harness.advance(SECOND / 2);
            if harness.connection.wants_shut() {
                harness.shut();
                harness.connection.handle_end();
            }
            assert_eq!(harness.connection.closed(), Some(reason));
        }
    }
}

/// Services that extend a timeout with each message need no timer for each. When the old one expires, the deadline is
/// computed again.
#[test]
fn a_service_deadline_that_moves_away_is_noticed_when_the_old_one_expires() {
    let mut harness = Harness::new(ScriptedService { writes: b"", wait: Wait::Input });
    harness.limits = Limits::without_timeouts();
    let begin = harness.now;
    let urgent = |harness: &mut Harness<ScriptedService>, wait| {
        harness.connection.service.as_mut().expect("the service exists").wait = wait;
        harness.serve();
        harness.connection.urgent_deadline(&harness.limits).map(|instant| instant - begin)
    };
    let at = |seconds| Wait::Deadline(begin + SECOND * seconds);
    assert_eq!(urgent(&mut harness, at(5)), Some(SECOND * 5));
    assert_eq!(urgent(&mut harness, at(6)), None, "later");
    assert_eq!(urgent(&mut harness, at(6)), None, "the same");
    assert_eq!(urgent(&mut harness, at(2)), Some(SECOND * 2), "earlier");
    assert_eq!(urgent(&mut harness, at(7)), None, "later again");
    harness.advance(SECOND * 2);
    assert!(!harness.connection.wants_service(), "it is not due");
    assert_eq!(harness.connection.urgent_deadline(&harness.limits), Some(begin + SECOND * 7));
    assert_eq!(urgent(&mut harness, Wait::Input), None);
    assert_eq!(urgent(&mut harness, at(9)), Some(SECOND * 9), "after another wait");
}

/// Deadlines that expire together are handled in their order: the one that closes decides the reason.
#[test]
fn the_first_of_several_expired_deadlines_gives_the_reason() {
    let mut harness = Harness::new(ScriptedService { writes: b"123", wait: Wait::Input });
    harness.limits = Limits { write: Some(SECOND), idle: Some(SECOND), ..Limits::without_timeouts() };
    harness.limits.drain_by = Some(harness.now + SECOND);
    harness.connection.handle_write_blocked(harness.now);
    harness.advance(SECOND);
    assert_eq!(harness.connection.closed(), Some(CloseReason::DrainCut));
}

#[test]
fn only_acknowledgements_that_can_extend_a_deadline_are_read() {
    let mut open = Harness::new(ScriptedService { writes: b"123", wait: Wait::Input });
    assert!(!open.connection.wants_delivery(&open.limits), "no output waits");
    open.connection.handle_write_blocked(open.now);
    assert!(open.connection.wants_delivery(&open.limits));
    let lingering = lingering();
    let wants = |limits: Limits| lingering.connection.wants_delivery(&limits);
    let (linger, limit) = (SECOND, Some(SECOND));
    assert!(wants(Limits { linger, write: limit, ..Limits::without_timeouts() }));
    assert!(wants(Limits { linger, idle: limit, ..Limits::without_timeouts() }));
    assert!(!wants(Limits { linger, ..Limits::without_timeouts() }), "nothing limits a stalled peer");
    assert!(!wants(Limits { linger: Duration::ZERO, write: limit, ..Limits::without_timeouts() }));
}
