//! Timer wheel, from one to a million timers.

use crate::harness::Harness;
use crate::internal::event_loop::Key;
use crate::internal::event_loop::wheel::{Timer, Wheel};
use std::hint::black_box;
use std::time::{Duration, Instant};

const COUNTS: [usize; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

/// The usual idle timeout is minutes; with one minute more entries move between the levels.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Distance between the timers of successive operations, so that the cache does not predict them.
const STRIDE: u32 = 7919;

pub(crate) fn bench(harness: &Harness) {
    // A timer expires and is armed again. Contains its share of the moves between the levels.
    harness.bench_each("wheel/expire", &COUNTS, |count| {
        let mut timers = Timers::new(count);
        move || timers.expire_next()
    });
    // A connection closes, and another one is opened.
    harness.bench_each("wheel/replace", &COUNTS, |count| {
        let mut timers = Timers::new(count);
        move || {
            let next = timers.next();
            timers.wheel.cancel(&mut timers.armed[next as usize]);
            timers.arm(next);
        }
    });
    // Activity on a connection: its deadline moves, its entry does not.
    harness.bench_each("wheel/postpone", &COUNTS, |count| {
        let mut timers = Timers::new(count);
        move || {
            let next = timers.next();
            timers.arm(next);
        }
    });
    // A round of the loop in which nothing expires.
    harness.bench_each("wheel/quiet round", &COUNTS, |count| {
        let mut timers = Timers::new(count);
        move || {
            timers.wheel.advance(black_box(timers.now));
            (timers.wheel.next_due().is_some(), timers.wheel.time_left())
        }
    });
}

struct Timers {
    wheel: Wheel,
    armed: Vec<Timer>,
    now: Instant,
    next: u32,
}

impl Timers {
    /// `count` armed timers, whose deadlines are spread over one timeout.
    fn new(count: usize) -> Self {
        let count = u32::try_from(count).expect("at most a million");
        let now = Instant::now();
        let (mut wheel, mut armed) = (Wheel::new(now), Vec::new());
        for index in 0..count {
            let mut timer = Timer::default();
            wheel.arm(&mut timer, Key::fixed(index), Some(now + TIMEOUT * (index + 1) / count));
            armed.push(timer);
        }
        Self { wheel, armed, now, next: 0 }
    }

    fn next(&mut self) -> u32 {
        let count = u32::try_from(self.armed.len()).expect("at most a million");
        self.next = (self.next + STRIDE) % count;
        black_box(self.next)
    }

    fn arm(&mut self, index: u32) {
        self.wheel.arm(&mut self.armed[index as usize], Key::fixed(index), Some(self.now + TIMEOUT));
    }

    fn expire_next(&mut self) {
        let due = loop {
            if let Some(due) = self.wheel.next_due() {
                break due;
            }
            self.now += self.wheel.time_left().expect("a timer is armed");
            self.wheel.advance(self.now);
        };
        self.arm(due.key().as_fixed().expect("all keys are fixed"));
    }
}
