//! Channels of one priority get equal shares of the line, whatever those of other priorities do.
//!
//! One channel of a higher priority that sent a little now and then gave most of the line to a few of
//! those below it: after it, the turn always began at the same place.

use sspc_mux::{Channel, Config, Priority, Role};
use sspc_sim::Rng;

use crate::support::{Bench, Seen, us};

/// What a channel has to send.
#[derive(Clone, Copy)]
enum Load {
    /// Always more.
    Bulk,
    /// A frame for every so many frames of all.
    Every(usize),
}

/// How many frames each of these channels gets of so many.
fn shares(channels: &[(u8, Load)], frames: usize) -> Vec<usize> {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    let handles: Vec<Channel> =
        channels.iter().map(|(level, _)| bench.mux.open(Priority::new(*level)).unwrap()).collect();
    bench.sent();
    for handle in &handles {
        let index = handle.index();
        assert_eq!(bench.hear(&[0xf1, index]), [Seen::Opened(index)]);
    }
    let mut shares = vec![0; channels.len()];
    let mut has_one = vec![false; channels.len()];
    for frame in 0..frames {
        for (at, (_, load)) in channels.iter().enumerate() {
            has_one[at] |= match load {
                Load::Bulk => true,
                Load::Every(frames) => frame % frames == 0,
            };
            bench.mux.wants_to_send(handles[at], has_one[at]);
        }
        let mut out = [0; 256];
        let mut source = |channel: Channel, room: &mut [u8]| {
            let at = handles.iter().position(|handle| *handle == channel).unwrap();
            shares[at] += 1;
            has_one[at] = false;
            room[0] = 7;
            1
        };
        bench.mux.transmit(us(bench.now_us), &mut out, &mut source).unwrap();
    }
    shares
}

/// Of those with bulk at each level, the most and the least may be one frame apart by priority, and
/// one by turns.
fn assert_fair(channels: &[(u8, Load)], frames: usize) {
    let shares = shares(channels, frames);
    for level in 0..8 {
        let of_level: Vec<usize> = channels
            .iter()
            .zip(&shares)
            .filter(|((at, load), _)| *at == level && matches!(load, Load::Bulk))
            .map(|(_, share)| *share)
            .collect();
        if let (Some(most), Some(least)) = (of_level.iter().max(), of_level.iter().min()) {
            assert!(most - least <= 2, "level {level}: {of_level:?}");
        }
    }
}

#[test]
fn equal_downloads_beside_a_ticker_of_any_priority_get_equal_shares() {
    for bulk in 0..8 {
        for ticker in 0..8 {
            for every in [2, 3, 5, 7, 16, 40] {
                let mut channels = vec![(bulk, Load::Bulk); 16];
                channels.insert(every % 16, (ticker, Load::Every(every)));
                assert_fair(&channels, 16 * 200);
            }
        }
    }
}

#[test]
fn every_mix_of_levels_is_fair_within_each() {
    let mut rng = Rng::new(1);
    for _ in 0..200 {
        let channels: Vec<_> = (0..2 + rng.below(30))
            .map(|_| {
                let load = match rng.below(4) {
                    0 => Load::Every(1 + rng.below(50) as usize),
                    _ => Load::Bulk,
                };
                (rng.below(8) as u8, load)
            })
            .collect();
        assert_fair(&channels, 3000);
    }
}
