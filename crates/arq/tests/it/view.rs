//! What somebody sees who stands between two ends.

use sspc_arq::{Choice, Onlooker, Seen};
use sspc_mux::Role;
use sspc_sim::Noise;
use sspc_wire::Direction;

use crate::world::{DEVICE, HOST, Kind, Life, World};

/// What was seen of what went to one end.
#[derive(Default)]
struct Shown {
    /// Bytes of the mux, by session.
    sessions: Vec<Vec<u8>>,
    plain: Vec<u8>,
    hellos: u64,
    packets: u64,
    again: u64,
    damaged: u64,
    unchecked: u64,
    encrypted: u64,
    gaps: u64,
}

/// By the one to whom it went: client, proxy.
fn show(arrived: &[(Role, Vec<u8>)], knows_directions: bool) -> [Shown; 2] {
    let mut onlooker = Onlooker::new();
    let mut shown = [Shown::default(), Shown::default()];
    for (to, bytes) in arrived {
        let direction = if *to == Role::Client { Direction::ToClient } else { Direction::ToProxy };
        onlooker.feed(knows_directions.then_some(direction), bytes);
        while let Some(seen) = onlooker.next_seen() {
            shown[*to as usize].add(seen);
        }
    }
    for to in [Role::Client, Role::Proxy] {
        let direction = if to == Role::Client { Direction::ToClient } else { Direction::ToProxy };
        onlooker.finish(Some(direction));
        while let Some(seen) = onlooker.next_seen() {
            shown[to as usize].add(seen);
        }
    }
    shown
}

impl Shown {
    fn add(&mut self, seen: Seen) {
        match seen {
            Seen::Plain(bytes) => self.plain.extend(bytes),
            Seen::Hello(_) => self.hellos += 1,
            Seen::Session { .. } => self.sessions.push(Vec::new()),
            Seen::Packet(packet) => {
                self.packets += 1;
                self.again += u64::from(packet.turn == sspc_arq::TurnSeen::Again);
            }
            Seen::Bytes(bytes) => self.sessions.last_mut().unwrap().extend(bytes),
            Seen::Gap => self.gaps += 1,
            Seen::Unchecked(_) => self.unchecked += 1,
            Seen::Encrypted { .. } => self.encrypted += 1,
            Seen::Cut { .. } => {}
            Seen::Damaged { .. } => self.damaged += 1,
            Seen::PlainAgain => self.plain.clear(),
            other => panic!("{other:?}"),
        }
    }
}

fn recorded(seed: u64, noise: Noise, lives: [Life; 2]) -> World {
    let mut world = World::new(seed, noise, lives);
    world.record();
    world
}

const NOISE: Noise = Noise { flips: 200, drops: 200, ..Noise::NONE };

/// Over a noisy line, with restarts of either end.
fn noisy(seed: u64, kinds: [Kind; 2]) -> World {
    let mut world = recorded(seed, NOISE, kinds.map(|kind| Life::new(Choice::Reliable, kind)));
    for (at, kind) in kinds.into_iter().enumerate() {
        world.run(300_000, |_| false);
        world.restart(at, Life::new(Choice::Reliable, kind));
    }
    world.run(300_000, |_| false);
    assert!(world.ends[0].echoed() > 10_000);
    world
}

#[test]
fn each_byte_is_seen_once_as_the_mux_gets_it_whatever_comes_to_harm() {
    for seed in 0..6 {
        for kinds in [[DEVICE, HOST], [HOST, HOST]] {
            let world = noisy(seed, kinds);
            let shown = show(world.arrived(), true);
            for (end, shown) in world.ends.iter().zip([&shown[0], &shown[1]]) {
                let got = end.got().iter().filter(|got| !got.is_empty());
                let mut sessions = shown.sessions.iter();
                for got in got {
                    // What comes for one that restarted is seen too.
                    assert!(sessions.any(|seen| seen.starts_with(got)), "seed {seed}");
                }
                assert!(shown.sessions.len() >= 3 && shown.damaged > 0 && shown.gaps == 0);
            }
            assert!(shown.iter().any(|shown| shown.again > 0), "nothing came again");
        }
    }
}

