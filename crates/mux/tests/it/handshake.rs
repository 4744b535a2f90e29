//! The link: coming up, going down, in every order of what can be lost or come twice.

use sspc_mux::{Channel, Config, Event, LinkLoss, Mux, NoRoom, Priority, Role, TRANSMIT_MIN};

use crate::support::{Bench, Seen, ping, ping_while_down, pong, pongack, us};

const RESET: &[u8] = &[0xf9];

fn bench() -> Bench {
    Bench::new(Role::Client, Config::DEFAULT)
}

#[test]
fn begins_with_reset_and_ping_at_once_and_again_ever_more_slowly() {
    let mut bench = bench();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let mut expected = vec![0xf9];
        expected.extend(ping_while_down(bench.now_us));
        assert_eq!(bench.sent(), expected);
        assert_eq!(bench.sent(), b"", "no PING before its time");
        let next_us = bench.mux.deadline().unwrap().as_micros();
        waits.push((next_us - bench.now_us) / 1000);
        bench.now_us = next_us;
    }
    for (wait, longest) in waits.iter().zip([250, 500, 1000, 2000, 2000, 2000, 2000, 2000]) {
        assert!((longest * 3 / 4..=longest).contains(wait), "{waits:?}");
    }
    assert!(waits[3..].windows(2).any(|pair| pair[0] != pair[1]), "no jitter: {waits:?}");
}

#[test]
fn pong_to_the_last_ping_brings_the_link_up_and_is_acknowledged_with_the_wall_clock() {
    let mut bench = bench();
    let sent_us = bench.now_us;
    bench.sent();
    bench.mux.set_unix_time(us(sent_us), 1_700_000_000_000_000);
    bench.now_us += 1234;
    assert_eq!(bench.hear(&pong(sent_us.to_be_bytes())), [Seen::Up]);
    assert!(bench.mux.is_up());
    assert_eq!(bench.mux.rtt_us(), 1234);
    assert_eq!(bench.sent(), pongack(1_700_000_000_001_234));
}

#[test]
fn pongack_brings_the_link_up_and_tells_the_peers_clock() {
    let mut bench = bench();
    bench.sent();
    assert_eq!(bench.hear(&[RESET, &ping(5)].concat()), []);
    let sent = bench.sent();
    assert_eq!(sent, [&[0xf7][..], &5u64.to_be_bytes(), &bench.now_us.to_be_bytes()].concat());
    bench.now_us += 900;
    assert_eq!(bench.hear(&pongack(42)), [Seen::Up, Seen::Clock(42)]);
    assert_eq!(bench.mux.rtt_us(), 900);
    assert_eq!(bench.sent(), b"", "a PONGACK is not answered");
}

#[test]
fn answers_that_nobody_asked_for_are_ignored() {
    let mut bench = bench();
    let first_us = bench.now_us;
    bench.sent();
    bench.wait_ms(400);
    assert!(!bench.mux.is_up());
    // Not the last PING's time; no PONG was sent.
    assert_eq!(bench.hear(&[RESET, &ping(1)].concat()), []);
    assert_eq!(bench.hear(&pong(first_us.to_be_bytes())), []);
    let mut fresh = self::bench();
    fresh.sent();
    assert_eq!(fresh.hear(&[RESET, &[0xf6, 0]].concat()), []);
    assert_eq!(fresh.hear(&[0; 7]), []);
    assert_eq!(fresh.hear(&pongack(1)), [], "the PONG was not sent yet");
    assert!(!fresh.mux.is_up());
}

/// A side that is up because of an answer to what it sent before its last RESET would go on while
/// the peer, which the RESET reaches later, starts over: both up, one of them with channels that
/// the other does not know.
#[test]
fn a_pongack_from_before_our_last_reset_does_not_count() {
    let mut bench = bench();
    bench.sent();
    assert_eq!(bench.hear(&[RESET, &ping(5)].concat()), []);
    assert_eq!(bench.sent()[0], 0xf7);
    bench.wait_ms(300);
    assert_eq!(bench.hear(&pongack(1)), []);
    assert!(!bench.mux.is_up());
}

#[test]
fn while_the_peers_handshake_runs_no_reset_of_ours_breaks_it() {
    let mut bench = bench();
    bench.sent();
    bench.now_us = bench.mux.deadline().unwrap().as_micros() - 1000;
    assert_eq!(bench.hear(&[RESET, &ping(5)].concat()), []);
    assert_eq!(bench.sent()[0], 0xf7);
    bench.now_us += 100_000;
    assert_eq!(bench.sent(), b"");
    assert_eq!(bench.hear(&pongack(1)), [Seen::Up, Seen::Clock(1)]);
}

