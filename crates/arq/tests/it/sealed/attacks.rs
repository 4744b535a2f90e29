//! An attacker between the ends, who keeps all that passes and sends it again, to either and at any time.

use sspc_arq::{Choice, Config, DeviceFraming, Input};
use sspc_mux::{Config as MuxConfig, Instant, Mux, Role};
use sspc_sim::Rng;

use super::ends::{End, Ends, Protect, RADIO, Watched, known, open_ends, own, sealed};

/// HELLOs of lives before, and of this one, end no session and harm no byte.
#[test]
fn old_hellos_end_no_session() {
    for config in [RADIO, Config::DEFAULT] {
        let watched = Watched::default();
        let mut said = Vec::new();
        for life in 0..3u32 {
            let keyed = |keys, seed| sealed(&watched, keys, seed);
            let (client, proxy) = (keyed(own("lamp", 1), life), keyed(known(), 100 + life));
            let mut ends = Ends::new(config, client, proxy);
            ends.client = End::new(
                Role::Client,
                config,
                10 + life,
                sealed(&watched, own("lamp", 1), 200 + life),
            );
            ends.proxy =
                End::new(Role::Proxy, config, 20 + life, sealed(&watched, known(), 300 + life));
            ends.run(1000);
            assert!(ends.are_open());
            ends.speak();
            said.extend(ends.by_client.clone());
            said.extend(ends.by_proxy.clone());
            let mut elicited = 0;
            for again in 0..2 {
                for packet in &said {
                    ends.proxy.receive(ends.now, packet);
                    ends.client.receive(ends.now, packet);
                    if again == 1 {
                        ends.speak();
                    }
                    elicited = ends.by_client.len() + ends.by_proxy.len();
                }
            }
            ends.speak();
            assert_eq!((ends.client.opened, ends.proxy.opened), (1, 1), "life {life}");
            assert!(elicited < 20 * said.len(), "{elicited} packets for {}", said.len());
        }
    }
}

/// What the attacker may do is drawn by chance: lose, double, delay, send again and back, restart an end,
/// let time pass. That no key is used twice with a nonce is watched by the cipher; that what is heard was
/// said, in this session, here.
#[test]
fn whatever_is_sent_again_nothing_is_heard_that_was_not_said() {
    let seeds =
        std::env::var("SSPC_SIMULATED_ATTACKS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let (mut sessions, mut heard) = (0, 0);
    for seed in 0..seeds {
        let mut rng = Rng::new(seed);
        let config = if rng.below(2) == 0 { RADIO } else { Config::DEFAULT };
        let watched = Watched::default();
        let mut attack = Attack::new(config, &watched, rng);
        for _ in 0..400 {
            attack.step();
        }
        sessions += attack.ends.client.opened + attack.ends.proxy.opened;
        heard += attack.ends.client.heard.len();
        // Left alone they find each other.
        attack.settle();
    }
    assert!(sessions > seeds as u32 / 2 && heard > 0, "{sessions} {heard}");
}

struct Attack<'a> {
    ends: Ends<Protect>,
    config: Config,
    watched: &'a Watched,
    rng: Rng,
    /// All that was ever sent.
    kept: Vec<Vec<u8>>,
    /// In which life of the client, and how much, each end has said: bytes count up.
    said: [u64; 2],
}

impl<'a> Attack<'a> {
    fn new(config: Config, watched: &'a Watched, rng: Rng) -> Self {
        let (client, proxy) = (sealed(watched, own("lamp", 1), 1), sealed(watched, known(), 2));
        let ends = Ends::new(config, client, proxy);
        Self { ends, config, watched, rng, kept: vec![], said: [0; 2] }
    }

