//! A hierarchical timer wheel (Varghese and Lauck, SOSP 1987, scheme 7) that is rarely touched.
//!
//! Each connection has one [`Timer`]. Activity only moves the connection's deadline, not the entry in the wheel; the
//! entry is looked at when it comes up and is put back if the deadline has moved on. So a message costs no timer work
//! at all.
//!
//! Entries are nodes of doubly linked lists in one vector. An earlier deadline moves the node, and a connection that
//! closes frees it, so the wheel never holds more nodes than timers.

#[cfg(test)]
mod tests;

use super::Key;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// One tick. Deadlines are rounded up to it: nothing fires early.
const TICK_MS: u64 = 1;

/// Each level has as many slots as a word has bits, so that one word tells which are occupied.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// Seven levels of 64 slots reach 139 years.
const LEVELS: usize = 7;
const LAST_TICK: u64 = (1 << (SLOT_BITS as usize * LEVELS)) - 1;

/// The list of nodes that have come up and were not taken yet; the lists below it are those of the slots.
const EXPIRED: u32 = list_of(LEVELS, 0);

/// The tick of a node that is in no list.
const UNARMED: u64 = u64::MAX;

/// One entry of the wheel, armed or not. It must be given back with [`Wheel::cancel`], which alone frees its node.
#[derive(Debug, Default)]
pub struct Timer {
    node: Option<NonZeroU32>,
}

/// Invariant: the nodes up to [`EXPIRED`] are the heads of the circular lists; a free node uses `next` alone.
#[derive(Debug, Clone, Copy)]
struct Node {
    key: Key,
    tick: u64,
    previous: u32,
    next: u32,
}

/// An entry that has come up.
#[derive(Debug, Clone, Copy)]
pub struct Expired {
    key: Key,
    tick: u64,
}

impl Expired {
    /// Whose entry it is.
    #[must_use]
    pub fn key(self) -> Key {
        self.key
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
    nodes: Vec<Node>,
    /// The first free node; 0, which is a head, when there is none.
    free: u32,
}

impl Wheel {
    /// A wheel whose first tick begins at `start`.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        let head = |list| Node { key: Key::fixed(list), tick: UNARMED, previous: list, next: list };
        let nodes = (0..=EXPIRED).map(head).collect();
        Self { start, now: 0, next: None, occupied: [0; LEVELS], nodes, free: 0 }
    }

    /// Sees to it that `key` comes up no later than at `deadline`. Does nothing when it will come up before that anyway.
    ///
    /// # Panics
    ///
    /// When there are more than 2³² timers.
    #[inline]
    pub fn arm(&mut self, timer: &mut Timer, key: Key, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        let tick = self.tick_after(deadline);
        let node = timer.node.map_or_else(|| self.allocate(), NonZeroU32::get);
        timer.node = NonZeroU32::new(node);
        let armed = self.nodes[node as usize].tick;
        if tick < armed {
            self.nodes[node as usize].key = key;
            if armed != UNARMED {
                self.unlink(node);
            }
            self.insert(node, tick);
            self.find_next();
        }
    }

    /// Forgets the entry: it does not come up any more, even if its time has come already.
    pub fn cancel(&mut self, timer: &mut Timer) {
        let Some(node) = timer.node.take().map(NonZeroU32::get) else { return };
        if self.nodes[node as usize].tick != UNARMED {
            self.unlink(node);
            self.find_next();
        }
        self.nodes[node as usize].next = std::mem::replace(&mut self.free, node);
    }