#[test]
fn doubled_answers_change_nothing() {
    let mut bench = bench();
    let sent_us = bench.now_us;
    bench.sent();
    let pong = pong(sent_us.to_be_bytes());
    assert_eq!(bench.hear(&[&pong[..], &pong].concat()), [Seen::Up]);
    assert_eq!(bench.sent().len(), 9, "one PONGACK");
    bench.hear(&ping(8));
    bench.sent();
    assert_eq!(bench.hear(&[pongack(2), pongack(3)].concat()), [Seen::Clock(2)]);
}

/// A peer that is up sends PING alone. To answer it while down would keep up a peer with channels
/// that this side does not know; instead it gets a RESET.
#[test]
fn while_down_a_ping_without_reset_is_not_answered() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    bench.mux.reset();
    assert_eq!(bench.wait_ms(0), [Seen::Down(LinkLoss::Asked)]);
    assert_eq!(bench.hear(&ping(9)), []);
    assert_eq!(bench.sent(), b"");
    bench.now_us = bench.mux.deadline().unwrap().as_micros();
    assert_eq!(bench.sent()[..2], [0xf9, 0xf6]);
}

#[test]
fn reset_while_up_loses_everything_and_answers_the_handshake() {
    let mut bench = Bench::up(Role::Proxy, Config::DEFAULT);
    assert_eq!(bench.hear(&[0xf0, 255]), [Seen::Requested(255)]);
    let events = bench.hear(&[RESET, &ping(3), &[0xf9], &ping(4)].concat());
    assert_eq!(events, [Seen::Down(LinkLoss::PeerReset)]);
    assert_eq!(bench.mux.used(), 0);
    // Only the last PING, and no RESET of ours: the peer is down already.
    assert_eq!(bench.sent()[..9], [&[0xf7][..], &4u64.to_be_bytes()].concat());
    assert_eq!(bench.hear(&pongack(1)), [Seen::Up, Seen::Clock(1)]);
}

/// A RESET_TRANSPORT may be lost, or taken for the last byte of a frame that has no end. The PING
/// behind it tells of it.
#[test]
fn a_ping_whose_reset_was_lost_is_a_reset() {
    let mut bench = Bench::up(Role::Proxy, Config::DEFAULT);
    assert_eq!(bench.hear(b"\xf0\xff"), [Seen::Requested(255)]);
    bench.mux.accept(Channel::new(255), Priority::LOWEST).unwrap();
    bench.sent();
    let events = bench.hear(&[b"\xf5\xff\x00\x05half", RESET, &ping_while_down(3)].concat());
    let half = Seen::Data(255, b"half\xf9".to_vec());
    assert_eq!(events, [half, Seen::Down(LinkLoss::PeerReset)]);
    let answer = [&[0xf7][..], &ping_while_down(3)[1..]].concat();
    assert_eq!(bench.sent()[..9], answer, "with the very time, and no RESET of ours");
    assert_eq!(bench.hear(&pongack(1)), [Seen::Up, Seen::Clock(1)]);
}

#[test]
fn reset_while_up_and_then_nothing_begins_the_handshake_from_this_side() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    assert_eq!(bench.hear(RESET), [Seen::Down(LinkLoss::PeerReset)]);
    assert_eq!(bench.sent(), b"");
    let wait_us = bench.mux.deadline().unwrap().as_micros() - bench.now_us;
    assert!(wait_us <= 250_000);
    bench.now_us += wait_us;
    bench.handshake();
}

#[test]
fn while_up_a_ping_is_due_10_s_after_the_last_proof_of_life() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    for _ in 0..3 {
        let wait_us = bench.mux.deadline().unwrap().as_micros() - bench.now_us;
        assert!((7_500_000..=10_000_000).contains(&wait_us), "{wait_us}");
        bench.now_us += wait_us - 1000;
        assert_eq!(bench.sent(), b"");
        bench.now_us += 1000;
        assert_eq!(bench.sent(), ping(bench.now_us), "without RESET");
        bench.now_us += 500;
        assert_eq!(bench.hear(&pong((bench.now_us - 500).to_be_bytes())), [Seen::RoundTrip]);
        assert_eq!(bench.sent()[0], 0xf8);
    }
    // The peer's round is proof as well.
    bench.now_us += 7_000_000;
    bench.hear(&ping(1));
    bench.sent();
    assert_eq!(bench.hear(&pongack(6)), [Seen::Clock(6)]);
    assert!(bench.mux.deadline().unwrap() >= us(bench.now_us + 7_500_000));
}

