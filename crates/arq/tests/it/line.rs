//! Two muxes with their framings over a simulated line: whoever restarts when, whatever noise does.

use std::collections::BTreeMap;

use sspc_arq::{
    Arq, ChaCha20Poly1305, Checked, Choice, Config, DeviceFraming, Either, Framing, Input, Key,
    KeyTable, Keys, OwnKey, Sealed, SoftCrc,
};
use sspc_mux::{Config as MuxConfig, Event, Instant, Mux, Priority, Role};
use sspc_sim::{Link, LinkConfig, Noise, Rng, Side};

/// With a check sum, or with a key.
type Protect = Either<Checked<SoftCrc>, Sealed<SoftCrc, ChaCha20Poly1305, Box<dyn Keys>>>;

enum Layer {
    Host(Framing<Protect, Vec<u8>, Vec<u8>>),
    Device(DeviceFraming<Protect, Vec<u8>, Vec<u8>>),
}

fn protection(role: Role, encrypts: bool, seed: u32) -> Protect {
    if !encrypts {
        return Either::This(Checked::new(SoftCrc));
    }
    let key = Key::new([7; 32]);
    let keys: Box<dyn Keys> = match role {
        Role::Client => Box::new(OwnKey::new("lamp", key)),
        Role::Proxy => Box::new(KeyTable::from([(b"lamp".to_vec(), key)])),
    };
    let chance = [seed.to_be_bytes(), (!seed).to_le_bytes()].concat().repeat(4);
    let chance = chance.try_into().unwrap();
    Either::That(Sealed::new(SoftCrc, ChaCha20Poly1305, keys, chance).change_keys_every(6))
}

impl Layer {
    fn receive<'s, 'i: 's>(
        &'s mut self,
        now: Instant,
        input: &mut &'i [u8],
        mux: &Mux,
    ) -> Option<Input<'s>> {
        match self {
            Self::Host(layer) => layer.receive(now, input, mux),
            Self::Device(layer) => layer.receive(now, input, mux),
        }
    }

    fn transmit(
        &mut self,
        now: Instant,
        out: &mut [u8],
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        match self {
            Self::Host(layer) => layer.transmit(now, out, source),
            Self::Device(layer) => layer.transmit(now, out, source),
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Host(layer) => layer.deadline(),
            Self::Device(layer) => layer.deadline(now),
        }
    }

    fn in_packets(&self) -> bool {
        match self {
            Self::Host(layer) => layer.in_packets(),
            Self::Device(layer) => layer.in_packets(),
        }
    }
}

/// What an end is made of: how long its buffers are.
#[derive(Clone, Copy)]
enum Kind {
    Host { storage: usize, replay: usize },
    Device { storage: usize, replay: usize },
}

/// What a client sends on a channel and the proxy sends back, as the pairs of their lives have it.
#[derive(Default)]
struct Stream {
    sent: u64,
    heard: u64,
}

struct End {
    side: Side,
    role: Role,
    choice: Choice,
    mux: Mux,
    layer: Layer,
    streams: BTreeMap<u8, Stream>,
    /// What a proxy is to send back.
    to_echo: BTreeMap<u8, Vec<u8>>,
    free_us: u64,
    ups: u32,
    echoed: u64,
}

fn byte(channel: u8, at: u64) -> u8 {
    ((at / 2 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ u64::from(channel)) >> 48) as u8
}

impl End {
    fn new(side: Side, choice: Choice, kind: Kind, seed: u32, encrypts: bool) -> Self {
        let role = if side == Side::A { Role::Client } else { Role::Proxy };
        let config = Config::DEFAULT.for_line(2_000_000);
        let protection = protection(role, encrypts, seed);
        let layer = match kind {
            Kind::Host { storage, replay } => {
                let (storage, replay) = (vec![0; storage], vec![0; replay]);
                let arq = Arq::new(role, config, seed, protection, storage, replay);
                Layer::Host(Framing::new(choice, arq))
            }
            Kind::Device { storage, replay } => {
                let (storage, replay) = (vec![0; storage], vec![0; replay]);
                Layer::Device(DeviceFraming::new(
                    choice, &config, seed, protection, storage, replay,
                ))
            }
        };
        Self {
            side,
            role,
            choice,
            mux: Mux::new(role, MuxConfig::FAST.for_line(2_000_000), seed),
            layer,
            streams: BTreeMap::new(),
            to_echo: BTreeMap::new(),
            free_us: 0,
            ups: 0,
            echoed: 0,
        }
    }

