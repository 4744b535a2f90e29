//! Moments, and the time between them.

use sspc_sim::Rng;
use sspc_wire::Instant;

#[test]
fn ms_between_are_whole_and_no_more_than_fit() {
    let since = |us| Instant::from_micros(us).millis_since(Instant::ZERO);
    let right = |us: u64| u32::try_from(us / 1000).unwrap_or(u32::MAX);
    let edges = [0, 1 << 16, 1 << 26, 1 << 32, 1000 << 16, 1000 << 32, u64::MAX];
    for edge in edges {
        for us in (0..3000).map(|more| edge.wrapping_sub(1500).wrapping_add(more)) {
            assert_eq!(since(us), right(us), "{us} µs");
        }
    }
    let mut rng = Rng::new(1);
    for bits in (1..64).cycle().take(10_000) {
        let us = rng.below(1 << bits);
        assert_eq!(since(us), right(us), "{us} µs");
    }
}

#[test]
fn no_time_is_between_a_moment_and_an_earlier_one() {
    let (early, late) = (Instant::from_millis(5), Instant::from_millis(7));
    assert_eq!((late.millis_since(early), late.micros_since(early)), (2, 2000));
    assert_eq!((early.millis_since(late), early.micros_since(late)), (0, 0));
    assert_eq!(Instant::NEVER.plus_millis(1), Instant::NEVER);
    assert_eq!(early.plus_millis(2), late);
}