#[test]
fn no_pong_within_2_s_of_the_ping_takes_the_link_down() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    let due_us = bench.mux.deadline().unwrap().as_micros();
    let wait_ms = (due_us - bench.now_us) / 1000;
    assert_eq!(bench.wait_ms(wait_ms + 1999), []);
    assert_eq!(bench.wait_ms(2), [Seen::Down(LinkLoss::NoPong)]);
    assert!(!bench.mux.is_up());
}

#[test]
fn a_ping_that_could_not_even_be_written_takes_the_link_down_too() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    bench.now_us = bench.mux.deadline().unwrap().as_micros();
    assert_eq!(bench.mux.handle_timeout(bench.now()), None);
    for _ in 0..2 {
        assert_eq!(bench.mux.handle_timeout(bench.now()), None);
        let until = bench.mux.deadline().unwrap();
        assert_eq!(until, us(bench.now_us + 1_000_000));
        bench.now_us = until.as_micros();
    }
    assert_eq!(bench.wait_ms(0), [Seen::Down(LinkLoss::NoPong)]);
}

/// One harmed byte in a PING or its PONG took the link down, and all streams with it.
#[test]
fn a_second_ping_is_sent_at_half_of_the_time_and_either_pong_is_proof_of_life() {
    for first_arrives in [false, true] {
        let mut bench = Bench::up(Role::Client, Config::DEFAULT);
        bench.now_us = bench.mux.deadline().unwrap().as_micros();
        let sent_us = bench.now_us;
        assert_eq!(bench.sent(), ping(sent_us));
        bench.now_us += 999_000;
        assert_eq!(bench.sent(), b"");
        bench.now_us += 1000;
        assert_eq!(bench.sent(), ping(sent_us), "with the same time");
        assert_eq!(bench.sent(), b"", "once");
        bench.now_us += 500_000;
        assert_eq!(bench.hear(&pong(sent_us.to_be_bytes())), [Seen::RoundTrip]);
        assert_eq!(bench.sent().len(), 9, "one PONGACK");
        if first_arrives {
            assert_eq!(bench.hear(&pong(sent_us.to_be_bytes())), []);
            assert_eq!(bench.sent(), b"");
        }
        let due_us = bench.mux.deadline().unwrap().as_micros();
        assert!(due_us >= bench.now_us + 7_500_000);
    }
}

/// A process that was stopped, or a machine that slept, could not send its PING: that is no sign
/// that the peer is gone.
#[test]
fn a_long_sleep_is_not_taken_for_a_dead_peer() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    bench.now_us += 3_600_000_000;
    assert_eq!(bench.mux.handle_timeout(bench.now()), None);
    assert_eq!(bench.sent(), ping(bench.now_us));
    // And with a PONG that waited to be read.
    let pong = pong(bench.now_us.to_be_bytes());
    bench.now_us += 3_600_000_000;
    assert_eq!(bench.hear(&pong), [Seen::RoundTrip]);
    assert_eq!(bench.mux.handle_timeout(bench.now()), None);
}

/// Up to its second PING, which is sent.
fn probed_twice() -> Bench {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    bench.now_us = bench.mux.deadline().unwrap().as_micros();
    for wait_us in [1_000_000, 0] {
        assert_eq!(bench.sent().len(), 9);
        bench.now_us += wait_us;
    }
    bench
}

/// A process that does not run for a while sees late that the time has passed, and what came meanwhile
/// is not all read yet.
#[test]
fn an_end_that_comes_late_looks_once_more_before_it_gives_up() {
    let mut bench = probed_twice();
    bench.now_us += 1_000_000 + 100_000;
    assert_eq!(bench.wait_ms(0), [Seen::Down(LinkLoss::NoPong)], "it was hardly late");

    let mut bench = probed_twice();
    bench.now_us += 1_000_000 + 700_000;
    assert_eq!(bench.wait_ms(0), []);
    assert_eq!(bench.mux.deadline(), Some(us(bench.now_us + 1_000_000)));
    // However late it is then.
    bench.now_us += 2_000_000;
    assert_eq!(bench.wait_ms(0), [Seen::Down(LinkLoss::NoPong)]);
}

/// In packets, a PONG may stand behind some that are sent again.
#[test]
fn a_link_lives_while_the_layer_below_has_answers() {
    let mut bench = probed_twice();
    for _ in 0..10 {
        bench.now_us += 900_000;
        bench.mux.peer_answered(bench.now());
        assert_eq!(bench.wait_ms(0), []);
    }
    assert_eq!(bench.wait_ms(1999), []);
    assert_eq!(bench.wait_ms(1), [Seen::Down(LinkLoss::NoPong)]);
}