    fn receive(&mut self, now: Instant, mut raw: &[u8]) {
        loop {
            let bytes = match self.layer.receive(now, &mut raw, &self.mux) {
                None => break,
                Some(Input::Reset) => {
                    self.mux.reset();
                    continue;
                }
                Some(Input::Bytes(bytes)) => bytes,
            };
            let mut bytes = bytes;
            while let Some(event) = self.mux.receive(now, &mut bytes) {
                Self::event(
                    &mut self.streams,
                    &mut self.to_echo,
                    &mut self.ups,
                    &mut self.echoed,
                    self.role,
                    &event,
                );
                Self::act(&mut self.mux, &event);
            }
        }
        while let Some(event) = self.mux.handle_timeout(now) {
            Self::event(
                &mut self.streams,
                &mut self.to_echo,
                &mut self.ups,
                &mut self.echoed,
                self.role,
                &event,
            );
            Self::act(&mut self.mux, &event);
        }
    }

    fn act(mux: &mut Mux, event: &Event<'_>) {
        match *event {
            Event::LinkUp { .. } if mux.role() == Role::Client => {
                for _ in 0..3 {
                    mux.open(Priority::default()).unwrap();
                }
            }
            Event::ChannelRequested { channel } => {
                mux.accept(channel, Priority::default()).unwrap()
            }
            Event::Opened { channel } | Event::Data { channel, .. } => {
                mux.wants_to_send(channel, true)
            }
            _ => {}
        }
    }

    fn event(
        streams: &mut BTreeMap<u8, Stream>,
        to_echo: &mut BTreeMap<u8, Vec<u8>>,
        ups: &mut u32,
        echoed: &mut u64,
        role: Role,
        event: &Event<'_>,
    ) {
        match *event {
            Event::LinkUp { .. } => *ups += 1,
            Event::LinkDown { .. } => {
                streams.clear();
                to_echo.clear();
            }
            Event::Opened { channel } | Event::ChannelRequested { channel } => {
                streams.insert(channel.index(), Stream::default());
            }
            Event::Data { channel, piece } => {
                let stream = streams.get_mut(&channel.index()).unwrap();
                for got in piece {
                    assert_eq!(*got, byte(channel.index(), stream.heard), "{role:?} on {channel}");
                    stream.heard += 1;
                }
                if role == Role::Proxy {
                    to_echo.entry(channel.index()).or_default().extend_from_slice(piece);
                } else {
                    *echoed += piece.len() as u64;
                }
            }
            _ => {}
        }
    }

    fn transmit(&mut self, now: Instant, out: &mut [u8]) -> usize {
        let (mux, role) = (&mut self.mux, self.role);
        let (streams, to_echo) = (&mut self.streams, &mut self.to_echo);
        let mut payload = |channel: sspc_mux::Channel, room: &mut [u8]| {
            let index = channel.index();
            let Some(stream) = streams.get_mut(&index) else { return 0 };
            let most = match role {
                // As much as the window of an echo.
                Role::Client => (4096 - (stream.sent - stream.heard)) as usize,
                Role::Proxy => to_echo.get(&index).map_or(0, Vec::len),
            };
            let length = room.len().min(most);
            for to in &mut room[..length] {
                *to = byte(index, stream.sent);
                stream.sent += 1;
            }
            if role == Role::Proxy && length > 0 {
                to_echo.get_mut(&index).unwrap().drain(..length);
            }
            length
        };
        let mut source = |room: &mut [u8]| mux.transmit(now, room, &mut payload).unwrap_or(0);
        self.layer.transmit(now, out, &mut source)
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        self.mux.deadline().into_iter().chain(self.layer.deadline(now)).min()
    }
}

