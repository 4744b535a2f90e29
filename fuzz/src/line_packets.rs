//! Two muxes with their packet layers, or without, and a line between them: what the input says happens to it
//! and to them.

use arbitrary::Arbitrary;
use sspc_arq::{Arq, Checked, Choice, Config, DeviceFraming, Framing, Input, SoftCrc};
use sspc_mux::{Config as MuxConfig, Event, Instant, Mux, Priority, Role};

/// Of an end in one of its lives.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Life {
    choice: u8,
    is_device: bool,
    mru: u8,
    places: u8,
    replay: u8,
}

/// One thing that happens; ends are numbered.
#[derive(Arbitrary, Debug)]
pub enum Step {
    /// An end sends so many packets at most.
    Transmit(bool, u8),
    /// So many bytes arrive at an end.
    Deliver(bool, u16),
    DeliverAll,
    /// Time passes: ms, or up to the next deadline.
    Wait(u16),
    WaitFor,
    Lose(bool, u8),
    Double(bool, u8),
    Flip(bool, u16, u8),
    Insert(bool, Vec<u8>),
    Restart(bool, Life),
}

/// How a line is set up, and what happens on it.
#[derive(Arbitrary, Debug)]
pub struct Lines {
    lives: [Life; 2],
    steps: Vec<Step>,
}

type Protect = Checked<SoftCrc>;

enum Layer {
    Host(Framing<Protect, Vec<u8>, Vec<u8>>),
    Device(DeviceFraming<Protect, Vec<u8>, Vec<u8>>),
}

struct End {
    choice: Choice,
    layer: Layer,
    mux: Mux,
    coming: Vec<u8>,
    /// Bytes of the one channel.
    said: u64,
    heard: u64,
}

/// What a channel carries, from either end.
const fn byte(role: Role, at: u64) -> u8 {
    (at / 3 * 7 + role as u64) as u8
}

impl End {
    fn new(role: Role, life: Life, seed: u32) -> Self {
        let choice = [Choice::Auto, Choice::Plain, Choice::Reliable][usize::from(life.choice % 3)];
        let (mru, config) = (64 + usize::from(life.mru), Config::DEFAULT);
        let (replay, protection) = (68 + usize::from(life.replay), Checked::new(SoftCrc));
        let layer = if life.is_device && role == Role::Client {
            let storage = vec![0; mru + 6];
            let replay = vec![0; replay];
            Layer::Device(DeviceFraming::new(choice, &config, seed, protection, storage, replay))
        } else {
            let storage = vec![0; mru + 6 + usize::from(life.places % 40) * (mru + 8)];
            let config = Config { packet_max: 320, ..config };
            let arq = Arq::new(role, config, seed, protection, storage, vec![0; 4 * replay]);
            Layer::Host(Framing::new(choice, arq))
        };
        let mux = Mux::new(role, MuxConfig::FAST, seed);
        Self { choice, layer, mux, coming: Vec::new(), said: 0, heard: 0 }
    }

    fn in_packets(&self) -> bool {
        match &self.layer {
            Layer::Host(layer) => layer.in_packets(),
            Layer::Device(layer) => layer.in_packets(),
        }
    }

    /// `is_clean`: what a plain line carries is what was sent.
    fn receive(&mut self, now: Instant, mut raw: &[u8], is_clean: bool) {
        let role = self.mux.role();
        for _ in 0..100_000 {
            let checked = (is_clean || self.in_packets()).then_some(role);
            let input = match &mut self.layer {
                Layer::Host(layer) => layer.receive(now, &mut raw, &self.mux),
                Layer::Device(layer) => layer.receive(now, &mut raw, &self.mux),
            };
            let mut bytes = match input {
                None => {
                    while let Some(event) = self.mux.handle_timeout(now) {
                        see(&event, &mut self.said, &mut self.heard, None);
                        act(&mut self.mux, &event);
                    }
                    return;
                }
                Some(Input::Reset) => {
                    self.mux.reset();
                    continue;
                }
                Some(Input::Bytes(bytes)) => bytes,
            };
            while let Some(event) = self.mux.receive(now, &mut bytes) {
                see(&event, &mut self.said, &mut self.heard, checked);
                act(&mut self.mux, &event);
            }
        }
        panic!("ever more to hear");
    }

    fn transmit(&mut self, now: Instant) -> Vec<u8> {
        let mut out = [0; 600];
        let (mux, said) = (&mut self.mux, &mut self.said);
        let role = mux.role();
        let mut payload = |_, room: &mut [u8]| {
            let length = room.len().min(50);
            for to in &mut room[..length] {
                *to = byte(role, *said);
                *said += 1;
            }
            length
        };
        let mut source = |room: &mut [u8]| mux.transmit(now, room, &mut payload).unwrap_or(0);
        let length = match &mut self.layer {
            Layer::Host(layer) => layer.transmit(now, &mut out, &mut source),
            Layer::Device(layer) => layer.transmit(now, &mut out, &mut source),
        };
        out[..length].to_vec()
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let by_layer = match &self.layer {
            Layer::Host(layer) => layer.deadline(),
            Layer::Device(layer) => layer.deadline(now),
        };
        self.mux.deadline().into_iter().chain(by_layer).min()
    }
}

