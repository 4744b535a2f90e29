//! Two ends of a line find out what both know.

use sspc_arq::{Arq, Checked, Choice, Config, Framing, SoftCrc};
use sspc_mux::{Config as MuxConfig, Instant, Mux, Role};
use sspc_sim::Noise;

use crate::world::{DEVICE, HOST, Life, World};

fn lives([client, proxy]: [Choice; 2]) -> [Life; 2] {
    [Life::new(client, DEVICE), Life::new(proxy, HOST)]
}

const fn sealed(life: Life) -> Life {
    Life { encrypts: true, ..life }
}

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
        let mut world = World::new(1, Noise::NONE, lives(choices));
        let is_up =
            world.run(1_000_000, |world| world.both_up() && world.ends[0].echoed() > 50_000);
        println!("{choices:?} {}", world.report());
        assert!(is_up, "{choices:?}");
        assert!(world.ends.iter().all(|end| end.in_packets() == in_packets));
        // Never anything but one handshake.
        assert!(world.ends.iter().all(|end| end.ups() == 1), "{choices:?}");
    }
    for choice in [Choice::Auto, Choice::Plain, Choice::Reliable] {
        let choices = [choice, Choice::Auto];
        let mut world = World::new(1, Noise::NONE, lives(choices).map(sealed));
        let is_up =
            world.run(1_000_000, |world| world.both_up() && world.ends[0].echoed() > 50_000);
        assert!(is_up, "{choices:?} with a key: {}", world.report());
        assert!(world.ends.iter().all(|end| end.in_packets() && end.ups() == 1));
    }
    let choices = [Choice::Reliable, Choice::Plain];
    let mut world = World::new(1, Noise::NONE, lives(choices));
    assert!(!world.run(5_000_000, |world| world.ends.iter().any(|end| end.mux.is_up())));
}

#[test]
fn a_plain_peer_is_known_by_its_first_ping() {
    let now = Instant::from_micros(1_000_000);
    let mux = Mux::new(Role::Proxy, MuxConfig::FAST, 1);
    let met = |choice| {
        let (storage, replay) = (vec![0; 4096], vec![0; 4096]);
        let check = Checked::new(SoftCrc);
        let arq = Arq::new(Role::Proxy, Config::DEFAULT, 1, check, storage, replay);
        let mut layer = Framing::new(choice, arq);
        let mut ping: &[u8] = &[0xf9, 0xf6, 0, 0, 0, 4, 0x93, 0xd5, 0xd5, 0xa2];
        while layer.receive(now, &mut ping, &mux).is_some() {}
        // What it was shows the next time.
        assert!(layer.receive(now, &mut ping, &mux).is_none());
        (layer.take_refused(), layer.take_refused(), layer.in_packets())
    };
    assert_eq!(met(Choice::Reliable), (true, false, true));
    assert_eq!(met(Choice::Auto), (false, false, false));
}

/// The fast profile gives a link up that does not answer for 180 ms. `SSPC_NOISY_SECONDS` sets how long in
/// virtual time; 3,600 was done by hand.
#[test]
fn noise_costs_no_link() {
    let seconds = std::env::var("SSPC_NOISY_SECONDS").ok().and_then(|text| text.parse().ok());
    for noise in [
        Noise { flips: 33, drops: 33, doubles: 33, ..Noise::NONE },
        Noise { flips: 333, drops: 333, doubles: 333, ..Noise::NONE },
    ] {
        for client in [HOST, DEVICE] {
            let lives = [Life::new(Choice::Auto, client), Life::new(Choice::Reliable, HOST)];
            let mut world = World::new(1, noise, lives);
            assert!(!world.run(seconds.unwrap_or(20) * 1_000_000, |_| false));
            println!("{noise:?} {}", world.report());
            assert!(world.ends.iter().all(|end| end.ups() == 1), "{noise:?} {}", world.report());
        }
    }
}

/// Of every kind, from one byte in ten millions to one in a thousand. At the worst, links may be lost:
/// what streams hear is right all the same, and on the stream that it was meant for, which the ends
/// check byte by byte. With `SSPC_NOISY_SECONDS=1000` these are 10 GB.
#[test]
fn no_byte_is_wrong_whatever_the_noise() {
    let seconds = std::env::var("SSPC_NOISY_SECONDS").ok().and_then(|text| text.parse().ok());
    let (mut all, mut seed) = (0, 0);
    let million = 1_000_000;
    for (rate, of) in
        [(1, 10 * million), (1, million), (10, million), (100, million), (1000, million)]
    {
        let none = Noise { of, ..Noise::NONE };
        for noise in [
            Noise { flips: rate, ..none },
            Noise { drops: rate, ..none },
            Noise { doubles: rate, ..none },
            Noise { bursts: rate, burst_max: 64, ..none },
            Noise { overruns: rate, overrun_max: 64, ..none },
        ] {
            for client in [HOST, DEVICE] {
                let lives = [Life::new(Choice::Auto, client), Life::new(Choice::Reliable, HOST)];
                seed += 1;
                let mut world = World::new(seed, noise, lives);
                assert!(!world.run(seconds.unwrap_or(1) * 1_000_000, |_| false));
                let echoed = world.ends[0].echoed();
                let ups = world.ends[0].ups();
                println!("{noise:?} {client:?}: {echoed} bytes echoed, link up {ups} times");
                assert!(echoed > 10_000, "{noise:?} {client:?} {}", world.report());
                all += echoed;
            }
        }
    }
    println!("{} bytes, both ways", all * 2);
}

/// Once in 2^17 harmed packets noise looks like the PING of a peer that restarted.
#[test]
fn what_looks_like_a_restart_once_ends_no_session() {
    for client in [HOST, DEVICE] {
        for from in [0, 1] {
            let lives = [client, HOST].map(|kind| Life::new(Choice::Auto, kind));
            let mut world = World::new(1, Noise::NONE, lives);
            assert!(world.run(1_000_000, World::both_up));
            world.inject(from, &[1, 0xf9, 0xf6, 0, 0xc0, 2, 3, 4, 5, 6, 7, 0]);
            assert!(!world.run(1_000_000, |_| false));
            assert!(world.ends.iter().all(|end| end.ups() == 1), "{}", world.report());
        }
    }
}
