/// Random numbers that make waits unlike each other, and are good for nothing else: xorshift.
#[derive(Clone, Copy, Debug)]
pub struct Random(u32);

impl Random {
    /// Numbers that begin anywhere; give each device another seed.
    pub const fn new(seed: u32) -> Self {
        // Xorshift never leaves 0.
        Self(if seed == 0 { 1 } else { seed })
    }

    /// The next number, from 0 to below the limit.
    pub const fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        ((limit as u64 * self.0 as u64) >> 32) as u32
    }
}