fn act(mux: &mut Mux, event: &Event<'_>) {
    match *event {
        Event::LinkUp { .. } if mux.role() == Role::Client => {
            let _ = mux.open(Priority::default());
        }
        Event::ChannelRequested { channel } => drop(mux.accept(channel, Priority::default())),
        Event::Opened { channel } | Event::Data { channel, .. } => mux.wants_to_send(channel, true),
        _ => {}
    }
}

fn see(event: &Event<'_>, said: &mut u64, heard: &mut u64, checked: Option<Role>) {
    match *event {
        Event::Opened { .. } | Event::ChannelRequested { .. } => (*said, *heard) = (0, 0),
        Event::Data { piece, .. } => {
            for got in piece {
                if let Some(role) = checked {
                    let from = if role == Role::Client { Role::Proxy } else { Role::Client };
                    assert_eq!(*got, byte(from, *heard), "{role:?}, byte {heard}");
                }
                *heard += 1;
            }
        }
        _ => {}
    }
}

struct World {
    ends: [End; 2],
    now_us: u64,
    /// What was sent on a plain line came so far.
    is_clean: bool,
}

/// Lives the lives. What comes in packets is right, and without more harm both ends meet in time, if they
/// are to speak to each other.
pub fn line_packets(lines: Lines) {
    let [a, b] = lines.lives;
    let ends = [End::new(Role::Client, a, 1), End::new(Role::Proxy, b, 2)];
    let mut world = World { ends, now_us: 1_000_000, is_clean: true };
    for (number, step) in lines.steps.into_iter().enumerate() {
        world.step(number as u32, step);
        world.now_us += 1;
    }
    let choices = world.ends.each_ref().map(|end| end.choice);
    if choices.contains(&Choice::Plain) && choices.contains(&Choice::Reliable) {
        return;
    }
    let in_packets = !choices.contains(&Choice::Plain);
    let until_us = world.now_us + 60_000_000;
    while !world.ends.iter().all(|end| end.mux.is_up() && end.in_packets() == in_packets) {
        assert!(world.now_us < until_us, "not up, {choices:?}");
        world.settle(4);
        world.wait();
    }
}

impl World {
    fn now(&self) -> Instant {
        Instant::from_micros(self.now_us)
    }

    fn step(&mut self, number: u32, step: Step) {
        match step {
            Step::Transmit(at, packets) => self.transmit(at.into(), packets % 8),
            Step::Deliver(at, count) => self.deliver(at.into(), count.into()),
            Step::DeliverAll => self.settle(2),
            Step::Wait(ms) => self.now_us += u64::from(ms) * 1000,
            Step::WaitFor => self.wait(),
            Step::Lose(at, count) => self.harm(at, |bytes| {
                bytes.drain(..usize::from(count).min(bytes.len()));
            }),
            Step::Double(at, count) => self.harm(at, |bytes| {
                let again = bytes[..usize::from(count).min(bytes.len())].to_vec();
                bytes.splice(..0, again);
            }),
            Step::Flip(at, place, bits) => self.harm(at, |bytes| {
                if let Some(byte) = bytes.get_mut(usize::from(place)) {
                    *byte ^= bits;
                }
            }),
            Step::Insert(at, new) => self.harm(at, |bytes| drop(bytes.splice(..0, new))),
            Step::Restart(at, life) => {
                self.is_clean = false;
                let end = &mut self.ends[usize::from(at)];
                let coming = std::mem::take(&mut end.coming);
                *end = End { coming, ..End::new(end.mux.role(), life, number + 3) };
            }
        }
    }

    fn harm(&mut self, at: bool, f: impl FnOnce(&mut Vec<u8>)) {
        self.is_clean = false;
        f(&mut self.ends[usize::from(at)].coming);
    }

    fn transmit(&mut self, at: usize, packets: u8) {
        let now = self.now();
        for _ in 0..packets {
            let sent = self.ends[at].transmit(now);
            self.ends[1 - at].coming.extend(sent);
        }
    }

    fn deliver(&mut self, at: usize, count: usize) {
        let (now, is_clean) = (self.now(), self.is_clean);
        let end = &mut self.ends[at];
        let bytes: Vec<u8> = end.coming.drain(..count.min(end.coming.len())).collect();
        end.receive(now, &bytes, is_clean);
    }

    /// What is on its way arrives, and what is sent then.
    fn settle(&mut self, packets: u8) {
        for at in [0, 1, 0, 1] {
            self.transmit(at, packets);
            self.deliver(1 - at, usize::MAX);
        }
    }

    fn wait(&mut self) {
        let now = self.now();
        let next = self.ends.iter().filter_map(|end| end.deadline(now)).min();
        let next_us = next.map_or(self.now_us, Instant::as_micros);
        self.now_us = next_us.clamp(self.now_us + 100, self.now_us + 1_000_000);
    }
}
