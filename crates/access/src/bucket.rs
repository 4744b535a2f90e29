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
    /// When it is full again, in 1 / (rate × 10⁹) of a second.
    full_at: u128,
}

impl TokenBucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        let Rate { per_second, burst } = rate;
        Self { rate: Rate { per_second: per_second.max(1), burst: burst.max(1) }, full_at: 0 }
    }

    /// Takes tokens, and says how long to wait before anything more may be taken. Time that goes back counts
    /// as time that stands.
    #[must_use]
    pub fn take(&mut self, now: Duration, tokens: u64) -> Duration {
        self.full_at = self.full_at.max(self.parts(now)).saturating_add(cost(tokens));
        self.wait_for(now, 0)
    }

    /// How long to wait until so many may be taken without a debt, at most all of the burst.
    #[must_use]
    pub fn wait_for(&self, now: Duration, tokens: u64) -> Duration {
        let Rate { per_second, burst } = self.rate;
        let there = self.parts(now).saturating_add(cost(burst));
        let parts = self.full_at.saturating_add(cost(tokens.min(burst))).saturating_sub(there);
        let nanos = parts.div_ceil(per_second.into());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whether nothing of it is taken: a fresh one is as good.
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= self.parts(now)
    }

    /// What a token takes is a whole number of these parts, whatever the rate is.
    fn parts(&self, now: Duration) -> u128 {
        now.as_nanos().saturating_mul(self.rate.per_second.into())
    }
}

fn cost(tokens: u64) -> u128 {
    u128::from(tokens).saturating_mul(NANOS)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Those who wait as long as `take` says never get more than the rate, the burst, and one helping.
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
                now += bucket.wait_for(now, 0);
                prop_assert_eq!(bucket.wait_for(now, 0), Duration::ZERO);
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
    fn a_burst_is_what_it_says_from_the_beginning_of_time_on() {
        for start in [Duration::ZERO, Duration::from_secs(1 << 40)] {
            let mut bucket = TokenBucket::new(Rate { per_second: 2, burst: 3 });
            for _ in 0..3 {
                assert_eq!(bucket.wait_for(start, 1), Duration::ZERO);
                assert_eq!(bucket.take(start, 1), Duration::ZERO);
            }
            assert_eq!(bucket.wait_for(start, 1), Duration::from_millis(500));
            assert!(!bucket.is_full(start + Duration::from_millis(1499)));
            assert!(bucket.is_full(start + Duration::from_millis(1500)));
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
