//! What two ends of a line live through by chance: lives that end at any byte, as peers of any kind;
//! noise, clocks that jump and are about to wrap, ends that stall. They always meet again, and hear what was said.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sspc_arq::Choice;
use sspc_sim::{Noise, Rng};

use crate::world::{Kind, Life, World};

/// How many lines are simulated; CI sets more.
fn lines() -> u64 {
    std::env::var("SSPC_SIMULATED_LINES").ok().and_then(|n| n.parse().ok()).unwrap_or(500)
}

/// What happened on all lines, or on one.
#[derive(Debug, Default)]
struct Seen {
    met: u32,
    strangers: u32,
    /// The longest time until two ends spoke to each other, in virtual µs.
    worst_us: u64,
    worst_seed: u64,
}

fn noise(rng: &mut Rng) -> Noise {
    let per_million = [0, 1, 10, 100, 500][rng.below(5) as usize];
    let mut noise = Noise::NONE;
    match rng.below(4) {
        0 => noise.flips = per_million,
        1 => noise.drops = per_million,
        2 => noise.doubles = per_million,
        _ => (noise.bursts, noise.burst_max) = (per_million / 8, 64),
    }
    noise
}

/// With the id of the client here and a public key; it has to fit, whatever the longest packet is.
const HELLO: usize = 90;

/// Of a host or a device, with buffers of any size, that speaks in any way.
fn life(rng: &mut Rng, at: usize, noise: Noise) -> Life {
    // Noise on a plain line is heard.
    let choices = if noise == Noise::NONE { 6 } else { 5 };
    let (choice, encrypts) = match rng.below(choices) {
        0..3 => (Choice::Auto, false),
        3 => (Choice::Reliable, false),
        4 => (Choice::Auto, true),
        _ => (Choice::Plain, false),
    };
    let mru = 64 + rng.below(600) as usize;
    // Only a client is a device.
    let kind = if at == 0 && rng.below(2) == 0 {
        Kind::Device { storage: (mru + 20).max(HELLO), replay: 65 + rng.below(600) as usize }
    } else {
        let places = rng.below(36) as usize;
        let replay_max = [600, 4000, 70_000][rng.below(3) as usize];
        let replay = 68 + rng.below(replay_max) as usize;
        Kind::Host { storage: (mru + 20 + places * (mru + 22)).max(HELLO), replay }
    };
    // Clocks are about to pass what 31, 32 or 48 bits hold.
    let clock_us = [0, 1 << 31, 1 << 32, 1 << 48][rng.below(4) as usize];
    Life { choice, encrypts, kind, clock_us: clock_us - rng.below(clock_us.min(1_000_000)) }
}

fn live(seed: u64) -> Seen {
    let mut rng = Rng::new(seed);
    let noise = noise(&mut rng);
    let lives = [life(&mut rng, 0, noise), life(&mut rng, 1, noise)];
    let mut world = World::new(seed, noise, lives);
    let mut seen = Seen { worst_seed: seed, ..Seen::default() };
    for _ in 0..6 {
        // Most often while they are still finding out.
        let while_us = [40_000, 40_000, 40_000, 400_000][rng.below(4) as usize];
        world.run(rng.below(while_us), |_| false);
        let at = rng.below(2) as usize;
        let mut stall_us = 0;
        match rng.below(8) {
            0 => {
                let jump_us = [100_000, 10_000_000, 3_600_000_000][rng.below(3) as usize];
                world.ends[at].life.clock_us += rng.below(jump_us);
            }
            1 => {
                stall_us = rng.below(3_000_000);
                world.ends[at].stalls_until_us = world.now_us + stall_us;
            }
            _ => world.restart(at, life(&mut rng, at, noise)),
        }
        let lives = [world.ends[0].life, world.ends[1].life];
        let Some(in_packets) = Life::in_packets(lives) else {
            // The one that was there before may take its time to notice that the other is gone.
            world.run(rng.below(100_000), |world| {
                assert!(!world.both_up(), "seed {seed}: strangers: {}", world.report());
                false
            });
            seen.strangers += 1;
            continue;
        };
        let before = world.ends[0].echoed();
        let since_us = world.now_us + stall_us;
        let is_back = world.run(20_000_000, |world| {
            world.both_up()
                && world.ends[0].echoed() > before + 2000
                && world.ends.iter().all(|end| end.in_packets() == in_packets)
        });
        assert!(is_back, "seed {seed}: {noise:?}: {}", world.report());
        seen.worst_us = seen.worst_us.max(world.now_us.saturating_sub(since_us));
        seen.met += 1;
    }
    seen
}

#[test]
fn ends_meet_again_and_hear_what_was_said() {
    let (lines, next) = (lines(), AtomicU64::new(0));
    let work = || {
        let mut all = Seen::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= lines {
                return all;
            }
            let seen = live(seed);
            all.met += seen.met;
            all.strangers += seen.strangers;
            if seen.worst_us > all.worst_us {
                (all.worst_us, all.worst_seed) = (seen.worst_us, seen.worst_seed);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<Seen> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    println!("{lines} lines: {all:?}");
}
