//! A hierarchical timer wheel (Varghese and Lauck, SOSP 1987, scheme 7) that forgets nothing and is rarely touched.
//!
//! Each connection has one [`Timer`]. Activity only moves the connection's deadline, not the entry in the wheel; the
//! entry is looked at when it comes up and is put back if the deadline has moved on. So a message costs no timer work
//! at all.

use super::Key;
use std::time::{Duration, Instant};

/// One tick. Deadlines are rounded up to it: nothing fires early.
const TICK: Duration = Duration::from_millis(TICK_MS);
const TICK_MS: u64 = 1;

/// Each level has as many slots as a word has bits, so that one word tells which are occupied.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// Seven levels of 64 slots reach 139 years.
const LEVELS: usize = 7;
const LAST_TICK: u64 = (1 << (SLOT_BITS as usize * LEVELS)) - 1;

/// What a connection knows of its entry in the wheel.
#[derive(Debug, Default)]
pub struct Timer {
    armed: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Key,
    tick: u64,
}

/// An entry that has come up; [`Wheel::accept`] tells whether it still counts.
#[derive(Debug, Clone, Copy)]
pub struct Due(Entry);

impl Due {
    /// Whose entry it is.
    #[must_use]
    pub fn key(self) -> Key {
        self.0.key
    }
}

/// The wheel.
///
/// Invariant: an entry on level `n` shares with the current tick all bits above that level, and its slot there lies
/// ahead of the current one.
#[derive(Debug)]
pub struct Wheel {
    start: Instant,
    now: u64,
    /// The tick of the first occupied slot: every round of the loop asks for it, few change it.
    next: Option<u64>,
    occupied: [u64; LEVELS],
    slots: Vec<Vec<Entry>>,
}

impl Wheel {
    /// A wheel whose first tick begins at `start`.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self { start, now: 0, next: None, occupied: [0; LEVELS], slots: vec![Vec::new(); LEVELS * SLOTS] }
    }

    /// Sees to it that `key` comes up no later than at `deadline`. Does nothing when it will come up before that anyway.
    #[inline]
    pub fn arm(&mut self, timer: &mut Timer, key: Key, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if timer.armed.is_none_or(|armed| deadline < armed) {
            timer.armed = Some(deadline);
            self.insert(Entry { key, tick: self.tick_after(deadline) });
            self.find_next();
        }
    }

    /// Whether `due` is the entry that `timer` was armed with last, and not one overtaken by an earlier deadline. If so,
    /// the timer is no longer armed.
    #[must_use]
    pub fn accept(&self, timer: &mut Timer, due: Due) -> bool {
        let current = timer.armed.is_some_and(|armed| self.tick_after(armed) <= due.0.tick);
        if current {
            timer.armed = None;
        }
        current
    }

    /// When `due` should have come up.
    #[must_use]
    pub fn deadline(&self, due: Due) -> Instant {
        self.start + Duration::from_millis(due.0.tick * TICK_MS)
    }

    /// No entry comes up before this much time has passed since the tick in which the wheel was turned last.
    #[inline]
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.next.map(|tick| Duration::from_millis((tick - self.now) * TICK_MS))
    }

    /// Whether an entry has come up by `now`.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|tick| tick <= self.tick_before(now))
    }

    /// Turns the wheel to `now` and appends to `due` what has come up.
    #[inline]
    pub fn advance(&mut self, now: Instant, due: &mut Vec<Due>) {
        let target = self.tick_before(now);
        if self.next.is_some_and(|tick| tick <= target) {
            self.turn_to(target, due);
        }
        self.now = self.now.max(target);
    }

    fn turn_to(&mut self, target: u64, due: &mut Vec<Due>) {
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > target {
                break;
            }
            self.now = tick;
            self.occupied[level] &= !(1 << slot);
            for entry in std::mem::take(&mut self.slots[level * SLOTS + slot]) {
                if entry.tick <= tick {
                    due.push(Due(entry));
                } else {
                    self.insert(entry);
                }
            }
        }
        self.find_next();
    }

    fn insert(&mut self, entry: Entry) {
        let tick = entry.tick.clamp(self.now + 1, LAST_TICK);
        let level = ((tick ^ self.now).ilog2() / SLOT_BITS) as usize;
        let slot = slot_of(tick, level);
        self.occupied[level] |= 1 << slot;
        self.slots[level * SLOTS + slot].push(Entry { tick, ..entry });
    }

    fn find_next(&mut self) {
        self.next = self.next_slot().map(|(_, _, tick)| tick);
    }

    /// The occupied slot that comes up first, and the tick at which it does.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = SLOT_BITS * u32::try_from(level).ok()?;
        let above = self.now >> shift >> SLOT_BITS << SLOT_BITS;
        Some((level, slot, (above | slot as u64) << shift))
    }

    fn tick_after(&self, instant: Instant) -> u64 {
        let nanos = instant.saturating_duration_since(self.start).as_nanos();
        u64::try_from(nanos.div_ceil(TICK.as_nanos())).unwrap_or(LAST_TICK)
    }

    fn tick_before(&self, instant: Instant) -> u64 {
        // A division of 128 bits, as `as_nanos` would need, costs more than the rest of a quiet round's timer work.
        let time = instant.saturating_duration_since(self.start);
        let millis = time.as_secs().saturating_mul(1000).saturating_add(u64::from(time.subsec_millis()));
        (millis / TICK_MS).min(LAST_TICK - 1)
    }
}

