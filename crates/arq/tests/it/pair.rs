//! Two ends over a simulated line, in virtual time.

use std::fmt::Write as _;

use sspc_arq::{Arq, Checked, Config, Counters, Protection, Received, SoftCrc};
use sspc_mux::{Instant, Role};
use sspc_sim::{Link, LinkConfig, Rng, Side};

pub(crate) type End<P> = Arq<P, Vec<u8>, Vec<u8>>;

/// How long the storages of an end are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) storage: usize,
    pub(crate) replay: usize,
}

impl Sizes {
    pub(crate) const HOST: Self = Self { storage: 34 * 1500, replay: 64 * 1024 };

    /// For the longest packets that there are.
    pub(crate) const LONG: Self = Self { storage: 34 * 4200, replay: 60 * 1024 };

    /// Room for one packet, and for one to be kept.
    pub(crate) const fn device(packet_max: u16) -> Self {
        Self { storage: packet_max as usize + 6, replay: packet_max as usize + 4 }
    }
}

/// One end, what it is to send and what it has heard.
pub(crate) struct Half<P> {
    pub(crate) end: End<P>,
    side: Side,
    /// Bytes still to be sent, and what they follow from.
    pub(crate) to_send: u64,
    sent: u64,
    pub(crate) heard: u64,
    pub(crate) opened: u32,
    /// When all that was pushed will have left.
    free_us: u64,
    /// When bytes were heard last, and the longest time without any since the first.
    heard_at_us: u64,
    pub(crate) pause_us: u64,
}

/// The byte at a place of the stream from a side, in its session.
fn byte(side: Side, at: u64) -> u8 {
    let salt = if side == Side::A { 0x9e37_79b9_7f4a_7c15 } else { 0xd1b5_4a32_d192_ed03 };
    ((at / 3).wrapping_mul(salt) >> 56) as u8
}

impl<P: Protection> Half<P> {
    fn new(side: Side, config: Config, sizes: Sizes, seed: u32, protection: P) -> Self {
        let role = if side == Side::A { Role::Client } else { Role::Proxy };
        let mut half = Self {
            end: Self::end(role, config, sizes, seed, protection),
            side,
            to_send: 0,
            sent: 0,
            heard: 0,
            opened: 0,
            free_us: 0,
            heard_at_us: 0,
            pause_us: 0,
        };
        half.end.open(Instant::ZERO);
        half
    }

    fn end(role: Role, config: Config, sizes: Sizes, seed: u32, protection: P) -> End<P> {
        let (storage, replay) = (vec![0; sizes.storage], vec![0; sizes.replay]);
        Arq::new(role, config, seed, protection, storage, replay)
    }

    fn receive(&mut self, now_us: u64, mut input: &[u8]) {
        let from = self.side.other();
        while let Some(event) = self.end.receive(Instant::from_micros(now_us), &mut input) {
            match event {
                Received::Opened => {
                    self.opened += 1;
                    (self.sent, self.heard) = (0, 0);
                }
                Received::Data(bytes) => {
                    for got in bytes {
                        assert_eq!(
                            *got,
                            byte(from, self.heard),
                            "byte {} to {:?}",
                            self.heard,
                            self.side
                        );
                        self.heard += 1;
                    }
                    if self.heard_at_us > 0 {
                        self.pause_us = self.pause_us.max(now_us - self.heard_at_us);
                    }
                    self.heard_at_us = now_us;
                }
                _ => {}
            }
        }
    }

    /// The next packet.
    fn transmit(&mut self, now_us: u64, out: &mut [u8]) -> usize {
        let (sent, to_send, side) = (&mut self.sent, &mut self.to_send, self.side);
        let mut source = |room: &mut [u8]| {
            let length = room.len().min(usize::try_from(*to_send - (*sent).min(*to_send)).unwrap());
            for to in &mut room[..length] {
                *to = byte(side, *sent);
                *sent += 1;
            }
            length
        };
        self.end.transmit(Instant::from_micros(now_us), out, &mut source)
    }
}

/// Both ends and the line.
pub(crate) struct Pair<P = Checked<SoftCrc>> {
    pub(crate) a: Half<P>,
    pub(crate) b: Half<P>,
    pub(crate) link: Link,
    pub(crate) now_us: u64,
    rate: u64,
    /// How far what is given to the line may be ahead of it, in µs.
    pub(crate) ahead_us: u64,
}

impl Pair {
    pub(crate) fn new(seed: u64, line: LinkConfig, config: Config, sizes: [Sizes; 2]) -> Self {
        Self::with(seed, line, config, sizes, [Checked::new(SoftCrc); 2])
    }
}

impl<P: Protection> Pair<P> {
    pub(crate) fn with(
        seed: u64,
        line: LinkConfig,
        config: Config,
        sizes: [Sizes; 2],
        [of_a, of_b]: [P; 2],
    ) -> Self {
        let mut rng = Rng::new(seed);
        let seeds = [rng.bits() as u32, rng.bits() as u32];
        Self {
            a: Half::new(Side::A, config, sizes[0], seeds[0], of_a),
            b: Half::new(Side::B, config, sizes[1], seeds[1], of_b),
            link: Link::new(seed, LinkConfig { capacity: usize::MAX, ..line }),
            now_us: 1,
            rate: line.rate.unwrap_or(u64::MAX),
            ahead_us: 2000,
        }
    }

    /// Runs until `is_done`, or for so long in virtual time; true if it was done.
    pub(crate) fn run(&mut self, for_us: u64, mut is_done: impl FnMut(&Self) -> bool) -> bool {
        let until_us = self.now_us + for_us;
        while !is_done(self) {
            if self.now_us >= until_us {
                return false;
            }
            self.step(until_us);
        }
        true
    }

    fn step(&mut self, until_us: u64) {
        let now_us = self.now_us;
        let mut buf = [0; 4200];
        let mut next_us = until_us;
        for half in [&mut self.a, &mut self.b] {
            loop {
                let length = self.link.pop(now_us, half.side, &mut buf);
                if length == 0 {
                    break;
                }
                half.receive(now_us, &buf[..length]);
            }
            loop {
                if half.free_us > now_us + self.ahead_us {
                    next_us = next_us.min(half.free_us - self.ahead_us);
                    break;
                }
                let length = half.transmit(now_us, &mut buf);
                if length == 0 {
                    break;
                }
                self.link.push(now_us, half.side, &buf[..length]);
                let takes_us = length as u64 * 10_000_000 / self.rate;
                half.free_us = half.free_us.max(now_us) + takes_us;
            }
            if let Some(at) = half.end.deadline() {
                if half.free_us <= now_us + self.ahead_us {
                    next_us = next_us.min(at.as_micros());
                }
            }
        }
        next_us = next_us.min(self.link.next_event().unwrap_or(u64::MAX));
        self.now_us = next_us.max(now_us + 1);
    }

    pub(crate) fn report(&self) -> String {
        let mut text = format!("at {} µs: ", self.now_us);
        for half in [&self.a, &self.b] {
            let counters: Counters = half.end.counters();
            let _ = write!(
                text,
                "[heard {} of {}, opened {}, in flight {}, rtt {} µs, {counters:?}] ",
                half.heard,
                half.to_send,
                half.opened,
                half.end.in_flight(),
                half.end.rtt_us(),
            );
        }
        text
    }
}
