//! Pseudo-random numbers: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Equal seeds give equal numbers in every
//! version and on every machine.

/// The odd number nearest to 2^64 divided by the golden ratio.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Number `index` of the sequence of `seed`.
pub(crate) fn random(seed: u64, index: u64) -> u64 {
    mix(seed.wrapping_add(index.wrapping_mul(GOLDEN)))
}

/// Permutation of `u64` that hides patterns in its input.
pub(crate) fn mix(number: u64) -> u64 {
    let word = number.wrapping_add(GOLDEN);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::random;

    /// The first numbers of the authors' implementation.
    #[test]
    fn numbers_match_the_reference() {
        let numbers = [0, 1, 2].map(|index| random(0, index));
        assert_eq!(numbers, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }
}
