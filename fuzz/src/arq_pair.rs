//! Two ends of the packet layer, and what the input says happens to them and to what they send.

use std::collections::VecDeque;

use arbitrary::Arbitrary;
use sspc_arq::{Arq, Checked, Config, Received, SoftCrc};
use sspc_mux::{Instant, Role};

/// One thing that happens; ends are numbered, packets too, from the next one to arrive on.
#[derive(Arbitrary, Debug)]
pub enum Deed {
    /// An end has so many bytes more to say.
    Say(bool, u16),
    Transmit(bool, u8),
    /// So many packets arrive at an end.
    Deliver(bool, u8),
    Lose(bool, u8),
    Double(bool, u8),
    Flip(bool, u8, u16, u8),
    /// Two packets change places, if the way is one of datagrams.
    Swap(bool, u8, u8),
    Wait(u16),
    WaitFor,
    Restart(bool),
}

/// How two ends are set up, and what happens to them.
#[derive(Arbitrary, Debug)]
pub struct Pair {
    datagrams: bool,
    sizes: [(u8, u8, u8); 2],
    deeds: Vec<Deed>,
}

struct End {
    arq: Arq<Checked<SoftCrc>, Vec<u8>, Vec<u8>>,
    role: Role,
    size: (u8, u8, u8),
    to_say: u64,
    said: u64,
    heard: u64,
    coming: VecDeque<Vec<u8>>,
}

const fn byte(role: Role, at: u64) -> u8 {
    (at * 3 + at / 256 + role as u64) as u8
}

impl End {
    fn new(role: Role, size: (u8, u8, u8), config: Config, seed: u32, now: Instant) -> Self {
        let (mru, places, replay) = (size.0, size.1 % 40, size.2);
        let mru = 64 + usize::from(mru);
        let storage = vec![0; mru + 6 + usize::from(places) * (mru + 8)];
        let replay = vec![0; 68 + 8 * usize::from(replay)];
        let mut arq = Arq::new(role, config, seed, Checked::new(SoftCrc), storage, replay);
        arq.open(now);
        Self { arq, role, size, to_say: 0, said: 0, heard: 0, coming: VecDeque::new() }
    }

    fn receive(&mut self, now: Instant, packet: &[u8], datagrams: bool) {
        let mut rest = packet;
        for _ in 0..10_000 {
            let received = match datagrams {
                true => self.arq.receive_datagram(now, std::mem::take(&mut rest)),
                false => self.arq.receive(now, &mut rest),
            };
            match received {
                None => return,
                Some(Received::Data(bytes)) => {
                    let from = if self.role == Role::Client { Role::Proxy } else { Role::Client };
                    for got in bytes {
                        assert_eq!(*got, byte(from, self.heard), "byte {}", self.heard);
                        self.heard += 1;
                    }
                }
                Some(_) => (self.said, self.heard) = (0, 0),
            }
        }
        panic!("ever more to hear");
    }

    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut out = [0; 400];
        let (role, to_say, said) = (self.role, self.to_say, &mut self.said);
        let mut source = |room: &mut [u8]| {
            let length = room.len().min(to_say.saturating_sub(*said) as usize);
            for to in &mut room[..length] {
                *to = byte(role, *said);
                *said += 1;
            }
            length
        };
        let length = self.arq.transmit(now, &mut out, &mut source);
        (length > 0).then(|| out[..length].to_vec())
    }
}

struct World {
    ends: [End; 2],
    config: Config,
    now_us: u64,
}

/// Does the deeds. No end hears a byte that was not said, and without more harm all is heard in time.
pub fn arq_pair(pair: Pair) {
    let config = if pair.datagrams { Config::datagrams(320) } else { Config::DEFAULT };
    let config = Config { packet_max: 320, ..config };
    let [a, b] = pair.sizes;
    let now = Instant::from_millis(1000);
    let end = |role, size| End::new(role, size, config, role as u32, now);
    let ends = [end(Role::Client, a), end(Role::Proxy, b)];
    let mut world = World { ends, config, now_us: now.as_micros() };
    for (number, deed) in pair.deeds.into_iter().enumerate() {
        world.deed(number as u32, deed);
    }
    let until_us = world.now_us + 120_000_000;
    while world.ends[0].heard != world.ends[1].to_say || world.ends[1].heard != world.ends[0].to_say
    {
        assert!(world.now_us < until_us, "not heard in time");
        for at in [0, 1] {
            world.transmit(at, 4);
            world.deliver(1 - at, usize::MAX);
        }
        world.wait();
    }
}

impl World {
    fn now(&self) -> Instant {
        Instant::from_micros(self.now_us)
    }

    fn deed(&mut self, number: u32, deed: Deed) {
        match deed {
            Deed::Say(at, count) => self.ends[usize::from(at)].to_say += u64::from(count % 2000),
            Deed::Transmit(at, count) => self.transmit(at.into(), count % 8),
            Deed::Deliver(at, count) => self.deliver(at.into(), count.into()),
            Deed::Lose(at, which) => drop(self.coming(at).remove(which.into())),
            Deed::Double(at, which) => {
                let again = self.coming(at).get(usize::from(which)).cloned();
                self.coming(at).extend(again);
            }
            Deed::Flip(at, which, place, bits) => {
                let packet = self.coming(at).get_mut(usize::from(which));
                if let Some(byte) = packet.and_then(|packet| packet.get_mut(usize::from(place))) {
                    *byte ^= bits;
                }
            }
            Deed::Swap(at, a, b) => {
                let is_datagram = self.config.datagrams;
                let coming = self.coming(at);
                let (a, b) = (usize::from(a), usize::from(b));
                if is_datagram && a.max(b) < coming.len() {
                    coming.swap(a, b);
                }
            }
            Deed::Wait(ms) => self.now_us += u64::from(ms) * 1000,
            Deed::WaitFor => self.wait(),
            Deed::Restart(at) => {
                let (now, config) = (self.now(), self.config);
                let end = &mut self.ends[usize::from(at)];
                let (to_say, coming) = (end.to_say, std::mem::take(&mut end.coming));
                let new = End::new(end.role, end.size, config, number + 3, now);
                *end = End { to_say, coming, ..new };
            }
        }
        self.now_us += 1;
        self.reopen();
    }

    fn coming(&mut self, at: bool) -> &mut VecDeque<Vec<u8>> {
        &mut self.ends[usize::from(at)].coming
    }

    fn transmit(&mut self, at: usize, packets: u8) {
        let now = self.now();
        for _ in 0..packets {
            let Some(packet) = self.ends[at].transmit(now) else { return };
            self.ends[1 - at].coming.push_back(packet);
        }
    }

    fn deliver(&mut self, at: usize, packets: usize) {
        let (now, datagrams) = (self.now(), self.config.datagrams);
        let end = &mut self.ends[at];
        for _ in 0..packets.min(end.coming.len()) {
            let packet = end.coming.pop_front().unwrap_or_default();
            end.receive(now, &packet, datagrams);
        }
    }

    /// A session that is over begins again.
    fn reopen(&mut self) {
        let now = self.now();
        for end in self.ends.iter_mut().filter(|end| end.arq.is_closed()) {
            end.arq.open(now);
        }
    }

    fn wait(&mut self) {
        let next = self.ends.iter().filter_map(|end| end.arq.deadline()).min();
        let next_us = next.map_or(self.now_us, Instant::as_micros);
        self.now_us = next_us.clamp(self.now_us + 100, self.now_us + 1_000_000);
        let now = self.now();
        for end in &mut self.ends {
            end.arq.handle_timeout(now);
        }
        self.reopen();
    }
}
