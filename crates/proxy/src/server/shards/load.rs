//! How busy a thread is.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Over about how long a time: what was before that counts little.
const MEMORY: Duration = Duration::from_millis(20);

/// The part of the last time in which a thread had something to do. The thread itself writes it, any
/// thread reads it; a reader that comes in between is off by one step, which does no harm.
#[derive(Debug)]
pub(super) struct Load {
    epoch: Instant,
    /// From 0 to 1, when the thread last began to work or to wait; the bits of an `f32`.
    part: AtomicU32,
    /// When that was, in ns since the epoch, even; the last bit is set while it works.
    since: AtomicU64,
}

impl Default for Load {
    fn default() -> Self {
        Self { epoch: Instant::now(), part: AtomicU32::new(0), since: AtomicU64::new(0) }
    }
}

impl Load {
    /// The thread has nothing to do from now on.
    pub(super) fn parks(&self) {
        self.turn(false);
    }

    /// The thread has something to do from now on.
    pub(super) fn unparks(&self) {
        self.turn(true);
    }

    /// The part by now.
    pub(super) fn part(&self) -> f32 {
        self.part_at(self.now())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX) >> 1 << 1
    }

    fn turn(&self, works: bool) {
        let now = self.now();
        self.part.store(self.part_at(now).to_bits(), Relaxed);
        self.since.store(now | u64::from(works), Relaxed);
    }

    fn part_at(&self, now: u64) -> f32 {
        let since = self.since.load(Relaxed);
        let part = f32::from_bits(self.part.load(Relaxed));
        let passed = Duration::from_nanos(now.saturating_sub(since)).as_secs_f32();
        // What is left of the part: half of it after the time of the memory.
        let left = MEMORY.as_secs_f32() / (MEMORY.as_secs_f32() + passed);
        if since & 1 == 1 { 1.0 - (1.0 - part) * left } else { part * left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part after these times of work and of waiting, in ms, one after the other.
    fn part_after(times: &[(bool, u64)]) -> f32 {
        let load = Load::default();
        let mut now = 0;
        for (works, ms) in times {
            load.part.store(load.part_at(now).to_bits(), Relaxed);
            load.since.store(now | u64::from(*works), Relaxed);
            now += ms * 1_000_000;
        }
        load.part_at(now)
    }

    #[test]
    fn what_is_long_past_counts_little() {
        assert!(part_after(&[]) == 0.0);
        assert!(part_after(&[(true, 200)]) > 0.9);
        assert!(part_after(&[(true, 200), (false, 400)]) < 0.1);
        assert!(part_after(&[(false, 400), (true, 200)]) > 0.9);
    }

    #[test]
    fn work_now_and_then_is_the_part_that_it_is() {
        let half = [(true, 1), (false, 1)].repeat(200);
        let tenth = [(true, 1), (false, 9)].repeat(50);
        assert!((0.4..0.6).contains(&part_after(&half)), "{}", part_after(&half));
        assert!(part_after(&tenth) < 0.2, "{}", part_after(&tenth));
    }
}
