//! Rates, and what holds to them.

use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// So much a second, with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second; at least 1.
    pub per_second: u64,
    /// Tokens that may be taken at once after a pause; at least 1.
    pub burst: u64,
}

/// A token bucket, by a clock of the caller's.
///
/// More may be taken than there is: then it is in debt, and who took it has to wait until the debt is paid
/// off. So a payload that is longer than the burst passes, once, and the rate holds all the same.
///
/// ```
/// use std::time::Duration;
/// use sspc_access::{Rate, TokenBucket};
///
/// let mut bucket = TokenBucket::new(Rate { per_second: 10, burst: 5 });
/// let now = Duration::from_secs(100);
/// assert_eq!(bucket.take(now, 5), Duration::ZERO);
/// assert_eq!(bucket.take(now, 1), Duration::from_millis(100));
/// ```
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: Rate,
    /// When the debt is paid off, in 1 / (rate × 10⁹) of a second; before now by as much as there is in it.
    paid_off: u128,
}

impl TokenBucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        let Rate { per_second, burst } = rate;
        Self { rate: Rate { per_second: per_second.max(1), burst: burst.max(1) }, paid_off: 0 }
    }

    /// Takes tokens, and says how long to wait before anything more may be taken. Time that goes back counts
    /// as time that stands.
    #[must_use]
    pub fn take(&mut self, now: Duration, tokens: u64) -> Duration {
        // What a token takes is a whole number of these parts, whatever the rate is.
        let now = now.as_nanos().saturating_mul(self.rate.per_second.into());
        let full = now.saturating_sub(u128::from(self.rate.burst).saturating_mul(NANOS));
        let cost = u128::from(tokens).saturating_mul(NANOS);
        self.paid_off = self.paid_off.max(full).saturating_add(cost);
        self.wait(now)
    }

    /// How long to wait before anything may be taken.
    #[must_use]
    pub fn check(&self, now: Duration) -> Duration {
        self.wait(now.as_nanos().saturating_mul(self.rate.per_second.into()))
    }

    fn wait(&self, now: u128) -> Duration {
        let parts = self.paid_off.saturating_sub(now);
        let nanos = parts.div_ceil(self.rate.per_second.into());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whether nothing of it is taken: a fresh one is as good.
    pub fn is_full(&self, now: Duration) -> bool {
        let now = now.as_nanos().saturating_mul(self.rate.per_second.into());
        self.paid_off <= now.saturating_sub(u128::from(self.rate.burst).saturating_mul(NANOS))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever waits as told never has more than the rate, the burst, and one helping.
        #[test]
        fn nobody_gets_more_than_the_rate(
            per_second in 1_u64..1_000_000,
            burst in 1_u64..1_000_000,
            steps in vec((0_u64..2_000_000_000, 0_u64..100_000), 1..200),
        ) {
            let mut bucket = TokenBucket::new(Rate { per_second, burst });
            let start = Duration::from_secs(1_000_000);
            let mut now = start;
            let (mut taken, mut largest) = (0_u128, 0);
            for (pause, tokens) in steps {
                now += Duration::from_nanos(pause);
                now += bucket.check(now);
                prop_assert_eq!(bucket.check(now), Duration::ZERO);
                let _ = bucket.take(now, tokens);
                taken += u128::from(tokens);
                largest = largest.max(tokens);
                let allowed = (now - start).as_nanos() * u128::from(per_second) / NANOS
                    + u128::from(burst) + u128::from(largest);
                prop_assert!(taken <= allowed, "{} of {}", taken, allowed);
            }
        }

        /// And who is never short of wishes has all of the rate.
        #[test]
        fn all_of_the_rate_can_be_had(per_second in 1_u64..1_000_000, tokens in 1_u64..100_000) {
            let mut bucket = TokenBucket::new(Rate { per_second, burst: 1 });
            let start = Duration::from_secs(1_000_000);
            let mut now = start;
            for _ in 0..100 {
                now += bucket.take(now, tokens);
            }
            let least = u128::from(99 * tokens) * NANOS / u128::from(per_second);
            let most = u128::from(100 * tokens) * NANOS / u128::from(per_second) + 100;
            let took = (now - start).as_nanos();
            prop_assert!(took >= least && took <= most, "{} <= {} <= {}", least, took, most);
        }
    }

    #[test]
    fn extremes_do_no_harm() {
        let mut bucket = TokenBucket::new(Rate { per_second: 0, burst: 0 });
        assert_eq!(bucket.take(Duration::from_secs(1), 1), Duration::ZERO);
        assert!(bucket.take(Duration::from_secs(1), u64::MAX) > Duration::from_secs(1 << 32));
        assert!(bucket.take(Duration::MAX, u64::MAX) > Duration::ZERO);
        let mut bucket = TokenBucket::new(Rate { per_second: u64::MAX, burst: u64::MAX });
        assert_eq!(bucket.take(Duration::from_secs(1), u64::MAX), Duration::ZERO);
        assert!(!bucket.is_full(Duration::from_secs(1)));
        assert!(bucket.is_full(Duration::from_secs(2)));
    }
}
