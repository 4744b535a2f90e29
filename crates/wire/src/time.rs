/// A moment on the caller's monotonic clock, in µs from any start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// Later than any other.
    pub const NEVER: Self = Self(u64::MAX);

    /// The clock's start.
    pub const ZERO: Self = Self(0);

    /// The moment this many µs after the clock's start.
    pub const fn from_micros(us: u64) -> Self {
        Self(us)
    }

    /// The moment this many ms after the clock's start.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1000))
    }

    /// µs since the clock's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment `ms` later.
    #[must_use]
    // Many callers, and 64-bit arithmetic that saturates is long on a small processor.
    #[inline(never)]
    pub const fn plus_millis(self, ms: u32) -> Self {
        Self(self.0.saturating_add(ms as u64 * 1000))
    }

    /// µs from `earlier` to here; 0 if `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole ms from `earlier` to here; 0 if `earlier` is later, and no more than fits.
    pub const fn millis_since(self, earlier: Self) -> u32 {
        let us = self.micros_since(earlier);
        let (high, low) = ((us >> 32) as u32, us as u32);
        if high >= 1000 {
            return u32::MAX;
        }
        // As on paper, in digits of 16 bits: to divide 64 bits takes half a KiB on a small
        // processor.
        let upper = (high << 16) | (low >> 16);
        let lower = ((upper % 1000) << 16) | (low & 0xffff);
        ((upper / 1000) << 16) | (lower / 1000)
    }
}
