//! Faults that deployed peers have (docs/spec/deployed.md), and those of a line: survived, and not
//! repeated.

use sspc_mux::{Channel, Config, LinkLoss, Priority, Refusal, Role};

use crate::support::{Bench, Seen, ping, pongack};

const LOW: Priority = Priority::LOWEST;
const C255: Channel = Channel::new(255);

fn open(role: Role) -> Bench {
    let mut bench = Bench::up(role, Config::DEFAULT);
    match role {
        Role::Client => {
            bench.mux.open(LOW).unwrap();
            bench.sent();
            bench.hear(&[0xf1, 255]);
        }
        Role::Proxy => {
            bench.hear(&[0xf0, 255]);
            bench.mux.accept(C255, LOW).unwrap();
            bench.sent();
        }
    }
    bench
}

/// Fault 1: it never answers CHANNEL_CLOSE and leaves its stream open, but takes CHANNEL_NACK for
/// the channel's end. So that is sent when the answer does not come.
#[test]
fn fault_1_a_peer_that_does_not_answer_close_is_sent_a_nack() {
    let mut bench = open(Role::Proxy);
    bench.mux.close(C255);
    assert_eq!(bench.sent(), [0xf3, 255]);
    let mut sent = Vec::new();
    for _ in 0..3 {
        bench.now_us += 1_000_000;
        assert_eq!(bench.mux.handle_timeout(bench.now()), None);
        sent.extend(bench.sent());
    }
    assert_eq!(sent, [0xf2, 255]);
    // It goes on to send: told again, and the application hears nothing.
    assert_eq!(bench.hear(b"\xf5\xff\x00\x02hi"), []);
    assert_eq!(bench.sent(), [0xf2, 255]);
}

/// Fault 1, for ever: each channel costs an index, until the link is reset and all are back.
#[test]
fn fault_1_a_client_goes_on_beside_a_proxy_that_never_answers_close() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    let mut resets = 0;
    for _ in 0..600 {
        let Ok(channel) = bench.mux.open(LOW) else {
            assert_eq!(bench.wait_ms(0), [Seen::Down(LinkLoss::NoIndexLeft)]);
            bench.mux.reset();
            bench.handshake();
            resets += 1;
            continue;
        };
        bench.sent();
        assert_eq!(bench.hear(&[0xf1, channel.index()]), [Seen::Opened(channel.index())]);
        bench.mux.close(channel);
        bench.sent();
        // Time passes; the proxy answers PING, which keeps the link up.
        for _ in 0..3 {
            bench.now_us += 1_000_000;
            assert_eq!(bench.mux.handle_timeout(bench.now()), None);
            bench.hear(&ping(1));
            bench.sent();
            bench.hear(&pongack(1));
        }
    }
    assert_eq!(resets, 2);
}

/// Fault 2: one stream's failure makes its client reset the whole link, over and over. The link is
/// back each time, and its proxy is our own.
#[test]
fn fault_2_a_client_that_resets_the_link_gets_it_back_each_time() {
    let mut bench = open(Role::Proxy);
    for round in 0..20 {
        bench.now_us += 1_000_000;
        let events = bench.hear(&[&[0xf9][..], &ping(round)].concat());
        assert_eq!(events, [Seen::Down(LinkLoss::PeerReset)]);
        assert_eq!(bench.sent()[..9], [&[0xf7][..], &round.to_be_bytes()].concat());
        let events = bench.hear(&[&pongack(round + 1)[..], &[0xf0, 255]].concat());
        assert_eq!(events, [Seen::Up, Seen::Clock(round + 1), Seen::Requested(255)]);
        bench.mux.accept(C255, LOW).unwrap();
    }
}

/// Fault 1: a client of its kind never sends CHANNEL_CLOSE. Its channels stay until it resets the link,
/// and then all indices are free.
#[test]
fn fault_1_a_client_that_never_closes_leaves_no_index_behind() {
    let mut bench = Bench::up(Role::Proxy, Config::DEFAULT);
    for _ in 0..3 {
        for index in (3..=255).rev() {
            assert_eq!(bench.hear(&[0xf0, index]), [Seen::Requested(index)]);
            bench.mux.accept(Channel::new(index), LOW).unwrap();
            assert_eq!(bench.sent(), [0xf1, index]);
        }
        assert_eq!(bench.mux.used(), 253);
        let events = bench.hear(&[&[0xf9][..], &ping(1)].concat());
        assert_eq!(events, [Seen::Down(LinkLoss::PeerReset)]);
        assert_eq!(bench.mux.used(), 0);
        bench.sent();
        assert_eq!(bench.hear(&pongack(2)), [Seen::Up, Seen::Clock(2)]);
    }
}