struct World {
    ends: [End; 2],
    link: Link,
    now_us: u64,
    rng: Rng,
    encrypts: bool,
}

const RATE: u64 = 2_000_000;

impl World {
    fn new(seed: u64, noise: Noise, choices: [Choice; 2], kinds: [Kind; 2]) -> Self {
        Self::with(seed, noise, choices, kinds, false)
    }

    fn with(
        seed: u64,
        noise: Noise,
        choices: [Choice; 2],
        kinds: [Kind; 2],
        encrypts: bool,
    ) -> Self {
        let mut rng = Rng::new(seed);
        let config =
            LinkConfig { noise, latency_us: 500, capacity: usize::MAX, ..LinkConfig::serial(RATE) };
        let mut end =
            |side, at: usize| End::new(side, choices[at], kinds[at], rng.bits() as u32, encrypts);
        let ends = [end(Side::A, 0), end(Side::B, 1)];
        Self { ends, link: Link::new(seed, config), now_us: 1, rng, encrypts }
    }

    fn restart(&mut self, at: usize, choice: Choice, kind: Kind) {
        let seed = self.rng.bits() as u32;
        let end = &mut self.ends[at];
        let (ups, echoed) = (end.ups, end.echoed);
        let new = End::new(end.side, choice, kind, seed, self.encrypts);
        *end = End { ups, echoed, free_us: self.now_us, ..new };
    }

    fn run(&mut self, for_us: u64, mut is_done: impl FnMut(&Self) -> bool) -> bool {
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
        let now = Instant::from_micros(now_us);
        let mut next_us = until_us;
        let mut buf = [0; 4096];
        for end in &mut self.ends {
            loop {
                let length = self.link.pop(now_us, end.side, &mut buf);
                if length == 0 {
                    break;
                }
                end.receive(now, &buf[..length]);
            }
            end.receive(now, &[]);
            loop {
                if end.free_us > now_us + 1000 {
                    next_us = next_us.min(end.free_us - 1000);
                    break;
                }
                let length = end.transmit(now, &mut buf);
                if length == 0 {
                    break;
                }
                self.link.push(now_us, end.side, &buf[..length]);
                end.free_us = end.free_us.max(now_us) + length as u64 * 10_000_000 / RATE;
            }
            if let Some(at) = end.deadline(now) {
                next_us = next_us.min(at.as_micros());
            }
        }
        next_us = next_us.min(self.link.next_event().unwrap_or(u64::MAX));
        self.now_us = next_us.max(now_us + 1);
    }

    fn both_up(&self) -> bool {
        self.ends.iter().all(|end| end.mux.is_up())
    }

    fn report(&self) -> String {
        let ends: Vec<_> = self
            .ends
            .iter()
            .map(|end| {
                format!(
                    "[{:?} up {} ups {} in_packets {} echoed {} {}]",
                    end.choice,
                    end.mux.is_up(),
                    end.ups,
                    end.layer.in_packets(),
                    end.echoed,
                    match &end.layer {
                        Layer::Host(layer) => format!("{:?}", layer.arq().counters()),
                        Layer::Device(_) => "a device".into(),
                    }
                )
            })
            .collect();
        format!("at {} µs {}", self.now_us, ends.join(" "))
    }
}

const HOST: Kind = Kind::Host { storage: 17 * 1400, replay: 32 * 1024 };
const DEVICE: Kind = Kind::Device { storage: 262, replay: 320 };

