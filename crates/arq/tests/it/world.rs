//! Two muxes with their framings over a simulated line, in virtual time.

use std::collections::BTreeMap;

use sspc_arq::{
    Arq, ChaCha20Poly1305, Checked, Choice, Config, DeviceFraming, Either, Framing, Input, Key,
    KeyTable, Keys, OwnKey, Sealed, SoftCrc,
};
use sspc_mux::{Channel, Config as MuxConfig, Event, Instant, Mux, Priority, Role};
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
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Host { storage: usize, replay: usize },
    Device { storage: usize, replay: usize },
}

pub(crate) const HOST: Kind = Kind::Host { storage: 17 * 1400, replay: 32 * 1024 };
pub(crate) const DEVICE: Kind = Kind::Device { storage: 262, replay: 320 };

/// What an end is in one of its lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) choice: Choice,
    pub(crate) encrypts: bool,
    pub(crate) kind: Kind,
    /// What its clock shows when the world's shows 0, in µs.
    pub(crate) clock_us: u64,
}

impl Life {
    pub(crate) const fn new(choice: Choice, kind: Kind) -> Self {
        Self { choice, encrypts: false, kind, clock_us: 0 }
    }

    /// Whether two ends speak to each other in packets; `None` if they do not speak to each other.
    pub(crate) fn in_packets([a, b]: [Self; 2]) -> Option<bool> {
        // With a key there are packets, whatever is chosen.
        let is_plain = |life: Self| life.choice == Choice::Plain && !life.encrypts;
        let is_reliable = |life: Self| life.choice == Choice::Reliable || life.encrypts;
        let cannot_speak = a.encrypts != b.encrypts
            || is_plain(a) && is_reliable(b)
            || is_reliable(a) && is_plain(b);
        (!cannot_speak).then(|| !is_plain(a) && !is_plain(b))
    }
}

/// What a client sends on a channel and the proxy sends back, as the pairs of their lives have it.
#[derive(Default)]
struct Stream {
    sent: u64,
    heard: u64,
}

/// What is above the mux.
struct App {
    role: Role,
    streams: BTreeMap<u8, Stream>,
    /// What a proxy is to send back.
    to_echo: BTreeMap<u8, Vec<u8>>,
    ups: u32,
    echoed: u64,
    /// The peer has restarted on a plain line: nothing says where its frames end.
    doubts: bool,
}

pub(crate) struct End {
    side: Side,
    pub(crate) life: Life,
    pub(crate) mux: Mux,
    layer: Layer,
    app: App,
    free_us: u64,
    /// Until when it does nothing.
    pub(crate) stalls_until_us: u64,
    /// How often what it sent was acknowledged.
    acknowledgements: u64,
    /// What the mux was given, since each time that it was reset; if that is recorded.
    got: Option<Vec<Vec<u8>>>,
}

fn byte(channel: u8, at: u64) -> u8 {
    ((at / 2 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ u64::from(channel)) >> 48) as u8
}

impl End {
    fn new(side: Side, life: Life, seed: u32) -> Self {
        let Life { choice, encrypts, kind, .. } = life;
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
        let app = App {
            role,
            streams: BTreeMap::new(),
            to_echo: BTreeMap::new(),
            ups: 0,
            echoed: 0,
            doubts: false,
        };
        let mux = Mux::new(role, MuxConfig::FAST.for_line(2_000_000), seed);
        Self {
            side,
            life,
            mux,
            layer,
            app,
            free_us: 0,
            stalls_until_us: 0,
            acknowledgements: 0,
            got: None,
        }
    }

