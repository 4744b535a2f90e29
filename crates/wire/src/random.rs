/// Random numbers that make waits unlike each other, and are good for nothing else: a linear
/// congruence, of which the high bits count.
#[derive(Clone, Copy, Debug)]
pub struct Random(u32);

impl Random {
    /// Numbers that begin anywhere; give each device another seed. Neighbours, as serial numbers and
    /// process ids are, make numbers as different as others do.
    pub const fn new(seed: u32) -> Self {
        Self(seed)
    }

    /// The next number, from 0 to below the limit.
    pub const fn below(&mut self, limit: u32) -> u32 {
        // The golden ratio, which spreads neighbours evenly. It is 1 more than a multiple of 4, so
        // every number comes once in 2^32.
        self.0 = self.0.wrapping_add(1).wrapping_mul(0x9e37_79b9);
        ((limit as u64 * self.0 as u64) >> 32) as u32
    }
}