    /// When `due` should have come up.
    #[must_use]
    pub fn deadline(&self, due: Expired) -> Instant {
        self.start + Duration::from_millis(due.tick * TICK_MS)
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

    /// Turns the wheel to `now`. [`next_due`](Self::next_due) then gives what has come up.
    #[inline]
    pub fn advance(&mut self, now: Instant) {
        let target = self.tick_before(now);
        if self.next.is_some_and(|tick| tick <= target) {
            self.turn_to(target);
        }
        self.now = self.now.max(target);
    }

    /// Takes out the next entry that has come up. Its timer can be armed again, from now on for a later tick.
    #[inline]
    pub fn next_due(&mut self) -> Option<Expired> {
        let node = self.nodes[EXPIRED as usize].next;
        (node != EXPIRED).then(|| {
            self.unlink(node);
            let node = &mut self.nodes[node as usize];
            Expired { key: node.key, tick: std::mem::replace(&mut node.tick, UNARMED) }
        })
    }

    fn turn_to(&mut self, target: u64) {
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > target {
                break;
            }
            self.now = tick;
            // Each node goes on to a lower level or comes up, never back into this slot.
            let list = list_of(level, slot);
            while self.nodes[list as usize].next != list {
                let node = self.nodes[list as usize].next;
                self.unlink(node);
                let Node { tick: node_tick, .. } = self.nodes[node as usize];
                if node_tick <= tick {
                    self.link(EXPIRED, node);
                } else {
                    self.insert(node, node_tick);
                }
            }
        }
        self.find_next();
    }

    fn allocate(&mut self) -> u32 {
        let unarmed = Node { key: Key::fixed(0), tick: UNARMED, previous: 0, next: 0 };
        if self.free == 0 {
            let node = u32::try_from(self.nodes.len()).expect("fewer than 2^32 timers");
            self.nodes.push(unarmed);
            return node;
        }
        let node = self.free;
        self.free = std::mem::replace(&mut self.nodes[node as usize], unarmed).next;
        node
    }

    fn insert(&mut self, node: u32, tick: u64) {
        let tick = tick.clamp(self.now + 1, LAST_TICK);
        let level = ((tick ^ self.now).ilog2() / SLOT_BITS) as usize;
        let slot = slot_of(tick, level);
        self.occupied[level] |= 1 << slot;
        self.nodes[node as usize].tick = tick;
        self.link(list_of(level, slot), node);
    }

    /// Puts a node at the end of a list.
    fn link(&mut self, list: u32, node: u32) {
        let tail = std::mem::replace(&mut self.nodes[list as usize].previous, node);
        self.nodes[tail as usize].next = node;
        self.nodes[node as usize].previous = tail;
        self.nodes[node as usize].next = list;
    }

    fn unlink(&mut self, node: u32) {
        let Node { previous, next, .. } = self.nodes[node as usize];
        self.nodes[previous as usize].next = next;
        self.nodes[next as usize].previous = previous;
        // Only a head is before and behind the same node: the list is empty now.
        if previous == next && next < EXPIRED {
            self.occupied[next as usize / SLOTS] &= !(1 << (next as usize % SLOTS));
        }
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
        let time = instant.saturating_duration_since(self.start);
        let millis = u64::from(time.subsec_nanos().div_ceil(1_000_000));
        time.as_secs().saturating_mul(1000).saturating_add(millis).div_ceil(TICK_MS).min(LAST_TICK)
    }

    fn tick_before(&self, instant: Instant) -> u64 {
        // A division of 128 bits, as `as_nanos` would need, costs more than the rest of a quiet round's timer work.
        let time = instant.saturating_duration_since(self.start);
        let millis = time.as_secs().saturating_mul(1000).saturating_add(u64::from(time.subsec_millis()));
        (millis / TICK_MS).min(LAST_TICK - 1)
    }
}

/// The list of a slot, which is the node at its head.
const fn list_of(level: usize, slot: usize) -> u32 {
    // There are 448 slots.
    #[allow(clippy::cast_possible_truncation)]
    {
        (level * SLOTS + slot) as u32
    }
}

fn slot_of(tick: u64, level: usize) -> usize {
    // Six bits are left.
    #[allow(clippy::cast_possible_truncation)]
    {
        (tick >> (SLOT_BITS as usize * level)) as usize & (SLOTS - 1)
    }
}
