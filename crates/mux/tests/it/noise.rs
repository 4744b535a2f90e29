//! Thousands of seeds of a bad line: flips, drops, doubled bytes, bursts, cuts, a deaf end,
//! restarts at any byte. While it lasts nothing breaks; after it the link is back in time, and
//! channels that are opened then yield each byte that was sent on them, and no other.

use sspc_mux::{Channel, Config, Event, Mux, Priority, Role};
use sspc_sim::{Link, LinkConfig, Noise, Rng, Side};

use crate::support::{App, SIDES, World};

/// What an application may believe about a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    None,
    Opening,
    Requested,
    Open,
}

/// Does by chance whatever an application can do, and checks that what it is told is legal.
struct Wild {
    rng: Rng,
    side: Side,
    is_up: bool,
    beliefs: [Belief; 256],
    /// Since when each is open.
    opened_us: [u64; 256],
    /// Bytes sent and heard since then.
    sent: [u64; 256],
    heard: [u64; 256],
    /// Bytes still to be sent.
    left: [u64; 256],
    /// No byte came to harm since then: what was opened after it must be perfect.
    clean_since_us: u64,
    next_us: u64,
    pace_us: u64,
    /// How many channels to have.
    wished: usize,
    /// The most bytes that a channel is given to send at a time.
    most: u64,
    is_quiet: bool,
    /// Bytes heard on channels that are perfect.
    perfect: u64,
}

/// The byte at a place of a channel's stream in one direction.
fn byte_at(from: Side, channel: Channel, place: u64) -> u8 {
    let seed = (from as u64) << 48 | u64::from(channel.index()) << 40 | place;
    Rng::new(seed).bits() as u8
}

impl Wild {
    fn new(seed: u64, side: Side, pace_us: u64, wished: usize, most: u64, now_us: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            side,
            is_up: false,
            beliefs: [Belief::None; 256],
            opened_us: [0; 256],
            sent: [0; 256],
            heard: [0; 256],
            left: [0; 256],
            clean_since_us: 0,
            next_us: now_us,
            pace_us,
            wished,
            most,
            is_quiet: false,
            perfect: 0,
        }
    }

    fn belief(&mut self, channel: Channel) -> &mut Belief {
        &mut self.beliefs[usize::from(channel.index())]
    }

    fn begin(&mut self, mux: &mut Mux, channel: Channel, now_us: u64) {
        let index = usize::from(channel.index());
        self.beliefs[index] = Belief::Open;
        self.opened_us[index] = now_us;
        self.sent[index] = 0;
        self.heard[index] = 0;
        self.give(mux, channel);
    }

    fn give(&mut self, mux: &mut Mux, channel: Channel) {
        self.left[usize::from(channel.index())] = self.rng.below(self.most) + 1;
        mux.wants_to_send(channel, true);
    }
}