#[test]
fn nothing_but_the_handshake_is_sent_while_down() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    let channel = bench.mux.open(Default::default()).unwrap();
    bench.sent();
    assert_eq!(bench.hear(&[0xf1, 255]), [Seen::Opened(255)]);
    bench.send(channel, b"hello");
    bench.mux.reset();
    assert_eq!(bench.wait_ms(0), [Seen::Down(LinkLoss::Asked)]);
    for _ in 0..5 {
        bench.now_us = bench.mux.deadline().unwrap().as_micros();
        assert_eq!(bench.sent().len(), 10);
    }
}

#[test]
fn a_ping_can_be_asked_for() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    bench.mux.ping(bench.now());
    assert_eq!(bench.sent(), ping(bench.now_us));
    bench.mux.ping(bench.now());
    assert_eq!(bench.sent(), b"", "one at a time");
}

#[test]
fn times_of_nothing_do_not_spin() {
    let config = Config {
        ping_ms: 0,
        pong_ms: 0,
        retry_first_ms: 0,
        retry_max_ms: 0,
        channel_ms: 0,
        stall_ms: 0,
        frame_max: 0,
    };
    let mut bench = Bench::new(Role::Client, config);
    bench.handshake();
    bench.mux.open(Default::default()).unwrap();
    bench.wait_ms(20);
}

#[test]
fn a_short_buffer_is_an_error_and_loses_nothing() {
    let mut mux = Mux::new(Role::Client, Config::DEFAULT, 1);
    let mut none = |_, _: &mut [u8]| 0;
    let short = &mut [0; TRANSMIT_MIN - 1];
    assert_eq!(mux.transmit(us(0), short, &mut none), Err(NoRoom));
    assert_eq!(mux.transmit(us(0), &mut [0; TRANSMIT_MIN], &mut none), Ok(10));
}

/// Whatever happens to each of the first six things that are said, in either direction, and
/// whichever end starts first: both come up, of the same life of the link, so that a channel that
/// one opens is known to the other and stays.
#[test]
fn every_fate_of_the_first_words_ends_with_both_up() {
    const LATENCY_US: u64 = 3000;
    for fates in 0..3u32.pow(6) {
        for (start_a_us, start_b_us) in [(0, 0), (0, 1000), (3000, 0), (0, 3000), (90_000, 0)] {
            let mut ends = [
                (Mux::new(Role::Client, Config::FAST, fates + 1), start_a_us),
                (Mux::new(Role::Proxy, Config::FAST, !fates), start_b_us),
            ];
            let mut opened = None;
            // When it arrives, where, and what.
            let mut under_way: Vec<(u64, usize, Vec<u8>)> = Vec::new();
            let mut fate = fates;
            for now_us in (0..1_100_000).step_by(1000) {
                for (at, (mux, start_us)) in ends.iter_mut().enumerate() {
                    if now_us < *start_us {
                        continue;
                    }
                    let mut input = Vec::new();
                    under_way.retain(|(at_us, to, bytes)| {
                        let is_here = *at_us <= now_us && *to == at;
                        if is_here {
                            input.extend_from_slice(bytes);
                        }
                        !is_here
                    });
                    let mut input = &input[..];
                    loop {
                        let event = mux.receive(us(now_us), &mut input);
                        match event.or_else(|| mux.handle_timeout(us(now_us))) {
                            Some(Event::ChannelRequested { channel }) => {
                                mux.accept(channel, Priority::LOWEST).unwrap();
                            }
                            Some(_) => {}
                            None => break,
                        }
                    }
                    if (at, now_us) == (0, 1_000_000) {
                        opened = mux.open(Priority::LOWEST).ok();
                    }
                    let mut out = [0; 64];
                    let mut none = |_: Channel, _: &mut [u8]| 0;
                    while let n @ 1.. = mux.transmit(us(now_us), &mut out, &mut none).unwrap() {
                        for _ in 0..[1, 0, 2][fate as usize % 3] {
                            under_way.push((now_us + LATENCY_US, 1 - at, out[..n].to_vec()));
                        }
                        fate /= 3;
                    }
                }
            }
            let [(a, _), (b, _)] = ends;
            let what = format!("fates {fates}, starts {start_a_us} and {start_b_us}");
            assert!(a.is_up() && b.is_up(), "{what}");
            let channel = opened.unwrap_or_else(|| panic!("not up after 1 s: {what}"));
            assert!(a.is_open(channel) && b.is_open(channel), "{what}");
            assert_eq!((a.used(), b.used()), (1, 1), "{what}");
        }
    }
}