#[test]
fn one_who_comes_later_or_sees_one_direction_checks_packets_all_the_same() {
    let world = noisy(3, [HOST, HOST]);
    let first = world.arrived().len() / 6;
    for to in [Role::Client, Role::Proxy] {
        let arrived: Vec<_> =
            world.arrived()[first..].iter().filter(|(end, _)| *end == to).cloned().collect();
        for knows_directions in [true, false] {
            let shown = &show(&arrived, knows_directions)[to as usize];
            let last = world.ends[to as usize].got().last().unwrap();
            assert!(last.len() > 2000);
            let seen = shown.sessions.iter().filter(|seen| seen.ends_with(last)).count();
            assert_eq!(seen, 1, "{to:?} {knows_directions}");
            // What came just before may be missing among the first packets.
            assert!(shown.gaps < 32 && shown.unchecked <= 2, "{}", shown.unchecked);
            let got = world.ends[to as usize].got();
            let first = &shown.sessions[0][10_000..11_000];
            assert!(got.iter().any(|got| got.windows(1000).any(|got| got == first)));
        }
    }
}

#[test]
fn a_line_may_change_from_plain_to_packets_and_back() {
    let [plain, auto] = [Choice::Plain, Choice::Auto].map(|choice| Life::new(choice, HOST));
    let mut world = recorded(1, Noise::NONE, [plain, auto]);
    world.run(200_000, |_| false);
    let plain_until = world.arrived().len();
    world.restart(0, auto);
    world.run(500_000, |_| false);
    let packets_until = world.arrived().len();
    world.restart(0, plain);
    world.run(1_500_000, |_| false);
    assert!(world.ends[0].echoed() > 20_000);

    let all = show(&world.arrived()[..plain_until], true);
    for (at, role) in [Role::Client, Role::Proxy].into_iter().enumerate() {
        let came = world.arrived()[..plain_until].iter().filter(|(to, _)| *to == role);
        let came: Vec<u8> = came.flat_map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(all[at].plain, came, "nothing is left out of what is plain");
        assert_eq!((all[at].packets, all[at].damaged), (0, 0));
    }
    let all = show(&world.arrived()[..packets_until], true);
    for (end, shown) in world.ends.iter().zip(&all) {
        assert_eq!((shown.sessions.len(), shown.gaps), (1, 0));
        assert!(end.got().iter().any(|got| got.starts_with(&shown.sessions[0])));
        assert!(shown.sessions[0].len() > 10_000);
    }
    let all = show(world.arrived(), true);
    for (end, shown) in world.ends.iter().zip(&all) {
        let last = end.got().last().unwrap();
        // A proxy goes on in packets until the second PING; a client hears the last of these.
        let [longer, shorter] = if last.len() > shown.plain.len() {
            [last, &shown.plain]
        } else {
            [&shown.plain, last]
        };
        assert!(shorter.len() > 10_000 && longer.ends_with(shorter));
    }
}

#[test]
fn what_is_encrypted_is_said_to_be() {
    let mut world =
        recorded(1, Noise::NONE, [Life { encrypts: true, ..Life::new(Choice::Auto, HOST) }; 2]);
    world.run(200_000, |_| false);
    for shown in show(world.arrived(), true) {
        assert!(shown.hellos > 0 && shown.encrypted > 20, "{}", shown.encrypted);
        assert_eq!((shown.packets, shown.damaged, shown.sessions.len()), (0, 0, 0));
    }
}

/// For captures: each packet's bytes stand in front of what is said of it, and nothing else changes.
#[test]
fn the_bytes_of_packets_come_if_they_are_asked_for() {
    let world = noisy(3, [DEVICE, HOST]);
    let (mut plain, mut with) = (Onlooker::new(), Onlooker::with_packets());
    let mut kinds = [0; 3];
    for (to, bytes) in world.arrived() {
        let direction = if *to == Role::Client { Direction::ToClient } else { Direction::ToProxy };
        plain.feed(Some(direction), bytes);
        with.feed(Some(direction), bytes);
        while let Some(seen) = with.next_seen() {
            let Seen::Unstuffed(packet) = seen else {
                assert_eq!(Some(seen), plain.next_seen());
                continue;
            };
            let about = with.next_seen();
            let kind = match &about {
                Some(Seen::Packet(seen)) if seen.seq.is_some() => {
                    assert_eq!(packet.len(), 2 + seen.length + 4);
                    0
                }
                Some(Seen::Packet(_) | Seen::Unchecked(_)) => 0,
                Some(Seen::Hello(_)) => {
                    assert_eq!(packet[0], 2);
                    1
                }
                Some(Seen::Damaged { length }) => {
                    assert!(packet.len() <= *length);
                    2
                }
                other => panic!("{other:?}"),
            };
            kinds[kind] += 1;
            assert_eq!(about, plain.next_seen());
        }
        assert_eq!(plain.next_seen(), None);
    }
    assert!(kinds[0] > 100 && kinds[1] > 3 && kinds[2] > 3, "{kinds:?}");
}
