//! The simulated link does what its configuration says, and the same again for the same seed.

use sspc_sim::{Counts, Cut, Link, LinkConfig, Noise, Rng, Side, drive};

/// Takes all that arrives at a side until nothing more is under way: times, and bytes.
fn receive(link: &mut Link, side: Side) -> (Vec<u64>, Vec<u8>) {
    let (mut times, mut heard) = (Vec::new(), Vec::new());
    drive(0, 100_000, |now_us| {
        let mut buffer = [0; 8192];
        while let n @ 1.. = link.pop(now_us, side, &mut buffer) {
            times.push(now_us);
            heard.extend(&buffer[..n]);
        }
        link.next_event()
    });
    (times, heard)
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7) as u8).collect()
}

#[test]
fn a_perfect_link_passes_all_at_once_both_ways() {
    let mut link = Link::new(1, LinkConfig::PERFECT);
    assert_eq!(link.push(5, Side::A, b"to b"), 4);
    assert_eq!(link.push(5, Side::B, b"to a!"), 5);
    let mut out = [0; 16];
    assert_eq!(link.pop(5, Side::B, &mut out), 4);
    assert_eq!(&out[..4], b"to b");
    assert_eq!(link.pop(5, Side::A, &mut out), 5);
    assert_eq!(&out[..5], b"to a!");
    assert_eq!(link.pop(5, Side::A, &mut out), 0);
    assert_eq!(link.next_event(), None);
}

#[test]
fn latency_holds_bytes_back() {
    let mut link = Link::new(1, LinkConfig { latency_us: 300, ..LinkConfig::PERFECT });
    link.push(1000, Side::A, b"x");
    assert_eq!(link.next_event(), Some(1300));
    assert_eq!(link.next_arrival(Side::A), None);
    assert_eq!(link.pop(1299, Side::B, &mut [0; 4]), 0);
    assert_eq!(link.pop(1300, Side::B, &mut [0; 4]), 1);
}

#[test]
fn a_serial_line_takes_its_time_for_each_byte() {
    let mut link = Link::new(1, LinkConfig::serial(115_200));
    link.push(0, Side::A, &bytes(1152));
    let (times, heard) = receive(&mut link, Side::B);
    assert_eq!(heard, bytes(1152));
    assert!(times.len() >= 1152 / 16, "chunks of 16 bytes at most");
    // 1152 bytes of 10 bits at 115,200 bit/s.
    assert!((100_000..100_100).contains(times.last().unwrap()), "{times:?}");
    // The other direction has a line of its own.
    link.push(0, Side::B, b"x");
    assert_eq!(link.next_arrival(Side::A), Some(87));
}

#[test]
fn cuts_and_jitter_change_when_bytes_come_but_not_which() {
    let mut seen = Vec::new();
    for seed in 0..50 {
        let config = LinkConfig { jitter_us: 50, cut_max: 7, ..LinkConfig::PERFECT };
        let mut link = Link::new(seed, config);
        link.push(0, Side::A, &bytes(100));
        let (times, heard) = receive(&mut link, Side::B);
        assert_eq!(heard, bytes(100), "seed {seed}");
        assert!(times.iter().is_sorted(), "seed {seed}");
        assert!(times.len() > 100 / 7, "seed {seed}");
        seen.push(times);
    }
    seen.sort();
    seen.dedup();
    assert!(seen.len() > 40, "seeds differ");
}

#[test]
fn a_full_link_takes_no_more_until_bytes_are_taken() {
    let mut link = Link::new(1, LinkConfig { capacity: 10, ..LinkConfig::PERFECT });
    assert_eq!(link.push(0, Side::A, &bytes(8)), 8);
    assert_eq!(link.push(0, Side::A, &bytes(8)), 2);
    assert_eq!(link.push(0, Side::A, &bytes(8)), 0);
    assert_eq!(link.room(Side::B), 10);
    assert_eq!(link.pop(0, Side::B, &mut [0; 3]), 3);
    assert_eq!(link.room(Side::A), 3);
    assert_eq!(link.push(0, Side::A, &bytes(8)), 3);
}

#[test]
fn a_cut_link_loses_what_is_under_way_until_it_is_restored() {
    let mut link = Link::new(1, LinkConfig { latency_us: 10, ..LinkConfig::PERFECT });
    link.push(0, Side::A, b"lost");
    link.cut();
    assert!(!link.is_up(0));
    assert_eq!(link.push(1, Side::B, b"lost too"), 8);
    assert_eq!(link.next_event(), None);
    link.restore();
    assert!(link.is_up(2));
    link.push(2, Side::A, b"kept");
    let (_, heard) = receive(&mut link, Side::B);
    assert_eq!(heard, b"kept");
    assert_eq!(link.counts(), Counts { pushed: 8, popped: 4, cut: 12, ..Counts::default() });
}

