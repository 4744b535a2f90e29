//! The states: two ends, and what is on its way between them.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;

use sspc_arq::{Arq, Checked, Choice, Config, DeviceFraming, Input, Received, SoftCrc};
use sspc_mux::{Config as MuxConfig, Instant, Mux, Role};

/// A buffer whose [`Debug`](fmt::Debug) is as short as can be.
#[derive(Clone)]
pub(super) struct Buffer(Vec<u8>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.0);
        hasher.finish().fmt(f)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// With places for so many packets that come early.
    Host {
        places: usize,
    },
    Device,
    /// The same as a host, where packets overtake each other.
    Radio {
        places: usize,
    },
}

type Protect = Checked<SoftCrc>;

#[derive(Clone, Debug)]
enum Layer {
    Host(Arq<Protect, Buffer, Buffer>),
    Device(DeviceFraming<Protect, Buffer, Buffer>),
}

#[derive(Clone, Debug)]
struct End {
    kind: Kind,
    role: Role,
    layer: Layer,
    to_say: u8,
    said: u8,
    heard: u8,
    lives: u32,
}

/// Fields that are left out of fingerprints, beside [`COUNTERS`].
const COUNTED: [&str; 3] = ["resent", "bytes", "faults"];
const COUNTERS: &str = "counters: Counters {";

/// The payload that everything fits into: what the source is asked for at least.
const MRU: usize = 64;

/// The longest packet that is sent, with its stuffing and delimiters.
const OUT: usize = MRU + 6 + 3;

/// Room for three packets of one byte, as the last one is asked for with all of [`MRU`].
const fn replay(record: usize) -> usize {
    2 * (record + 1) + record + MRU
}

impl End {
    fn new(kind: Kind, role: Role, to_say: u8, lives: u32) -> Self {
        let config = match kind {
            // The round trips here take no time.
            Kind::Radio { .. } => Config { wait_first_us: 10_000, ..Config::datagrams(MRU as u16) },
            _ => Config { packet_max: MRU as u16, ..Config::DEFAULT },
        };
        let (seed, protection) = (2 * lives + role as u32, Checked::new(SoftCrc));
        let buffer = |length| Buffer(vec![0; length]);
        let layer = match kind {
            Kind::Device => Layer::Device(DeviceFraming::new(
                Choice::Reliable,
                &config,
                seed,
                protection,
                buffer(MRU + 6),
                buffer(replay(1)),
            )),
            Kind::Host { places } | Kind::Radio { places } => Layer::Host(Arq::new(
                role,
                config,
                seed,
                protection,
                buffer(MRU + 6 + places * (MRU + 8)),
                buffer(replay(4)),
            )),
        };
        Self { kind, role, layer, to_say, said: 0, heard: 0, lives }
    }

    fn byte(role: Role, number: u8) -> u8 {
        ((role as u8) << 7) | (number + 1)
    }

    fn receive(&mut self, now: Instant, packet: &[u8]) -> Result<(), String> {
        // One that has no use for it: its link is down.
        let mux = Mux::new(self.role, MuxConfig::DEFAULT, 1);
        let mut rest = packet;
        loop {
            let heard = match &mut self.layer {
                Layer::Host(arq) => {
                    if matches!(self.kind, Kind::Radio { .. }) {
                        match arq.receive_datagram(now, std::mem::take(&mut rest)) {
                            None => break,
                            Some(Received::Data(bytes)) => Some(bytes),
                            Some(_) => None,
                        }
                    } else {
                        match arq.receive(now, &mut rest) {
                            None => break,
                            Some(Received::Data(bytes)) => Some(bytes),
                            Some(_) => None,
                        }
                    }
                }
                Layer::Device(layer) => match layer.receive(now, &mut rest, &mux) {
                    None => break,
                    Some(Input::Bytes(bytes)) => Some(bytes),
                    Some(Input::Reset) => None,
                },
            };
            let Some(heard) = heard else {
                (self.said, self.heard) = (0, 0);
                continue;
            };
            let peer = if self.role == Role::Client { Role::Proxy } else { Role::Client };
            for byte in heard {
                if *byte != Self::byte(peer, self.heard) {
                    return Err(format!(
                        "{:?} hears {byte:#x} as number {}",
                        self.role, self.heard
                    ));
                }
                self.heard += 1;
            }
        }
        Ok(())
    }