/// Fault 2: it can send 2,048 bytes of stale buffer.
#[test]
fn fault_2_stale_bytes_reach_no_stream_once_framing_shows_it() {
    let mut bench = open(Role::Client);
    let stale: Vec<u8> = (0..2048u32).map(|i| (i * 7 + 0x11) as u8 & 0x7f).collect();
    let events = bench.hear(&[b"\xf5\xff\x00\x02ok", &stale[..]].concat());
    assert_eq!(events, [Seen::Data(255, b"ok".to_vec()), Seen::Down(LinkLoss::Framing)]);
    assert_eq!(bench.mux.framing_losses(), 1);
    bench.handshake();
    assert_eq!(bench.mux.framing_losses(), 1, "counted once");
}

/// Fault 3: it aborts on data for a channel that is not open.
#[test]
fn fault_3_no_data_is_sent_before_ack_nor_after_close() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    bench.mux.open(LOW).unwrap();
    bench.send(C255, b"early");
    assert_eq!(bench.sent(), [0xf0, 255]);
    bench.hear(&[0xf1, 255]);
    bench.send(C255, b" and now");
    assert_eq!(bench.sent(), b"\xf5\xff\x00\x0dearly and now");
    bench.send(C255, b"late");
    bench.mux.close(C255);
    assert_eq!(bench.sent(), [0xf3, 255]);
    bench.send(C255, b"later");
    assert_eq!(bench.sent(), b"");
    // The proxy's side: the answer first.
    let mut bench = Bench::up(Role::Proxy, Config::DEFAULT);
    bench.hear(&[0xf0, 255]);
    bench.send(C255, b"early");
    assert_eq!(bench.sent(), b"");
    bench.mux.accept(C255, LOW).unwrap();
    bench.mux.wants_to_send(C255, true);
    assert_eq!(bench.sent(), b"\xf1\xff\xf5\xff\x00\x05early");
}

/// Fault 4, and our own way: each frame for an unknown channel is answered once, and dropped.
#[test]
fn fault_4_data_for_an_unknown_channel_is_answered_by_nack() {
    let mut bench = Bench::up(Role::Proxy, Config::DEFAULT);
    assert_eq!(bench.hear(b"\xf5\x09\x00\x03ab"), []);
    assert_eq!(bench.sent(), [0xf2, 9]);
    assert_eq!(bench.hear(b"c"), []);
    assert_eq!(bench.sent(), b"");
    assert_eq!(bench.hear(b"\xf5\x09\x00\x01d\xf5\x09\x00\x01e"), []);
    assert_eq!(bench.sent(), [0xf2, 9], "one answer stands for all before it");
}

/// Fault 4, the other way: it says of a channel that it does not know it.
#[test]
fn fault_4_a_nack_for_data_ends_that_channel_alone() {
    let mut bench = open(Role::Client);
    let other = bench.mux.open(LOW).unwrap();
    bench.sent();
    assert_eq!(bench.hear(&[0xf1, 254]), [Seen::Opened(254)]);
    bench.send(C255, b"who am I");
    bench.send(other, b"and I");
    bench.sent();
    assert_eq!(bench.hear(&[0xf2, 255]), [Seen::Closed(255)]);
    bench.send(other, b"still here");
    assert_eq!(bench.sent(), b"\xf5\xfe\x00\x0astill here");
}

/// Fault 5: it takes no frame of 65,535 bytes, and none of more than 2,044.
#[test]
fn fault_5_frames_are_as_short_as_it_takes_and_its_own_may_be_long() {
    for frame_max in [0, 1, 1380, 2044, u16::MAX] {
        let mut bench = Bench::up(Role::Client, Config { frame_max, ..Config::DEFAULT });
        bench.mux.open(LOW).unwrap();
        bench.sent();
        bench.hear(&[0xf1, 255]);
        bench.queues[255].extend(vec![7; 200_000]);
        bench.mux.wants_to_send(C255, true);
        let mut out = vec![0; 70_000];
        let queue = &mut bench.queues[255];
        let mut source = |_: Channel, room: &mut [u8]| queue.drain(..room.len()).count();
        let n = bench.mux.transmit(crate::support::us(0), &mut out, &mut source).unwrap();
        let length = usize::from(u16::from_be_bytes([out[2], out[3]]));
        assert_eq!((out[0], n), (0xf5, 4 + length));
        assert_eq!(length, usize::from(frame_max.clamp(1, 65_534)), "the most that is asked for");
    }
    let mut bench = open(Role::Client);
    let long = [&b"\xf5\xff\xff\xfe"[..], &[9; 65_534], b"\xf5\xff\x00\x01x"].concat();
    let events = bench.hear(&long);
    assert_eq!(events, [Seen::Data(255, vec![9; 65_534]), Seen::Data(255, b"x".to_vec())]);
}