    fn receive(&mut self, now: Instant, mut raw: &[u8]) {
        loop {
            let mut bytes = match self.layer.receive(now, &mut raw, &self.mux) {
                None => break,
                Some(Input::Reset) => {
                    self.mux.reset();
                    self.got.iter_mut().for_each(|got| got.push(Vec::new()));
                    continue;
                }
                Some(Input::Bytes(bytes)) => bytes,
            };
            if let Some(got) = self.got.as_mut().and_then(|got| got.last_mut()) {
                got.extend_from_slice(bytes);
            }
            while let Some(event) = self.mux.receive(now, &mut bytes) {
                self.app.see(&event);
                act(&mut self.mux, &event);
            }
        }
        if let Layer::Host(layer) = &self.layer
            && layer.arq().acknowledgements()
                != std::mem::replace(&mut self.acknowledgements, layer.arq().acknowledgements())
        {
            self.mux.peer_answered(now);
        }
        while let Some(event) = self.mux.handle_timeout(now) {
            self.app.see(&event);
            act(&mut self.mux, &event);
        }
    }

    fn transmit(&mut self, now: Instant, out: &mut [u8]) -> usize {
        let (mux, app) = (&mut self.mux, &mut self.app);
        let mut payload = |channel: Channel, room: &mut [u8]| app.write(channel.index(), room);
        let mut source = |room: &mut [u8]| mux.transmit(now, room, &mut payload).unwrap_or(0);
        self.layer.transmit(now, out, &mut source)
    }

    /// How often its link came up.
    pub(crate) const fn ups(&self) -> u32 {
        self.app.ups
    }

    /// How many bytes came back to it.
    pub(crate) const fn echoed(&self) -> u64 {
        self.app.echoed
    }

    /// What its mux was given, since each time that it was reset.
    pub(crate) fn got(&self) -> &[Vec<u8>] {
        self.got.as_deref().unwrap()
    }

    /// What its own clock shows.
    fn clock(&self, now_us: u64) -> Instant {
        Instant::from_micros(now_us + self.life.clock_us)
    }

    /// When it has something to do, by the world's clock.
    fn deadline_us(&self, now_us: u64) -> Option<u64> {
        let by_layer = self.layer.deadline(self.clock(now_us));
        let at = self.mux.deadline().into_iter().chain(by_layer).min()?;
        Some(at.as_micros().saturating_sub(self.life.clock_us))
    }

    pub(crate) fn in_packets(&self) -> bool {
        self.layer.in_packets()
    }
}

fn act(mux: &mut Mux, event: &Event<'_>) {
    match *event {
        Event::LinkUp { .. } if mux.role() == Role::Client => {
            for _ in 0..3 {
                mux.open(Priority::default()).unwrap();
            }
        }
        Event::ChannelRequested { channel } => mux.accept(channel, Priority::default()).unwrap(),
        Event::Opened { channel } | Event::Data { channel, .. } => {
            mux.wants_to_send(channel, true);
        }
        _ => {}
    }
}

impl App {
    fn see(&mut self, event: &Event<'_>) {
        match *event {
            Event::LinkUp { .. } => self.ups += 1,
            Event::LinkDown { .. } => {
                self.streams.clear();
                self.to_echo.clear();
                self.doubts = false;
            }
            Event::Opened { channel } | Event::ChannelRequested { channel } => {
                self.streams.insert(channel.index(), Stream::default());
            }
            Event::Data { channel, piece } if !self.doubts => self.hear(channel.index(), piece),
            _ => {}
        }
    }

    fn hear(&mut self, channel: u8, piece: &[u8]) {
        let stream = self.streams.get_mut(&channel).unwrap();
        for got in piece {
            assert_eq!(*got, byte(channel, stream.heard), "{:?} on {channel}", self.role);
            stream.heard += 1;
        }
        if self.role == Role::Proxy {
            self.to_echo.entry(channel).or_default().extend_from_slice(piece);
        } else {
            self.echoed += piece.len() as u64;
        }
    }

    fn write(&mut self, channel: u8, room: &mut [u8]) -> usize {
        let Some(stream) = self.streams.get_mut(&channel) else { return 0 };
        let most = match self.role {
            // As much as the window of an echo.
            Role::Client => (4096 - (stream.sent - stream.heard)) as usize,
            Role::Proxy => self.to_echo.get(&channel).map_or(0, Vec::len),
        };
        let length = room.len().min(most);
        for to in &mut room[..length] {
            *to = byte(channel, stream.sent);
            stream.sent += 1;
        }
        if self.role == Role::Proxy && length > 0 {
            self.to_echo.get_mut(&channel).unwrap().drain(..length);
        }
        length
    }
}