impl App for Wild {
    fn event(&mut self, mux: &mut Mux, now_us: u64, event: Event<'_>) {
        match event {
            Event::LinkUp { .. } => {
                assert!(!self.is_up, "up twice");
                assert!(mux.is_up());
                assert_eq!(self.beliefs, [Belief::None; 256]);
                self.is_up = true;
                return;
            }
            Event::LinkDown { .. } => {
                assert!(self.is_up, "down twice");
                assert_eq!(mux.used(), 0);
                self.is_up = false;
                self.beliefs = [Belief::None; 256];
                return;
            }
            // One harmed bit can make a PING of a peer with the very same clock one's own.
            Event::Echo => {
                assert!(!self.is_up);
                return;
            }
            _ => assert!(self.is_up, "{event:?} while down"),
        }
        match event {
            Event::ChannelRequested { channel } => {
                assert_eq!(mux.role(), Role::Proxy);
                assert_eq!(*self.belief(channel), Belief::None);
                *self.belief(channel) = Belief::Requested;
                if self.rng.chance(50_000) {
                    mux.refuse(channel);
                    *self.belief(channel) = Belief::None;
                } else {
                    mux.accept(channel, Priority::new(self.rng.below(8) as u8)).unwrap();
                    self.begin(mux, channel, now_us);
                }
            }
            Event::Opened { channel } => {
                assert_eq!(*self.belief(channel), Belief::Opening);
                self.begin(mux, channel, now_us);
            }
            Event::Refused { channel, .. } => {
                assert_eq!(*self.belief(channel), Belief::Opening);
                *self.belief(channel) = Belief::None;
            }
            Event::Closed { channel } => {
                assert_eq!(*self.belief(channel), Belief::Open);
                *self.belief(channel) = Belief::None;
            }
            Event::Data { channel, piece } => {
                assert_eq!(*self.belief(channel), Belief::Open);
                assert!(!piece.is_empty());
                let index = usize::from(channel.index());
                if self.opened_us[index] > self.clean_since_us {
                    for (byte, place) in piece.iter().zip(self.heard[index]..) {
                        let expected = byte_at(self.side.other(), channel, place);
                        assert_eq!(*byte, expected, "byte {place} of channel {channel}");
                    }
                    self.perfect += piece.len() as u64;
                }
                self.heard[index] += piece.len() as u64;
            }
            _ => {}
        }
    }

    fn source(&mut self, channel: Channel, room: &mut [u8]) -> usize {
        let index = usize::from(channel.index());
        assert_eq!(self.beliefs[index], Belief::Open, "asked for bytes of a channel not open");
        let n = room.len().min(self.left[index] as usize);
        for (byte, place) in room[..n].iter_mut().zip(self.sent[index]..) {
            *byte = byte_at(self.side, channel, place);
        }
        self.sent[index] += n as u64;
        self.left[index] -= n as u64;
        n
    }

    fn step(&mut self, mux: &mut Mux, now_us: u64) -> Option<u64> {
        if now_us < self.next_us || self.is_quiet {
            return if self.is_quiet { None } else { Some(self.next_us) };
        }
        self.next_us = now_us + 1 + self.rng.below(self.pace_us);
        let used: Vec<u8> =
            (0..=255).filter(|index| self.beliefs[usize::from(*index)] != Belief::None).collect();
        let any = self.rng.below(256) as u8;
        let one = used.get(self.rng.below(used.len() as u64) as usize).copied();
        let channel = Channel::new(one.unwrap_or(any));
        if mux.role() == Role::Client {
            for _ in used.len()..self.wished {
                let Ok(channel) = mux.open(Priority::new(self.rng.below(8) as u8)) else { break };
                assert_eq!(*self.belief(channel), Belief::None);
                *self.belief(channel) = Belief::Opening;
            }
        }
        match (self.rng.below(10), *self.belief(channel)) {
            (0..3, Belief::Open | Belief::Opening) => {
                mux.close(channel);
                *self.belief(channel) = Belief::None;
            }
            (_, Belief::Open) => self.give(mux, channel),
            _ => {}
        }
        if self.rng.chance(2000) {
            mux.ping(sspc_mux::Instant::from_micros(now_us));
        }
        if self.rng.chance(1000) && self.is_up {
            mux.reset();
        }
        Some(self.next_us)
    }
}

/// Says which seed failed.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the failing seed is {:#x}", self.0);
        }
    }
}

const RATES: [u32; 6] = [9600, 115_200, 921_600, 1_000_000, 2_000_000, 3_000_000];