    /// Does what the time has come for.
    fn poll(&mut self, now: Instant) {
        match &mut self.layer {
            Layer::Host(arq) => {
                arq.handle_timeout(now);
                if arq.is_closed() {
                    arq.open(now);
                }
            }
            // It hears nothing, and so says nothing.
            Layer::Device(_) => drop(self.receive(now, &[])),
        }
    }

    fn transmit(&mut self, now: Instant) -> Option<Rc<[u8]>> {
        let mut out = [0; OUT];
        let (role, to_say, said) = (self.role, self.to_say, &mut self.said);
        let mut is_first = true;
        // One byte a packet.
        let mut source = |room: &mut [u8]| {
            let says = std::mem::take(&mut is_first) && *said < to_say;
            if let (true, Some(to)) = (says, room.first_mut()) {
                *to = Self::byte(role, *said);
                *said += 1;
            }
            usize::from(says)
        };
        let length = match &mut self.layer {
            Layer::Host(arq) => arq.transmit(now, &mut out, &mut source),
            Layer::Device(layer) => layer.transmit(now, &mut out, &mut source),
        };
        (length > 0).then(|| out[..length].into())
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.layer {
            Layer::Host(arq) => arq.deadline(),
            Layer::Device(layer) => layer.deadline(now),
        }
    }
}

/// One thing that happens; the number is that of the end that sends or to which something is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Deliver(usize),
    Transmit(usize),
    /// Time passes up to the next deadline.
    Wait,
    Lose(usize),
    /// A bit of the next packet flips, or the delimiter behind it is lost.
    Flip(usize),
    Join(usize),
    Double(usize),
    /// The next packet is overtaken by the one behind it.
    Delay(usize),
    /// Time passes, though there is something to do.
    WaitTooShort,
    Restart(usize),
}

impl Step {
    pub(super) const fn is_fault(self) -> bool {
        !matches!(self, Self::Deliver(_) | Self::Transmit(_) | Self::Wait)
    }
}

#[derive(Clone, Debug)]
pub(super) struct World {
    ends: [End; 2],
    /// What is on its way to each end.
    coming: [VecDeque<Rc<[u8]>>; 2],
    now_us: u64,
    faults_left: u8,
}

impl World {
    pub(super) fn new(kinds: [Kind; 2], to_say: [u8; 2], faults: u8) -> Self {
        let end = |at: usize, role| End::new(kinds[at], role, to_say[at], 1);
        let ends = [end(0, Role::Client), end(1, Role::Proxy)];
        let mut world =
            Self { ends, coming: Default::default(), now_us: 1_000_000, faults_left: faults };
        let now = world.now();
        world.ends.iter_mut().for_each(|end| end.poll(now));
        world
    }

    /// Lets the handshake pass without faults, before anything is said.
    pub(super) fn begin_session(&mut self) {
        let to_say = [0, 1].map(|at| std::mem::take(&mut self.ends[at].to_say));
        loop {
            match self.steps(false).first() {
                Some(step) if !step.is_fault() => self.take(*step).unwrap(),
                _ if self.ends.iter().all(End::is_open) => break,
                _ => self.take(Step::Wait).unwrap(),
            }
        }
        for (end, to_say) in self.ends.iter_mut().zip(to_say) {
            end.to_say = to_say;
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.now_us)
    }

    /// All was heard.
    pub(super) fn is_heard(&self) -> bool {
        let [a, b] = &self.ends;
        a.heard == b.to_say && b.heard == a.to_say
    }

    fn has_to_send(&self, at: usize) -> bool {
        self.ends[at].clone().transmit(self.now()).is_some()
    }

