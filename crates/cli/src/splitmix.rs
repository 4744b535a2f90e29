//! Numbers that look random and follow from a seed, the same on every machine and in every version:
//! SplitMix64.

use rand::{Rng as _, SeedableRng as _};

/// What the state grows by at each number.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A generator.
#[derive(Debug)]
pub(crate) struct SplitMix64(rand_xoshiro::SplitMix64);

impl SplitMix64 {
    /// One that begins at `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(rand_xoshiro::SplitMix64::seed_from_u64(seed))
    }

    /// Another seed for each of many generators, the given one for number 0.
    pub(crate) const fn seed_of(seed: u64, number: u64) -> u64 {
        seed.wrapping_add(number.wrapping_mul(STEP))
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 up to, not with, `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// True `per_million` times out of a million.
    pub(crate) fn happens(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.below(1_000_000) < per_million.into()
    }

    /// A number from 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.below(1 << 32) as f64 / (1_u64 << 32) as f64
    }
}

/// The number at this place of the sequence that begins at seed 0.
pub(crate) fn at(place: u64) -> u64 {
    SplitMix64::new(SplitMix64::seed_of(0, place)).bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_splitmix64() {
        let mut random = SplitMix64::new(0);
        let first: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(first, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
        assert_eq!([0, 1, 2].map(at), first[..]);
    }
}