/// Fault 6: it serves one channel as long as that one wants. Ours hears it, and goes on to serve all
/// of its own in turn, its control first, and one of high priority at the next frame.
#[test]
fn fault_6_a_peer_without_fairness_does_not_spoil_ours() {
    let mut bench = open(Role::Proxy);
    for index in [254, 253] {
        bench.hear(&[0xf0, index]);
        bench.mux.accept(Channel::new(index), LOW).unwrap();
    }
    bench.sent();
    for index in [255, 254, 253] {
        bench.send(Channel::new(index), &[index; 10 * 1380]);
    }
    let (mut order, mut out) = (Vec::new(), [0; 1500]);
    for round in 0..30 {
        let heard = bench.hear(&[&b"\xf5\xff\x05\x00"[..], &[1; 1280]].concat());
        assert_eq!(heard, [Seen::Data(255, vec![1; 1280])]);
        if round == 15 {
            bench.hear(&[0xf0, 9]);
            bench.mux.accept(Channel::new(9), Priority::HIGHEST).unwrap();
            bench.send(Channel::new(9), b"urgent");
        }
        let queues = &mut bench.queues;
        let mut source = |channel: Channel, room: &mut [u8]| {
            let queue = &mut queues[usize::from(channel.index())];
            queue.drain(..room.len().min(queue.len())).count()
        };
        let n = bench.mux.transmit(crate::support::us(0), &mut out, &mut source).unwrap();
        if round == 15 {
            assert_eq!(out[..6], *b"\xf1\x09\xf5\x09\x00\x06");
            continue;
        }
        assert_eq!((out[0], n), (0xf5, 1384));
        order.push(out[1]);
    }
    for turn in order.chunks(3) {
        let mut turn = turn.to_vec();
        turn.sort_unstable();
        assert!(turn.len() < 3 || turn == [253, 254, 255], "{order:?}");
    }
}

#[test]
fn data_before_the_answer_to_a_request_ends_the_channel() {
    let mut bench = Bench::up(Role::Proxy, Config::DEFAULT);
    let events = bench.hear(b"\xf0\x09\xf5\x09\x00\x03abc");
    assert_eq!(events, [Seen::Requested(9), Seen::Closed(9)]);
    assert_eq!(bench.sent(), [0xf2, 9]);
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    bench.mux.open(LOW).unwrap();
    bench.sent();
    assert_eq!(bench.hear(b"\xf5\xff\x00\x03abc"), [], "it is nobody's");
    assert_eq!(
        bench.hear(b"\xf1\xff\xf5\xff\x00\x01d"),
        [Seen::Opened(255), Seen::Data(255, b"d".to_vec())]
    );
}

/// A request for an index that the peer believes in use is not answered, and the next one is for
/// another index.
#[test]
fn a_request_that_is_ignored_is_repeated_elsewhere() {
    let mut bench = open(Role::Proxy);
    assert_eq!(bench.hear(&[0xf0, 255]), []);
    assert_eq!(bench.sent(), b"");
    assert!(bench.mux.is_open(C255));
    assert_eq!(bench.hear(&[0xf3, 255]), [Seen::Closed(255)], "the client gives up");
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    for index in [255, 254, 253] {
        assert_eq!(bench.mux.open(LOW).map(Channel::index), Ok(index));
        assert_eq!(bench.wait_ms(3000), [Seen::Refused(index, Refusal::NoAnswer)]);
    }
}

#[test]
fn an_answer_that_comes_too_late_does_not_leave_the_peer_with_an_open_channel() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    assert_eq!(bench.hear(&[0xf1, 40]), []);
    assert_eq!(bench.sent(), [0xf3, 40]);
}

#[test]
fn control_for_channels_that_are_not_there_is_survived() {
    for role in [Role::Client, Role::Proxy] {
        let mut bench = Bench::up(role, Config::DEFAULT);
        for index in 0..=255 {
            assert_eq!(bench.hear(&[0xf2, index, 0xf4, index]), []);
        }
        assert_eq!(bench.sent(), b"");
        assert_eq!(bench.mux.used(), 0);
    }
}

#[test]
fn no_byte_that_is_no_frame_goes_unnoticed() {
    for byte in (0..=0xef).chain(0xfa..=0xff) {
        let mut bench = open(Role::Client);
        assert_eq!(bench.hear(&[byte]), [Seen::Down(LinkLoss::Framing)]);
        assert_eq!(bench.sent()[..2], [0xf9, 0xf6], "the peer is told at once");
    }
    for length in [[0, 0], [0xff, 0xff]] {
        let mut bench = open(Role::Client);
        let frame = [&[0xf5, 255][..], &length].concat();
        assert_eq!(bench.hear(&frame), [Seen::Down(LinkLoss::Framing)]);
    }
}

