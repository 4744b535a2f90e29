use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_xoshiro::SplitMix64;

/// A generator of chance: the same seed, the same numbers, on every machine.
#[derive(Clone, Debug)]
pub struct Rng(SplitMix64);

impl Rng {
    /// A generator that begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::seed_from_u64(seed))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 up to, not with, `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    /// True `per_million` times out of a million.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.chance_of(per_million, 1_000_000)
    }

    /// True so many times of so many.
    pub fn chance_of(&mut self, times: u32, of: u32) -> bool {
        times > 0 && self.0.random_ratio(times.min(of), of)
    }
}