    fn step(&mut self) {
        let now = self.ends.now;
        match self.rng.below(16) {
            0 => self.ends.now = Instant::from_micros(now.as_micros() + self.rng.below(800_000)),
            1 if self.rng.below(4) == 0 => self.restart(),
            2 | 3 => self.speak(),
            4..8 => self.pass(true),
            8..12 => self.pass(false),
            _ if self.kept.is_empty() => {}
            _ => {
                // Often one of the last, as those do the most.
                let most = [6, 1000][self.rng.below(2) as usize];
                let back = self.rng.below(most) as usize;
                let index = (self.kept.len() - 1).saturating_sub(back);
                let packet = self.kept[index].clone();
                if self.rng.below(2) == 0 {
                    self.ends.client.receive(now, &packet);
                } else {
                    self.ends.proxy.receive(now, &packet);
                }
            }
        }
        self.check();
    }

    fn restart(&mut self) {
        let seed = self.rng.bits() as u32;
        let (client, proxy) = (&mut self.ends.client, &mut self.ends.proxy);
        if self.rng.below(2) == 0 {
            let protection = sealed(self.watched, own("lamp", 1), seed);
            *client = End::new(Role::Client, self.config, seed, protection);
        } else {
            let protection = sealed(self.watched, known(), seed);
            *proxy = End::new(Role::Proxy, self.config, seed, protection);
        }
    }

    /// Words that say who says them, and count.
    fn speak(&mut self) {
        let which = self.rng.below(2) as usize;
        self.said[which] += 1;
        let word = format!("<{which}:{}>", self.said[which]);
        let end = [&mut self.ends.client, &mut self.ends.proxy].into_iter().nth(which).unwrap();
        end.to_send.extend_from_slice(word.as_bytes());
    }

    /// Takes one packet of an end, keeps it, and gives it to the other, or not.
    fn pass(&mut self, from_client: bool) {
        let now = self.ends.now;
        let (from, to) = if from_client {
            (&mut self.ends.client, &mut self.ends.proxy)
        } else {
            (&mut self.ends.proxy, &mut self.ends.client)
        };
        let Some(packet) = from.transmit(now) else { return };
        if self.rng.below(5) > 0 {
            to.receive(now, &packet);
        }
        self.kept.push(packet);
    }