/// Rubbish, and what looks like the beginning of a frame, end nothing: the search goes on until a
/// RESET_TRANSPORT with a PING, whatever comes before it and however it is cut.
#[test]
fn the_handshake_is_found_behind_anything() {
    let reset_ping = [&[0xf9][..], &ping(1)].concat();
    let befores: [&[u8]; 9] = [
        b"",
        b"U-Boot 2026.01 ... login: ",
        b"\xf5\xff\xff\xfe",
        b"\xf9",
        b"\xf9\xf9\xf9",
        b"\xf9\xf6",
        b"\xf6\x00\x00",
        b"\xf7\x00\x00\xf7",
        b"\xf8\xf0\xf1\xf2\xf3\xf4",
    ];
    for before in befores {
        for chunk_size in 1..=12 {
            let mut bench = Bench::new(Role::Client, Config::DEFAULT);
            bench.sent();
            for chunk in [before, &reset_ping].concat().chunks(chunk_size) {
                assert_eq!(bench.hear(chunk), []);
            }
            assert_eq!(bench.sent()[..9], [&[0xf7][..], &1u64.to_be_bytes()].concat());
            assert_eq!(bench.hear(&pongack(2)), [Seen::Up, Seen::Clock(2)], "{before:02x?}");
        }
    }
}

#[test]
fn the_answer_to_the_last_ping_is_found_behind_anything() {
    for before in [&b"\xf7"[..], b"noise", b"\xf7\x00\x00\x00", b"\xf9", b"\xf5\xff\xff"] {
        for chunk_size in 1..=20 {
            let mut bench = Bench::new(Role::Client, Config::DEFAULT);
            let pong = crate::support::pong(bench.now_us.to_be_bytes());
            bench.sent();
            let mut events = Vec::new();
            for chunk in [before, &pong].concat().chunks(chunk_size) {
                events.extend(bench.hear(chunk));
            }
            assert_eq!(events, [Seen::Up], "{before:02x?}");
        }
    }
}

/// A peer that restarts in the middle of a frame sends its RESET_TRANSPORT into what looks like
/// the frame's body. After a pause it is taken for what it is, long before a PONG is missed.
#[test]
fn a_restart_in_the_middle_of_a_frame_is_noticed_at_once() {
    let restart = [&[0xf9][..], &ping(1)].concat();
    let mut bench = open(Role::Proxy);
    assert_eq!(bench.hear(b"\xf5\xff\x10\x00half"), [Seen::Data(255, b"half".to_vec())]);
    bench.now_us += 300_000;
    assert_eq!(bench.hear(&restart), [Seen::Down(LinkLoss::Framing)]);
    assert_eq!(bench.sent().len(), 10 + 17, "the peer's PING was seen");
    // Without the pause, and with any other byte, it is data.
    let mut bench = open(Role::Proxy);
    bench.hear(b"\xf5\xff\x10\x00half");
    assert_eq!(bench.hear(&restart), [Seen::Data(255, restart.clone())]);
    bench.now_us += 300_000;
    assert_eq!(bench.hear(b"more"), [Seen::Data(255, b"more".to_vec())]);
}

#[test]
fn framing_is_lost_and_found_many_times_and_each_is_told_once() {
    let mut bench = Bench::up(Role::Client, Config::DEFAULT);
    for round in 1..=10 {
        assert_eq!(bench.hear(&[0; 5000]), [Seen::Down(LinkLoss::Framing)]);
        assert_eq!(bench.mux.framing_losses(), round);
        bench.handshake();
    }
}

/// Frames that need a link are no frames while there is none: what looks like the head of one,
/// even of the longest, swallows nothing of what follows it.
#[test]
fn a_frame_from_an_earlier_life_of_the_link_does_not_swallow_the_handshake() {
    for stale in [&b"\xf5\xff\xff\xfe"[..], b"\xf5", b"\xf0\xff", b"\xf1", b"\xf5\xff\x00\x02hi"] {
        for chunk_size in 1..=40 {
            let mut bench = open(Role::Proxy);
            let attempt = |number| [&[0xf9][..], &ping(number)].concat();
            assert_eq!(bench.hear(&attempt(1)), [Seen::Down(LinkLoss::PeerReset)]);
            bench.sent();
            for chunk in [stale, &attempt(2)].concat().chunks(chunk_size) {
                assert_eq!(bench.hear(chunk), []);
            }
            let what = format!("{stale:02x?} in chunks of {chunk_size}");
            assert_eq!(bench.sent()[..9], [&[0xf7][..], &2u64.to_be_bytes()].concat(), "{what}");
            assert_eq!(bench.hear(&pongack(4)), [Seen::Up, Seen::Clock(4)], "{what}");
            assert_eq!(bench.mux.framing_losses(), 0, "there was nothing to lose");
        }
    }
}