fn live(seed: u64) {
    let _named = Named(seed);
    let mut rng = Rng::new(seed);
    let rate = RATES[rng.below(RATES.len() as u64) as usize];
    let is_fast = rate >= 1_000_000 && rng.chance(800_000);
    let config = if is_fast { Config::FAST } else { Config::DEFAULT }.for_line(rate);
    let few = 1 + rng.below(4) as usize;
    let wished = if rng.chance(30_000) { 250 } else { few };
    // What the line passes in a time sets all times.
    let byte_us = 10_000_000 / u64::from(rate);
    let pace_us = byte_us * 400;
    let most = [40, 400, 3000][rng.below(3) as usize];
    let harm = |rng: &mut Rng| [0, 0, 30, 300, 3000, 20_000][rng.below(6) as usize];
    let noise = Noise {
        flips: harm(&mut rng),
        drops: harm(&mut rng),
        doubles: harm(&mut rng),
        bursts: harm(&mut rng) / 10,
        burst_max: 60,
        ..Noise::NONE
    };
    let line = LinkConfig {
        latency_us: rng.below(500),
        jitter_us: rng.below(500),
        cut_max: [1, 8, 16, 32, 64, 256][rng.below(6) as usize],
        capacity: 64 << rng.below(4),
        ..LinkConfig::serial(u64::from(rate))
    };
    let app = |side: Side, now_us: u64, rng: &mut Rng| {
        Wild::new(rng.bits(), side, pace_us, wished, most, now_us)
    };
    let apps = [app(Side::A, 0, &mut rng), app(Side::B, 0, &mut rng)];
    let mut world = World::new(Link::new(0, line), [config; 2], rng.bits() as u32, apps);

    // A good time.
    world.run_until(world.now_us + byte_us * rng.below(2000), |_| false);

    // A bad one.
    world.link = Link::new(rng.bits(), LinkConfig { noise, ..line });
    for side in SIDES {
        world.end(side).app.clean_since_us = u64::MAX;
    }
    for _ in 0..rng.below(8) {
        let side = if rng.chance(500_000) { Side::A } else { Side::B };
        match rng.below(6) {
            0 => {
                let fresh = app(side, world.now_us, &mut rng);
                world.restart(side, Wild { clean_since_us: u64::MAX, ..fresh });
            }
            1 => world.end(side).is_deaf ^= true,
            2 => world.pull_the_cable(true),
            3 => world.pull_the_cable(false),
            _ => {}
        }
        world.run_until(world.now_us + byte_us * (1 + rng.below(2000)), |_| false);
    }

    // The line is good from now on; what was under way is lost.
    world.link = Link::new(rng.bits(), line);
    let good_us = world.now_us;
    for side in SIDES {
        let end = world.end(side);
        end.is_deaf = false;
        end.app.is_quiet = true;
        end.app.clean_since_us = good_us;
    }
    if rng.chance(100_000) {
        let side = if rng.chance(500_000) { Side::A } else { Side::B };
        let fresh = Wild { clean_since_us: good_us, ..app(side, good_us, &mut rng) };
        world.restart(side, Wild { is_quiet: true, ..fresh });
    }
    let bound_us = if is_fast {
        500_000
    } else {
        // Each end finds out by its next PING at the latest, and the slower one's retry gets
        // through; frames that are under way go first.
        let frames_us = 4 * (u64::from(config.frame_max) + 1024) * byte_us;
        let bound_ms = config.ping_ms + config.pong_ms + 2 * config.retry_max_ms;
        u64::from(bound_ms) * 1000 + 4 * line.latency_us + frames_us
    };
    world.run_until(good_us + bound_us, |_| false);
    assert!(world.both_up(), "not up again {bound_us} µs after the last noise");

    // And it is of use: new channels come, and each byte on them is right.
    for side in SIDES {
        let end = world.end(side);
        end.app.is_quiet = false;
        end.app.next_us = good_us + bound_us;
    }
    let until_us = world.now_us + 20_000_000;
    let is_back =
        world.run_until(until_us, |world| world.ends.iter().all(|end| end.app.perfect > 0));
    assert!(is_back, "nothing comes through");
}

fn lives(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        live(seed);
    }
}

// Four tests of 2,500 seeds each, so that they can run beside each other.

#[test]
fn survives_seeds_0_to_2500() {
    lives(0..2500);
}

#[test]
fn survives_seeds_2500_to_5000() {
    lives(2500..5000);
}

#[test]
fn survives_seeds_5000_to_7500() {
    lives(5000..7500);
}

#[test]
fn survives_seeds_7500_to_10000() {
    lives(7500..10_000);
}
