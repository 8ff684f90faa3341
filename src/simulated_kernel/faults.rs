//! Faults of a simulation, and its random numbers.

use super::Nanos;

/// Which faults occur. A simulation has only some of them, so that none hides another.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "the flags are independent, and any combination can occur")]
pub(crate) struct Faults {
    /// Longest time that bytes travel; 0 is a short, constant one.
    pub(crate) longest_delay: Nanos,
    /// Calls take up to 30 µs, in which bytes arrive.
    pub(crate) slow_calls: bool,
    /// Signals interrupt calls.
    pub(crate) interruptions: bool,
    /// Polls report sources without news.
    pub(crate) spurious_events: bool,
    /// Polls report few events at once, in any order.
    pub(crate) few_events: bool,
    /// accept(2) fails for reasons of the peer, or of memory.
    pub(crate) accept_errors: bool,
    /// Sockets that can be open at once.
    pub(crate) descriptors: Option<usize>,
    /// Connects are refused, are not answered, or fail at once.
    pub(crate) connect_errors: bool,
    /// Registrations fail.
    pub(crate) register_errors: bool,
    /// The clock jumps forward, by at most so much, as when the machine was suspended.
    pub(crate) longest_jump: Nanos,
    /// No jump passes this instant.
    pub(crate) jumps_until: Nanos,
    /// The thread of a loop does not run for a while, by at most so much, while those of other loops do.
    pub(crate) longest_pause: Nanos,
    /// A reset overtakes bytes that travel.
    pub(crate) lost_bytes: bool,
}

impl Faults {
    /// Ends all faults.
    pub(crate) fn cease(&mut self) {
        *self = Self { longest_delay: self.longest_delay.min(1_000_000), ..Self::default() };
    }
}

/// Pseudo-random numbers (xorshift64*).
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds must differ in many bits, and the state must not be 0.
        let word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self((word ^ (word >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is at least 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    pub(crate) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or_default()
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }
}