#[test]
fn a_link_can_be_lost_at_any_byte() {
    for at in 0..20 {
        let mut link = Link::new(at, LinkConfig { cut_max: 3, ..LinkConfig::PERFECT });
        link.plan(Cut::AfterBytes(Side::A, at));
        link.push(0, Side::B, b"the other way");
        link.push(0, Side::A, &bytes(20));
        let (_, heard) = receive(&mut link, Side::B);
        assert_eq!(heard, bytes(20)[..at as usize]);
        assert!(!link.is_up(0), "lost after {at} bytes");
        assert_eq!(link.pop(0, Side::A, &mut [0; 20]), 0);
    }
}

#[test]
fn an_end_that_stops_loses_what_the_line_has_not_sent() {
    let config = LinkConfig { latency_us: 70, cut_max: 1, ..LinkConfig::serial(1_000_000) };
    let mut link = Link::new(1, config);
    link.push(0, Side::A, &bytes(8));
    // 10 µs a byte, and 70 on the way.
    link.stop_sending(35, Side::B);
    link.stop_sending(35, Side::A);
    link.push(35, Side::A, b"x");
    assert_eq!(link.counts().cut, 5);
    let arrived = [bytes(3), b"x".to_vec()].concat();
    assert_eq!(receive(&mut link, Side::B), (vec![80, 90, 100, 115], arrived));
}

#[test]
fn a_link_can_be_lost_at_a_time() {
    let mut link = Link::new(1, LinkConfig { latency_us: 100, ..LinkConfig::PERFECT });
    link.plan(Cut::AtTime(150));
    link.push(0, Side::A, b"early");
    link.push(60, Side::A, b"late");
    assert_eq!(link.pop(100, Side::B, &mut [0; 9]), 5);
    assert_eq!(link.next_event(), Some(150), "the loss is an event");
    assert!(link.is_up(149));
    assert!(!link.is_up(150));
    assert_eq!(link.pop(160, Side::B, &mut [0; 9]), 0);
    assert_eq!(link.next_event(), None);
    link.restore();
    assert!(link.is_up(161), "a plan is for one loss");
}

#[test]
fn noise_comes_as_often_as_asked() {
    const SENT: usize = 200_000;
    let config = |noise| LinkConfig { noise, ..LinkConfig::PERFECT };
    let run = |noise| {
        let mut link = Link::new(3, config(noise));
        link.push(0, Side::A, &vec![0; SENT]);
        let mut heard = vec![0xff; 2 * SENT];
        let n = link.pop(0, Side::B, &mut heard);
        heard.truncate(n);
        (link.counts(), heard)
    };
    // 1 % of 200,000 bytes is 2,000; the seed is fixed, so this is no test of luck.
    let often = 1800..2200;

    let (counts, heard) = run(Noise { flips: 10_000, ..Noise::NONE });
    assert!(often.contains(&counts.flipped));
    assert!(heard.iter().all(|byte| byte.count_ones() <= 1));
    assert_eq!(heard.iter().filter(|byte| **byte != 0).count() as u64, counts.flipped);

    let (counts, heard) = run(Noise { drops: 10_000, ..Noise::NONE });
    assert!(often.contains(&counts.dropped));
    assert_eq!(heard.len() as u64, SENT as u64 - counts.dropped);

    let (counts, heard) = run(Noise { doubles: 10_000, ..Noise::NONE });
    assert!(often.contains(&counts.doubled));
    assert_eq!(heard.len() as u64, SENT as u64 + counts.doubled);

    let (counts, heard) = run(Noise { bursts: 1000, burst_max: 20, ..Noise::NONE });
    assert!((1500..2700).contains(&counts.burst), "{counts:?}");
    assert_eq!(heard.len(), SENT);
    assert!(heard.iter().filter(|byte| **byte != 0).count() as u64 <= counts.burst);

    let (counts, heard) = run(Noise { overruns: 1000, overrun_max: 20, ..Noise::NONE });
    assert!((1500..2700).contains(&counts.dropped), "{counts:?}");
    assert_eq!(heard.len() as u64, SENT as u64 - counts.dropped);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let noise = Noise {
        flips: 9000,
        drops: 9000,
        doubles: 9000,
        bursts: 9000,
        burst_max: 5,
        overruns: 900,
        overrun_max: 5,
        of: 1_000_000,
    };
    let config = LinkConfig { jitter_us: 90, noise, ..LinkConfig::serial(1_000_000) };
    let run = |seed| {
        let mut link = Link::new(seed, config);
        link.push(0, Side::A, &bytes(2000));
        (receive(&mut link, Side::B), link.counts())
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}

#[test]
fn chance_is_even() {
    let mut rng = Rng::new(0);
    let mut seen = [0; 10];
    for _ in 0..10_000 {
        seen[rng.below(10) as usize] += 1;
    }
    assert!(seen.iter().all(|n| (900..1100).contains(n)), "{seen:?}");
    assert_eq!(rng.below(0), 0);
    assert!(!rng.chance(0));
    assert!(rng.chance(1_000_000));
}

#[test]
#[should_panic(expected = "not done after 10 steps, at 3 µs")]
fn a_simulation_that_does_not_end_is_told() {
    drive(3, 10, Some);
}
