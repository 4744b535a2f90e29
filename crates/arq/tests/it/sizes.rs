//! Buffers of every length: packets as long as each, windows as wide as each.

use sspc_arq::Config;
use sspc_sim::{LinkConfig, Noise};

use crate::pair::{Pair, Sizes};

/// Each length of packets, or each thirteenth of the long ones, with a window and a replay buffer of another size each time, beside a peer that
/// has room for all.
#[test]
fn buffers_of_every_length_lose_nothing() {
    let noise = Noise { flips: 20, drops: 20, doubles: 20, ..Noise::NONE };
    let line = LinkConfig { noise, latency_us: 500, ..LinkConfig::serial(2_000_000) };
    for mru in (64..700).chain((700..4096).step_by(13)).chain([4095]) {
        let (places, sent) = (mru % 37, 4 * mru as u64);
        let of_a =
            Sizes { storage: mru + 6 + places * (mru + 8), replay: 68 + mru * 7 % (3 * mru) };
        let config = Config { packet_max: 4095, ..Config::DEFAULT };
        let mut pair = Pair::new(mru as u64, line, config, [of_a, Sizes::LONG]);
        assert!(pair.run(5_000_000, |pair| pair.a.end.is_open() && pair.b.end.is_open()));
        (pair.a.to_send, pair.b.to_send) = (sent, sent);
        let is_done = pair.run(20_000_000, |pair| pair.a.heard == sent && pair.b.heard == sent);
        assert!(is_done, "{mru} {of_a:?} {}", pair.report());
    }
}
