//! Retry policies: how long to wait and when to give up.

/// A named retry policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// The name that a streamtype's `retry` uses.
    pub name: String,
    /// `backoff`: delays, ms; the last one repeats. Empty means [`Retry::DELAY_DEFAULT_MS`].
    pub backoff_ms: Vec<u32>,
    /// `conceal`: retries before ALL_RETRIES_FAILED; 65535 for ever.
    pub conceal: u16,
    /// `jitterpc`: how much random delay is added at most, percent.
    pub jitter_percent: u8,
    /// `svalidping`: silence after which a ping is sent, s; 0 never pings.
    pub valid_ping_s: u16,
    /// `svalidhup`: silence after which the connection is dropped, s; 0 never drops.
    pub valid_hup_s: u16,
}

impl Retry {
    /// The delay when the policy lists none, ms.
    pub const DELAY_DEFAULT_MS: u32 = 3_000;
    /// The jitter when the policy gives none, percent.
    pub const JITTER_DEFAULT_PERCENT: u8 = 30;
    /// The value of `conceal` that retries for ever.
    pub const CONCEAL_FOREVER: u16 = u16::MAX;

    /// What holds for a stream without a retry policy: no retries.
    pub const NONE: Retry = Retry {
        name: String::new(),
        backoff_ms: Vec::new(),
        conceal: 0,
        jitter_percent: Retry::JITTER_DEFAULT_PERCENT,
        valid_ping_s: 0,
        valid_hup_s: 0,
    };

    /// The delay before the next attempt, ms.
    ///
    /// `n` is how many failures came before this one since the last success: 0 at the first.
    /// `random` is any 16 random bits; the same bits give the same delay.
    pub fn delay_ms(&self, n: u32, random: u16) -> u32 {
        let index = usize::try_from(n).unwrap_or(usize::MAX);
        let base = self
            .backoff_ms
            .get(index)
            .or(self.backoff_ms.last())
            .copied()
            .unwrap_or(Self::DELAY_DEFAULT_MS);
        // 32 + 8 + 16 bits at most: cannot overflow 64.
        let spread = (u64::from(base) * u64::from(self.jitter_percent) * u64::from(random)) >> 16;
        u32::try_from(u64::from(base) + spread / 100).unwrap_or(u32::MAX)
    }

    /// Whether another attempt may follow.
    ///
    /// `n` counts the failures since the last success, the latest one included: 1 at the first.
    pub fn allows(&self, n: u32) -> bool {
        self.conceal == Self::CONCEAL_FOREVER || n <= u32::from(self.conceal)
    }
}

/// A retry policy without a name or any setting of its own.
impl Default for Retry {
    fn default() -> Self {
        Retry::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(backoff_ms: &[u32], conceal: u16, jitter_percent: u8) -> Retry {
        Retry { backoff_ms: backoff_ms.to_vec(), conceal, jitter_percent, ..Retry::NONE }
    }

    #[test]
    fn delays_follow_the_table_and_repeat_its_last() {
        let r = retry(&[1000, 2000, 5000], 5, 20);
        let delays: Vec<u32> = (0..5).map(|n| r.delay_ms(n, 0)).collect();
        assert_eq!(delays, [1000, 2000, 5000, 5000, 5000]);
        assert_eq!(r.delay_ms(u32::MAX, 0), 5000);
    }

    #[test]
    fn jitter_adds_less_than_its_percentage() {
        assert_eq!(retry(&[1000], 5, 20).delay_ms(0, u16::MAX), 1199);
        assert_eq!(retry(&[1000], 5, 30).delay_ms(0, 0x8000), 1150);
        assert_eq!(retry(&[1000], 5, 0).delay_ms(0, 0x8000), 1000);
        assert_eq!(Retry::NONE.delay_ms(7, 0), 3000);
        assert_eq!(retry(&[u32::MAX], 5, 255).delay_ms(0, u16::MAX), u32::MAX);
    }

    #[test]
    fn conceal_five_means_the_first_attempt_and_five_more() {
        let r = retry(&[], 5, 0);
        assert!((1..=5).all(|n| r.allows(n)));
        assert!(!r.allows(6));
        assert!(!Retry::NONE.allows(1));
        assert!(retry(&[], u16::MAX, 0).allows(u32::MAX));
    }
}
