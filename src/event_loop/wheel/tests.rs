//! Tests of the timer wheel: comparison with a plain list of deadlines, and the memory of cancelled timers.

use super::{EXPIRED, Key, LAST_TICK, Node, SLOTS, Timer, Wheel};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(1);

fn expired(wheel: &mut Wheel, now: Instant) -> Vec<u32> {
    wheel.advance(now);
    std::iter::from_fn(|| wheel.next_due()?.key().as_fixed()).collect()
}

/// Checks that every list can be walked both ways and that exactly the occupied slots are marked. Returns the number of
/// armed entries.
fn check(wheel: &Wheel) -> usize {
    let mut armed = 0;
    assert_eq!(wheel.next_tick, wheel.start + Duration::from_millis(wheel.now + 1));
    for list in 0..=EXPIRED {
        let (mut node, first) = (list, armed);
        loop {
            let next = wheel.nodes[node as usize].next;
            assert_eq!(wheel.nodes[next as usize].previous, node);
            if next == list {
                break;
            }
            (node, armed) = (next, armed + 1);
        }
        if list < EXPIRED {
            let (level, slot) = (list as usize / SLOTS, list as usize % SLOTS);
            assert_eq!(wheel.occupied[level] >> slot & 1 == 1, armed > first, "level {level}, slot {slot}");
        }
    }
    armed
}

#[derive(Debug, Clone)]
enum Step {
    /// Arms this timer for that many microseconds from now.
    Arm(usize, u64),
    Cancel(usize),
    /// Lets that many microseconds pass.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let delay = prop_oneof![0u64..5_000, 0u64..400_000_000, 0u64..100_000_000_000_000];
    prop_oneof![
        3 => (0usize..20, delay).prop_map(|(timer, micros)| Step::Arm(timer, micros)),
        1 => (0usize..20).prop_map(Step::Cancel),
        2 => prop_oneof![0u64..3_000, 0u64..30_000_000, 0u64..10_000_000_000].prop_map(Step::Pass),
    ]
}

proptest! {
    /// Every entry expires once for its earliest deadline. It is not reported before that deadline, nor later than the
    /// first call at or after it. A cancelled entry is never reported.
    #[test]
    fn expires_in_time(steps in proptest::collection::vec(step(), 1..200)) {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let mut timers: Vec<Timer> = (0..20).map(|_| Timer::default()).collect();
        let mut deadlines: Vec<Option<Instant>> = vec![None; 20];
        let (mut now, mut advanced_ms) = (start, 0);
        for step in steps {
            match step {
                Step::Arm(timer, micros) => {
                    let deadline = now + Duration::from_micros(micros);
                    wheel.arm(&mut timers[timer], Key::fixed(u32::try_from(timer).expect("few")), Some(deadline));
                    deadlines[timer] = Some(deadlines[timer].map_or(deadline, |armed| armed.min(deadline)));
                }
                Step::Cancel(timer) => {
                    wheel.cancel(&mut timers[timer]);
                    deadlines[timer] = None;
                }
                Step::Pass(micros) => {
                    let before = wheel.time_left().map(|left| start + Duration::from_millis(advanced_ms) + left);
                    now += Duration::from_micros(micros);
                    advanced_ms = u64::try_from((now - start).as_millis()).expect("a short test");
                    let expired = expired(&mut wheel, now);
                    prop_assert!(expired.is_empty() || before.is_some_and(|next| next <= now), "reported too late");
                    for key in expired {
                        let deadline = deadlines[key as usize].take();
                        prop_assert!(deadline.is_some_and(|deadline| deadline <= now), "{key} came up early or twice");
                    }
                    prop_assert!(deadlines.iter().flatten().all(|deadline| *deadline + TICK * 2 > now));
                }
            }
            prop_assert_eq!(check(&wheel), deadlines.iter().flatten().count());
        }
    }
}

