//! Hierarchical timer wheel (Varghese and Lauck, SOSP 1987, scheme 7) with lazily moved deadlines.
//!
//! Each connection has one [`Timer`]. Activity moves only the connection's deadline, not the entry in the wheel. When
//! the entry expires, it is armed again if the deadline has moved on. A message therefore costs no timer work.
//!
//! A tick is a millisecond since the start of the wheel. Deadlines are rounded up to it, so nothing fires early.
//!
//! Entries are nodes of doubly linked lists in one vector. An earlier deadline moves the node, and a connection that
//! closes frees it, so the wheel never holds more nodes than timers.

#[cfg(test)]
// The benchmark "micro" includes this file from another directory.
#[path = "wheel/tests.rs"]
mod tests;

use super::Key;
use super::slab::FIRST_CAPACITY_BYTES;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Each level has as many slots as a word has bits, so one word shows which slots are occupied.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// Seven levels of 64 slots cover 139 years.
const LEVELS: usize = 7;
const LAST_TICK: u64 = (1 << (SLOT_BITS as usize * LEVELS)) - 1;

/// List of the expired nodes that were not taken yet. Lists with smaller numbers are those of the slots.
const EXPIRED: u32 = list_of(LEVELS, 0);

/// Tick of a node that is in no list.
const UNARMED: u64 = u64::MAX;

/// One entry of the wheel, armed or not. Release it with [`Wheel::cancel`]; nothing else frees its node.
#[derive(Debug, Default)]
pub struct Timer {
    node: Option<NonZeroU32>,
}

/// Node of a linked list.
///
/// Invariant: nodes 0 to [`EXPIRED`] are the heads of the circular lists; a free node uses only `next`.
#[derive(Debug, Clone, Copy)]
struct Node {
    key: Key,
    tick: u64,
    previous: u32,
    next: u32,
}

/// An expired entry of the wheel.
#[derive(Debug, Clone, Copy)]
pub struct Expired {
    key: Key,
    tick: u64,
}

impl Expired {
    /// Key that the entry was armed for.
    #[must_use]
    pub fn key(self) -> Key {
        self.key
    }
}

/// Timer wheel.
///
/// Invariant: an entry on level `n` shares all bits above that level with the current tick. Its slot on that level lies
/// ahead of the current one.
#[derive(Debug)]
pub struct Wheel {
    start: Instant,
    now: u64,
    /// When the next tick begins. Until then [`advance`](Self::advance) has nothing to do.
    next_tick: Instant,
    /// Tick of the first occupied slot. Cached: every round of the loop reads it, few operations change it.
    next: Option<u64>,
    occupied: [u64; LEVELS],
    nodes: Vec<Node>,
    /// First free node; 0, which is a list head, when there is none.
    free_list: u32,
}

impl Wheel {
    /// Creates a wheel whose first tick begins at `start`.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        let head = |list| Node { key: Key::fixed(list), tick: UNARMED, previous: list, next: list };
        let mut nodes = Vec::with_capacity(FIRST_CAPACITY_BYTES / size_of::<Node>());
        nodes.extend((0..=EXPIRED).map(head));
        let next_tick = start + Duration::from_millis(1);
        Self { start, now: 0, next_tick, next: None, occupied: [0; LEVELS], nodes, free_list: 0 }
    }

    /// Arms `timer` so that `key` expires no later than `deadline`. Does nothing when it already expires earlier.
    ///
    /// # Panics
    ///
    /// Panics when there are more than 2³² timers.
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

    /// Cancels the entry and frees its node. It is not reported any more, even if it has expired already.
    pub fn cancel(&mut self, timer: &mut Timer) {
        let Some(node) = timer.node.take().map(NonZeroU32::get) else { return };
        if self.nodes[node as usize].tick != UNARMED {
            self.unlink(node);
            self.find_next();
        }
        self.nodes[node as usize].next = std::mem::replace(&mut self.free_list, node);
    }

    /// The instant at which `due` was to expire.
    #[must_use]
    pub fn deadline(&self, due: Expired) -> Instant {
        self.start + Duration::from_millis(due.tick)
    }

    /// Time from the tick of the last [`advance`](Self::advance) until the next entry can expire; `None` when no entry
    /// is armed.
    #[inline]
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.next.map(|tick| Duration::from_millis(tick - self.now))
    }

    /// Whether an entry has expired by `now`.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|tick| tick <= self.tick_before(now))
    }

    /// Advances the wheel to `now`. [`next_due`](Self::next_due) then returns the expired entries.
    #[inline]
    pub fn advance(&mut self, now: Instant) {
        if now >= self.next_tick {
            self.advance_to(self.tick_before(now));
        }
    }

    fn advance_to(&mut self, target: u64) {
        if self.next.is_some_and(|tick| tick <= target) {
            self.turn_to(target);
        }
        self.now = self.now.max(target);
        self.next_tick = self.start + Duration::from_millis(self.now + 1);
    }

    /// Removes and returns the next expired entry. Its timer can be armed again, for a later tick.
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
            // Each node moves to a lower level or expires; none returns to this slot.
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
        if self.free_list == 0 {
            let node = u32::try_from(self.nodes.len()).expect("fewer than 2^32 timers");
            self.nodes.push(unarmed);
            return node;
        }
        let node = self.free_list;
        self.free_list = std::mem::replace(&mut self.nodes[node as usize], unarmed).next;
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

    /// Appends a node to a list.
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
        // Only a list head can be both neighbours of a node: the list is now empty.
        if previous == next && next < EXPIRED {
            self.occupied[next as usize / SLOTS] &= !(1 << (next as usize % SLOTS));
        }
    }

    fn find_next(&mut self) {
        self.next = self.next_slot().map(|(_, _, tick)| tick);
    }

    /// The occupied slot that expires first, as level, slot and tick.
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
        time.as_secs().saturating_mul(1000).saturating_add(millis).min(LAST_TICK)
    }

    fn tick_before(&self, instant: Instant) -> u64 {
        // `as_nanos` would need a 128-bit division, which costs more than the rest of a quiet round's timer work.
        let time = instant.saturating_duration_since(self.start);
        let millis = time.as_secs().saturating_mul(1000).saturating_add(u64::from(time.subsec_millis()));
        millis.min(LAST_TICK - 1)
    }
}

/// Number of a slot's list, which is the node at its head.
const fn list_of(level: usize, slot: usize) -> u32 {
    // There are 448 slots.
    #[allow(clippy::cast_possible_truncation)]
    {
        (level * SLOTS + slot) as u32
    }
}

fn slot_of(tick: u64, level: usize) -> usize {
    // Six bits remain.
    #[allow(clippy::cast_possible_truncation)]
    {
        (tick >> (SLOT_BITS as usize * level)) as usize & (SLOTS - 1)
    }
}