fn slot_of(tick: u64, level: usize) -> usize {
    // Six bits are left.
    #[allow(clippy::cast_possible_truncation)]
    {
        (tick >> (SLOT_BITS as usize * level)) as usize & (SLOTS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Due, LAST_TICK, TICK, Timer, Wheel};
    use crate::event_loop::Key;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    fn keys(due: &[Due]) -> Vec<u32> {
        due.iter().filter_map(|due| due.key().as_fixed()).collect()
    }

    proptest! {
        /// Every entry comes up once, not before its deadline, and not after the first look at or behind it.
        #[test]
        fn comes_up_in_time(delays in proptest::collection::vec(0u64..400_000_000, 1..60), steps in proptest::collection::vec(0u64..30_000_000, 1..60)) {
            let start = Instant::now();
            let mut wheel = Wheel::new(start);
            let mut waiting = Vec::new();
            for (number, micros) in (0..).zip(delays) {
                let deadline = start + Duration::from_micros(micros);
                wheel.arm(&mut Timer::default(), Key::fixed(number), Some(deadline));
                waiting.push((number, deadline));
            }
            let mut now = start;
            for micros in steps {
                let turned = TICK * u32::try_from((now - start).as_millis()).expect("a short test");
                let before = wheel.time_left().map(|left| start + turned + left);
                now += Duration::from_micros(micros);
                let mut due = Vec::new();
                wheel.advance(now, &mut due);
                prop_assert!(due.is_empty() || before.is_some_and(|next| next <= now), "told too late");
                let mut come = keys(&due);
                come.sort_unstable();
                let (gone, left): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(number, _)| come.contains(number));
                prop_assert_eq!(gone.len(), come.len());
                prop_assert!(gone.iter().all(|(_, deadline)| *deadline <= now));
                prop_assert!(left.iter().all(|(_, deadline)| *deadline + TICK * 2 > now));
                waiting = left;
            }
        }
    }

    #[test]
    fn a_later_deadline_costs_nothing_and_an_earlier_one_wins() {
        let start = Instant::now();
        let (mut wheel, mut timer, mut due) = (Wheel::new(start), Timer::default(), Vec::new());
        let after = |millis| Some(start + Duration::from_millis(millis));
        wheel.arm(&mut timer, Key::fixed(7), after(50));
        wheel.arm(&mut timer, Key::fixed(7), after(90));
        wheel.arm(&mut timer, Key::fixed(7), after(20));
        wheel.advance(start + Duration::from_millis(20), &mut due);
        assert_eq!(keys(&due), [7]);
        assert!(wheel.accept(&mut timer, due[0]));
        wheel.advance(start + Duration::from_millis(99), &mut due);
        assert_eq!(keys(&due), [7, 7], "the entry that was overtaken comes up");
        assert!(!wheel.accept(&mut timer, due[1]), "but counts no longer");
    }

    #[test]
    fn the_far_future_is_kept() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.arm(&mut Timer::default(), Key::fixed(1), Some(start + TICK * u32::MAX * 1000));
        wheel.advance(start + TICK * u32::MAX, &mut Vec::new());
        assert!(wheel.next_slot().is_some_and(|(_, _, tick)| tick > u64::from(u32::MAX) && tick <= LAST_TICK));
    }
}
