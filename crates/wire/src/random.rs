/// Random numbers that make waits unlike each other, and are good for nothing else: xorshift.
#[derive(Clone, Copy, Debug)]
pub struct Random(u32);

impl Random {
    /// Numbers that begin anywhere; give each device another seed. Neighbours, as serial numbers and
    /// process ids are, make numbers as different as others do.
    pub const fn new(seed: u32) -> Self {
        // What of a seed is low would not reach the high bits of the first numbers, which decide. The
        // golden ratio spreads neighbours evenly, and leaves none but 0 at 0, which xorshift never
        // leaves.
        Self(if seed == 0 { 1 } else { seed.wrapping_mul(0x9e37_79b9) })
    }

    /// The next number, from 0 to below the limit.
    pub const fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        ((limit as u64 * self.0 as u64) >> 32) as u32
    }
}
