//! What noise costs, and that it never costs a byte.

use sspc_arq::Config;
use sspc_sim::{LinkConfig, Noise};

use crate::pair::{Pair, Sizes};

const LINE: LinkConfig = LinkConfig { latency_us: 2000, ..LinkConfig::serial(2_000_000) };

/// Bytes a second that 8N1 carries.
const RATE: u64 = 200_000;

fn goodput(config: Config, noise: Noise, bytes: u64) -> f64 {
    let mut pair = Pair::new(7, LinkConfig { noise, ..LINE }, config, [Sizes::HOST; 2]);
    assert!(pair.run(1_000_000, |pair| pair.a.end.is_open() && pair.b.end.is_open()));
    pair.a.to_send = bytes;
    let start_us = pair.now_us;
    let is_done = pair.run(bytes * 1000 + 1_000_000, |pair| pair.b.heard == bytes);
    println!("{}", pair.report());
    assert!(is_done);
    bytes as f64 / ((pair.now_us - start_us) as f64 / 1e6) / RATE as f64
}

#[test]
fn a_clean_line_carries_almost_only_payload() {
    let all = goodput(Config::DEFAULT, Noise::NONE, 4 << 20);
    let short = goodput(Config { packet_max: 256, ..Config::DEFAULT }, Noise::NONE, 4 << 20);
    println!("{all:.4} {short:.4}");
    assert!(all >= 0.99 && short >= 0.965, "{all} {short}");
}

#[test]
fn packets_are_as_long_as_the_noise_allows() {
    for (noise, least) in [
        (Noise { flips: 10, ..Noise::NONE }, 0.975),
        (Noise { drops: 10, ..Noise::NONE }, 0.975),
        (Noise { doubles: 10, ..Noise::NONE }, 0.975),
        (Noise { flips: 100, ..Noise::NONE }, 0.87),
        (Noise { drops: 100, ..Noise::NONE }, 0.87),
        (Noise { flips: 1000, ..Noise::NONE }, 0.5),
    ] {
        let got = goodput(Config::DEFAULT, noise, 4 << 20);
        println!("{noise:?}: {got:.4}");
        assert!(got >= least, "{noise:?}: {got}");
    }
}

#[test]
fn one_lost_byte_is_a_short_pause() {
    let line = LinkConfig { noise: Noise { drops: 10, ..Noise::NONE }, ..LINE };
    let mut pair = Pair::new(3, line, Config::DEFAULT.for_line(2_000_000), [Sizes::HOST; 2]);
    assert!(pair.run(1_000_000, |pair| pair.a.end.is_open() && pair.b.end.is_open()));
    pair.a.to_send = 4 << 20;
    assert!(pair.run(60_000_000, |pair| pair.b.heard == pair.a.to_send), "{}", pair.report());
    println!("pause {} {}", pair.b.pause_us, pair.report());
    // A packet comes each 2.6 ms in any case.
    assert!(pair.a.end.counters().resent > 20 && pair.b.pause_us < 17_600, "{}", pair.b.pause_us);
}

#[test]
fn ends_with_room_for_one_packet_lose_nothing_either() {
    for noise in [
        Noise::NONE,
        Noise { flips: 100, drops: 100, doubles: 100, ..Noise::NONE },
        Noise { flips: 1000, ..Noise::NONE },
        Noise { bursts: 20, burst_max: 64, ..Noise::NONE },
    ] {
        let config = Config { packet_max: 128, ..Config::DEFAULT };
        let sizes = [Sizes::device(128), Sizes::HOST];
        let mut pair = Pair::new(5, LinkConfig { noise, ..LINE }, config, sizes);
        assert!(pair.run(5_000_000, |pair| pair.a.end.is_open() && pair.b.end.is_open()));
        (pair.a.to_send, pair.b.to_send) = (100_000, 400_000);
        let is_done =
            pair.run(60_000_000, |pair| pair.a.heard == 400_000 && pair.b.heard == 100_000);
        println!("{noise:?} {}", pair.report());
        assert!(is_done, "{noise:?} {}", pair.report());
    }
}

/// The peer takes its time to acknowledge: nothing is lost by that.
#[test]
fn a_packet_now_and_then_is_sent_once() {
    let line = LinkConfig { latency_us: 300, ..LINE };
    let mut pair = Pair::new(9, line, Config::DEFAULT.for_line(2_000_000), [Sizes::HOST; 2]);
    assert!(pair.run(1_000_000, |pair| pair.a.end.is_open() && pair.b.end.is_open()));
    for message in 1..=200 {
        pair.a.to_send = message * 10;
        // In this time it is acknowledged.
        assert!(!pair.run(15_000, |_| false));
        assert_eq!((pair.b.heard, pair.a.end.in_flight()), (message * 10, 0), "{}", pair.report());
    }
    assert_eq!(pair.a.end.counters().resent, 0, "{}", pair.report());
}