    /// What was heard are the other's words, one after the other, none twice; the first may be one of
    /// which the session before had the beginning.
    fn check(&self) {
        for (end, from) in [(&self.ends.client, 1), (&self.ends.proxy, 0)] {
            let text = String::from_utf8(end.heard.clone()).unwrap();
            let mut words = text.split_inclusive('>');
            let mut last = None;
            let whole = words.clone().count();
            for (at, word) in words.by_ref().enumerate() {
                let Some(number) = word.strip_prefix('<').and_then(|word| word.strip_suffix('>'))
                else {
                    assert!(at == 0 || at + 1 == whole, "{text}");
                    continue;
                };
                let (who, number) = number.split_once(':').unwrap();
                assert_eq!(who, from.to_string(), "{text}");
                let number: u64 = number.parse().unwrap();
                assert!(last.is_none_or(|last| number == last + 1), "{text}");
                assert!(number <= self.said[from], "{text}");
                last = Some(number);
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..30 {
            for end in [&mut self.ends.client, &mut self.ends.proxy] {
                if end.arq.is_closed() {
                    end.arq.open(self.ends.now);
                }
            }
            self.ends.run(1000);
        }
        let ends = &mut self.ends;
        assert!(ends.are_open());
        ends.speak();
    }
}

/// The one session's packets are nothing in another, also of the same two ends.
#[test]
fn packets_of_another_session_are_refused() {
    let (first, _) = open_ends(RADIO);
    let watched = Watched::default();
    let (client, proxy) = (sealed(&watched, own("lamp", 1), 11), sealed(&watched, known(), 13));
    let mut ends = Ends::new(RADIO, client, proxy);
    ends.run(1000);
    let before = ends.proxy.arq.counters();
    let mut first = first;
    for _ in 0..40 {
        first.client.to_send = b"open the door".to_vec();
        first.run(50);
    }
    assert!(first.by_client.len() > 40);
    for packet in &first.by_client {
        ends.proxy.receive(ends.now, packet);
        assert!(ends.proxy.heard.is_empty());
    }
    assert_eq!(ends.proxy.arq.counters().packets_in, before.packets_in);
    ends.speak();
}

/// Either end restarts, at each packet of a session's beginning.
#[test]
fn ends_that_restart_meet_again() {
    for step in 0..12 {
        for which in 0..2 {
            let watched = Watched::default();
            let (client, proxy) =
                (sealed(&watched, own("lamp", 1), 11), sealed(&watched, known(), 12));
            let mut ends = Ends::new(Config::DEFAULT, client, proxy);
            ends.client.to_send = b"some words".to_vec();
            ends.proxy.to_send = b"some others".to_vec();
            for _ in 0..step {
                if let Some(packet) = ends.client.transmit(ends.now) {
                    ends.proxy.receive(ends.now, &packet);
                } else if let Some(packet) = ends.proxy.transmit(ends.now) {
                    ends.client.receive(ends.now, &packet);
                } else {
                    ends.run(1);
                }
            }
            if which == 0 {
                let protection = sealed(&watched, own("lamp", 1), 21);
                ends.client = End::new(Role::Client, Config::DEFAULT, 21, protection);
            } else {
                let protection = sealed(&watched, known(), 22);
                ends.proxy = End::new(Role::Proxy, Config::DEFAULT, 22, protection);
            }
            ends.client.heard.clear();
            ends.proxy.heard.clear();
            ends.run(2000);
            assert!(ends.are_open(), "step {step}, end {which}");
            ends.speak();
        }
    }
}

/// A proxy restarts while a device's first HELLO is on its way twice, and its answer of the life before comes
/// again: the device does not begin the session before again, whose keys it has used. (The cipher watches.)
#[test]
fn no_session_begins_twice() {
    let watched = Watched::default();
    let (client, proxy) = (sealed(&watched, own("lamp", 1), 1), sealed(&watched, known(), 2));
    let mut ends = Ends::new(RADIO, client, proxy);
    let now = ends.now;
    let hello = ends.client.transmit(now).unwrap();
    ends.proxy.receive(now, &hello);
    let answer = ends.proxy.transmit(now).unwrap();
    ends.proxy = End::new(Role::Proxy, RADIO, 3, sealed(&watched, known(), 3));
    ends.proxy.receive(now, &hello);
    let other_answer = ends.proxy.transmit(now).unwrap();
    for (round, answer) in [&answer, &other_answer, &answer, &other_answer].iter().enumerate() {
        ends.client.receive(now, answer);
        ends.client.to_send = format!("words of round {round}").into_bytes();
        while ends.client.transmit(now).is_some() {}
    }
    assert_eq!(ends.client.opened, 1);
    ends.run(20_000);
    ends.speak();
}

/// The same of a device's framing.
#[test]
fn no_session_of_a_device_begins_twice() {
    let watched = Watched::default();
    let (config, now) = (Config::DEFAULT, Instant::from_millis(1));
    let protection = sealed(&watched, own("lamp", 1), 1);
    let buffers = (vec![0; 220], vec![0; 400]);
    let mut device = DeviceFraming::new(Choice::Auto, &config, 1, protection, buffers.0, buffers.1);
    let mux = Mux::new(Role::Client, MuxConfig::DEFAULT, 1);
    let mut out = [0; 300];
    assert_eq!(device.receive(now, &mut &[][..], &mux), None);
    let length = device.transmit(now, &mut out, &mut |_| 0);
    let hello = out[..length].to_vec();
    let answers: Vec<_> = (2..4)
        .map(|life| {
            let mut proxy = End::new(Role::Proxy, config, life, sealed(&watched, known(), life));
            proxy.receive(now, &hello);
            proxy.transmit(now).unwrap()
        })
        .collect();
    let mut resets = 0;
    for round in 0..4 {
        let mut input = &answers[round % 2][..];
        while let Some(input) = device.receive(now, &mut input, &mux) {
            assert_eq!(input, Input::Reset);
            resets += 1;
        }
        let mut said = 0;
        while said < 8 {
            said += 1;
            let mut source = |room: &mut [u8]| {
                room.fill(round as u8);
                if said < 3 { room.len() } else { 0 }
            };
            if device.transmit(now, &mut out, &mut source) == 0 {
                break;
            }
        }
    }
    assert_eq!((resets, watched.keys()), (1, 1));
}