#[test]
fn a_later_deadline_costs_nothing_and_an_earlier_one_moves_the_entry() {
    let start = Instant::now();
    let (mut wheel, mut timer) = (Wheel::new(start), Timer::default());
    let after = |millis| Some(start + Duration::from_millis(millis));
    wheel.arm(&mut timer, Key::fixed(7), after(50));
    wheel.arm(&mut timer, Key::fixed(8), after(90));
    wheel.arm(&mut timer, Key::fixed(8), after(50));
    wheel.arm(&mut timer, Key::fixed(7), after(20));
    assert_eq!(expired(&mut wheel, start + Duration::from_millis(20)), [7]);
    assert_eq!(expired(&mut wheel, start + Duration::from_millis(99)), [0; 0]);
    assert_eq!(wheel.time_left(), None);
}

#[test]
fn the_time_left_and_the_deadline_are_those_of_the_tick() {
    let start = Instant::now();
    let (mut wheel, mut timer) = (Wheel::new(start), Timer::default());
    let after = |micros| start + Duration::from_micros(micros);
    wheel.advance(after(10_000));
    wheel.arm(&mut timer, Key::fixed(7), Some(after(30_500)));
    assert_eq!(wheel.time_left(), Some(TICK * 21), "rounded up");
    assert!(!wheel.is_due(after(30_999)));
    assert!(wheel.is_due(after(31_000)));
    wheel.advance(after(30_999));
    assert!(wheel.next_due().is_none());
    wheel.advance(after(45_000));
    let due = wheel.next_due().expect("it has expired");
    assert_eq!(wheel.deadline(due), after(31_000));
    assert!(!wheel.is_due(after(60_000)), "nothing is armed");
}

#[test]
fn an_expired_timer_that_is_cancelled_is_not_reported() {
    let start = Instant::now();
    let (mut wheel, mut timers) = (Wheel::new(start), [Timer::default(), Timer::default()]);
    for (number, timer) in (0..).zip(&mut timers) {
        wheel.arm(timer, Key::fixed(number), Some(start));
    }
    wheel.advance(start + TICK);
    assert_eq!(wheel.next_due().and_then(|expired| expired.key().as_fixed()), Some(0));
    wheel.cancel(&mut timers[1]);
    assert!(wheel.next_due().is_none());
}

#[test]
fn closed_connections_leave_no_nodes() {
    let start = Instant::now();
    let mut wheel = Wheel::new(start);
    let day = Duration::from_secs(24 * 3600);
    let mut open: Vec<Timer> = (0..100).map(|_| Timer::default()).collect();
    for round in 0..1_000_000 {
        let (timer, now) = (&mut open[round % 100], start + Duration::from_micros(round as u64));
        wheel.cancel(timer);
        wheel.arm(timer, Key::fixed(7), Some(now + day));
        wheel.arm(timer, Key::fixed(7), Some(now + day / 2));
    }
    assert!(wheel.nodes.len() <= 1024, "{} nodes for 100 connections", wheel.nodes.len());
    assert_eq!(check(&wheel), 100);
    for timer in &mut open {
        wheel.cancel(timer);
    }
    assert_eq!(wheel.time_left(), None);
}

#[test]
fn a_timer_takes_4_bytes_and_a_node_24() {
    // Both are needed once per idle connection.
    assert_eq!((size_of::<Timer>(), size_of::<Node>()), (4, 24));
}

#[test]
fn a_deadline_in_the_far_future_is_kept() {
    let start = Instant::now();
    let mut wheel = Wheel::new(start);
    // After the last tick.
    wheel.arm(&mut Timer::default(), Key::fixed(1), Some(start + TICK * u32::MAX * 2000));
    wheel.advance(start + TICK * u32::MAX);
    assert!(wheel.next_slot().is_some_and(|(_, _, tick)| tick > u64::from(u32::MAX) && tick <= LAST_TICK));
}

#[test]
fn a_timer_can_be_armed_after_the_last_tick() {
    let start = Instant::now();
    let (mut wheel, mut timer) = (Wheel::new(start), Timer::default());
    let end = start + Duration::from_millis(LAST_TICK) * 2;
    wheel.advance(end);
    wheel.arm(&mut timer, Key::fixed(7), Some(end));
    assert_eq!(check(&wheel), 1);
}