#[test]
fn ends_find_what_both_know() {
    for (choices, in_packets) in [
        ([Choice::Auto, Choice::Auto], true),
        ([Choice::Auto, Choice::Plain], false),
        ([Choice::Plain, Choice::Auto], false),
        ([Choice::Reliable, Choice::Auto], true),
        ([Choice::Auto, Choice::Reliable], true),
        ([Choice::Plain, Choice::Plain], false),
    ] {
        let mut world = World::new(1, Noise::NONE, choices, [DEVICE, HOST]);
        let is_up = world.run(1_000_000, |world| world.both_up() && world.ends[0].echoed > 50_000);
        println!("{choices:?} {}", world.report());
        assert!(is_up, "{choices:?}");
        assert!(world.ends.iter().all(|end| end.layer.in_packets() == in_packets));
        // Never anything but one handshake.
        assert!(world.ends.iter().all(|end| end.ups == 1), "{choices:?}");
    }
    for choice in [Choice::Auto, Choice::Plain, Choice::Reliable] {
        let choices = [choice, Choice::Auto];
        let mut world = World::with(1, Noise::NONE, choices, [DEVICE, HOST], true);
        let is_up = world.run(1_000_000, |world| world.both_up() && world.ends[0].echoed > 50_000);
        assert!(is_up, "{choices:?} with a key: {}", world.report());
        assert!(world.ends.iter().all(|end| end.layer.in_packets() && end.ups == 1));
    }
    let choices = [Choice::Reliable, Choice::Plain];
    let mut world = World::new(1, Noise::NONE, choices, [DEVICE, HOST]);
    assert!(!world.run(5_000_000, |world| world.ends.iter().any(|end| end.mux.is_up())));
}

#[test]
fn whoever_restarts_is_met_again() {
    let seeds =
        std::env::var("SSPC_SIMULATED_LINES").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let (mut worst, mut total) = (0, 0);
    for seed in 0..seeds {
        let mut rng = Rng::new(seed);
        let per_million = [0, 1, 10, 100, 500][rng.below(5) as usize];
        let mut noise = Noise::NONE;
        match rng.below(4) {
            0 => noise.flips = per_million,
            1 => noise.drops = per_million,
            2 => noise.doubles = per_million,
            _ => (noise.bursts, noise.burst_max) = (per_million / 8, 64),
        }
        // Noise on a plain line is heard.
        let kinds = if per_million == 0 { 5 } else { 4 };
        let choose = |rng: &mut Rng| {
            let kind = rng.below(kinds) as usize;
            [Choice::Auto, Choice::Auto, Choice::Auto, Choice::Reliable, Choice::Plain][kind]
        };
        // Only a client is a device.
        let choose_kind = |rng: &mut Rng, at: usize| {
            let mru = 64 + rng.below(600) as usize;
            let places = rng.below(20) as usize;
            if at == 0 && rng.below(2) == 0 {
                return Kind::Device { storage: mru + 20, replay: 65 + rng.below(600) as usize };
            }
            let replay = 67 + rng.below(4000) as usize;
            Kind::Host { storage: mru + 20 + places * (mru + 22), replay }
        };
        let choices = [choose(&mut rng), choose(&mut rng)];
        let kinds = [choose_kind(&mut rng, 0), choose_kind(&mut rng, 1)];
        let encrypts = rng.below(3) == 0;
        let mut world = World::with(seed, noise, choices, kinds, encrypts);
        for _ in 0..6 {
            world.run(rng.below(400_000), |_| false);
            let at = rng.below(2) as usize;
            world.restart(at, choose(&mut rng), choose_kind(&mut rng, at));
            let choices = [world.ends[0].choice, world.ends[1].choice];
            // With a key there are packets, whatever is chosen.
            let is_plain = choices.contains(&Choice::Plain) && !encrypts;
            let can_speak = !(is_plain && choices.contains(&Choice::Reliable));
            if !can_speak {
                continue;
            }
            let before = world.ends[0].echoed;
            let since_us = world.now_us;
            let is_back = world.run(20_000_000, |world| {
                world.both_up()
                    && world.ends[0].echoed > before + 2000
                    && world.ends.iter().all(|end| end.layer.in_packets() != is_plain)
            });
            assert!(is_back, "seed {seed}: {choices:?} {noise:?}: {}", world.report());
            worst = worst.max(world.now_us - since_us);
            total += 1;
        }
    }
    println!("{total} restarts, the longest way back {worst} µs");
}