pub(crate) struct World {
    pub(crate) ends: [End; 2],
    link: Link,
    pub(crate) now_us: u64,
    rng: Rng,
    buf: Vec<u8>,
    /// What arrived, and at which end; if that is recorded.
    arrived: Option<Vec<(Role, Vec<u8>)>>,
}

const RATE: u64 = 2_000_000;

impl World {
    pub(crate) fn new(seed: u64, noise: Noise, lives: [Life; 2]) -> Self {
        let mut rng = Rng::new(seed);
        let config =
            LinkConfig { noise, latency_us: 500, capacity: usize::MAX, ..LinkConfig::serial(RATE) };
        let mut end = |side, life| End::new(side, life, rng.bits() as u32);
        let ends = [end(Side::A, lives[0]), end(Side::B, lives[1])];
        let link = Link::new(seed, config);
        Self { ends, link, now_us: 1, rng, buf: vec![0; 4096], arrived: None }
    }

    /// Records what arrives, and what the muxes are given.
    pub(crate) fn record(&mut self) {
        self.arrived = Some(Vec::new());
        for end in &mut self.ends {
            end.got = Some(vec![Vec::new()]);
        }
    }

    pub(crate) fn arrived(&self) -> &[(Role, Vec<u8>)] {
        self.arrived.as_deref().unwrap()
    }

    /// An end stops between any two bytes, and begins its next life.
    pub(crate) fn restart(&mut self, at: usize, life: Life) {
        let seed = self.rng.bits() as u32;
        let end = &mut self.ends[at];
        self.link.stop_sending(self.now_us, end.side);
        let (ups, echoed) = (end.app.ups, end.app.echoed);
        let mut got = end.got.take();
        got.iter_mut().for_each(|got| got.push(Vec::new()));
        *end = End { free_us: self.now_us, got, ..End::new(end.side, life, seed) };
        (end.app.ups, end.app.echoed) = (ups, echoed);
        let other = &mut self.ends[1 - at];
        other.app.doubts |= !other.in_packets() && other.mux.is_up();
    }

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
        let mut next_us = until_us;
        let buf = &mut self.buf[..];
        for end in &mut self.ends {
            if end.stalls_until_us > now_us {
                next_us = next_us.min(end.stalls_until_us);
                continue;
            }
            let now = end.clock(now_us);
            loop {
                let length = self.link.pop(now_us, end.side, buf);
                if length == 0 {
                    break;
                }
                if let Some(arrived) = &mut self.arrived {
                    arrived.push((end.app.role, buf[..length].to_vec()));
                }
                end.receive(now, &buf[..length]);
            }
            end.receive(now, &[]);
            loop {
                if end.free_us > now_us + 1000 {
                    next_us = next_us.min(end.free_us - 1000);
                    break;
                }
                let length = end.transmit(now, buf);
                if length == 0 {
                    break;
                }
                self.link.push(now_us, end.side, &buf[..length]);
                end.free_us = end.free_us.max(now_us) + length as u64 * 10_000_000 / RATE;
            }
            next_us = next_us.min(end.deadline_us(now_us).unwrap_or(u64::MAX));
            next_us = next_us.min(self.link.next_arrival(end.side).unwrap_or(u64::MAX));
        }
        self.now_us = next_us.max(now_us + 1);
    }

    /// Puts bytes on the line that no end sent, on their way from the end at that index.
    pub(crate) fn inject(&mut self, from: usize, bytes: &[u8]) {
        self.link.push(self.now_us, self.ends[from].side, bytes);
    }

    pub(crate) fn both_up(&self) -> bool {
        self.ends.iter().all(|end| end.mux.is_up())
    }

    pub(crate) fn report(&self) -> String {
        let ends: Vec<_> = self
            .ends
            .iter()
            .map(|end| {
                format!(
                    "[{:?} up {} ups {} in_packets {} echoed {} {}]",
                    end.life,
                    end.mux.is_up(),
                    end.ups(),
                    end.layer.in_packets(),
                    end.echoed(),
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