    fn next_deadline(&self) -> Option<u64> {
        let now = self.now();
        let deadlines = self.ends.iter().filter_map(|end| end.deadline(now));
        deadlines.filter(|at| *at > now).min().map(Instant::as_micros)
    }

    /// What can happen; first what does without faults.
    pub(super) fn steps(&self, restarts: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        let coming = [0, 1].map(|at| self.coming[at].len());
        steps.extend((0..2).filter(|at| coming[*at] > 0).map(Step::Deliver));
        steps.extend((0..2).filter(|at| self.has_to_send(*at)).map(Step::Transmit));
        let has_deadline = self.next_deadline().is_some();
        let is_quiet = steps.is_empty();
        if is_quiet && has_deadline && !self.is_heard() {
            steps.push(Step::Wait);
        }
        if self.faults_left == 0 {
            return steps;
        }
        for (at, coming) in coming.into_iter().enumerate() {
            if coming > 0 {
                steps.extend([Step::Lose(at), Step::Flip(at), Step::Double(at)]);
                if let Kind::Radio { .. } = self.ends[at].kind {
                    steps.extend((coming > 1).then_some(Step::Delay(at)));
                } else {
                    steps.push(Step::Join(at));
                }
            }
            steps.extend(restarts.then_some(Step::Restart(at)));
        }
        if !is_quiet && has_deadline {
            steps.push(Step::WaitTooShort);
        }
        steps
    }

    /// Takes a step that can be taken.
    pub(super) fn take(&mut self, step: Step) -> Result<(), String> {
        let now = self.now();
        self.faults_left -= u8::from(step.is_fault());
        match step {
            Step::Deliver(at) => {
                if let Some(packet) = self.coming[at].pop_front() {
                    self.ends[at].receive(now, &packet)?;
                }
            }
            Step::Transmit(at) => self.coming[1 - at].extend(self.ends[at].transmit(now)),
            Step::Wait | Step::WaitTooShort => {
                self.now_us = self.next_deadline().unwrap_or(self.now_us);
                let now = self.now();
                self.ends.iter_mut().for_each(|end| end.poll(now));
            }
            Step::Lose(at) => drop(self.coming[at].pop_front()),
            Step::Flip(at) => self.harm(at, |packet| {
                let middle = packet.len() / 2;
                packet[middle] ^= 0x40;
            }),
            Step::Join(at) => self.harm(at, |packet| packet.truncate(packet.len() - 1)),
            Step::Double(at) => {
                let again = self.coming[at].front().cloned();
                again.into_iter().for_each(|packet| self.coming[at].push_front(packet));
            }
            Step::Delay(at) => self.coming[at].swap(0, 1),
            Step::Restart(at) => {
                let End { kind, role, to_say, lives, .. } = self.ends[at];
                self.ends[at] = End::new(kind, role, to_say, lives + 1);
                self.ends[at].poll(now);
            }
        }
        Ok(())
    }

    fn harm(&mut self, at: usize, f: impl FnOnce(&mut Vec<u8>)) {
        if let Some(packet) = self.coming[at].front_mut() {
            let mut bytes = packet.to_vec();
            f(&mut bytes);
            *packet = bytes.into();
        }
    }

    /// What tells a state from all others that go on in another way. What is only counted, and what
    /// the length of packets follows from, which is always the same here, is left out.
    pub(super) fn fingerprint(&self, text: &mut String) -> u64 {
        text.clear();
        let _ = write!(text, "{self:?}");
        let mut hasher = DefaultHasher::new();
        for (index, part) in text.split(COUNTERS).enumerate() {
            let counters = if index > 0 { part.find('}') } else { None };
            for field in part[counters.unwrap_or(0)..].split(", ") {
                let name = field.split_once(':').map_or(field, |(name, _)| name);
                if !COUNTED.contains(&name) {
                    hasher.write(field.as_bytes());
                    hasher.write_u8(0);
                }
            }
        }
        hasher.finish()
    }
}

impl End {
    fn is_open(&self) -> bool {
        match &self.layer {
            Layer::Host(arq) => arq.is_open(),
            Layer::Device(layer) => layer.in_packets(),
        }
    }
}
