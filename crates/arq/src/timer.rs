/// A moment within the next minutes, in half the bytes of an [`Instant`](sspc_mux::Instant): µs modulo 2^32, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timer(u32);

/// Nothing is set that is further away, in µs. What seems to be is long past.
const FARTHEST_US: u32 = 1 << 27;

impl Timer {
    pub(crate) const NEVER: Self = Self(0);

    /// So many µs from now on, which is in µs modulo 2^32 too; one more, if that would be [`Self::NEVER`] or even.
    pub(crate) fn at(now_us: u32, us: u32) -> Self {
        Self(now_us.wrapping_add(us) | 1)
    }

    /// How long to wait for it, in µs; the highest number if it never comes.
    #[inline(never)]
    pub(crate) fn left_us(self, now_us: u32) -> u32 {
        if self == Self::NEVER {
            return u32::MAX;
        }
        // The one µs that it may be set too late counts as none.
        let left_us = self.0.wrapping_sub(now_us).wrapping_sub(1);
        if left_us > FARTHEST_US { 0 } else { left_us }
    }

    pub(crate) fn is_due(self, now_us: u32) -> bool {
        self.left_us(now_us) == 0
    }
}
