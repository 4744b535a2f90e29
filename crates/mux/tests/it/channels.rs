//! Channels: opened, refused, closed from both sides, in time and not, and used again.

use sspc_mux::{Channel, Config, LinkLoss, NotRequested, OpenError, Priority, Refusal, Role};

use crate::support::{Bench, Seen};

const LOW: Priority = Priority::LOWEST;
const C255: Channel = Channel::new(255);

fn client() -> Bench {
    Bench::up(Role::Client, Config::DEFAULT)
}

fn proxy() -> Bench {
    Bench::up(Role::Proxy, Config::DEFAULT)
}

/// With channel 255 open.
fn open(role: Role) -> Bench {
    let mut bench = Bench::up(role, Config::DEFAULT);
    match role {
        Role::Client => {
            assert_eq!(bench.mux.open(LOW), Ok(C255));
            assert_eq!(bench.sent(), [0xf0, 255]);
            assert_eq!(bench.hear(&[0xf1, 255]), [Seen::Opened(255)]);
        }
        Role::Proxy => {
            assert_eq!(bench.hear(&[0xf0, 255]), [Seen::Requested(255)]);
            assert_eq!(bench.mux.accept(C255, LOW), Ok(()));
            assert_eq!(bench.sent(), [0xf1, 255]);
        }
    }
    assert!(bench.mux.is_open(C255));
    bench
}

#[test]
fn the_client_opens_from_255_downward() {
    let mut bench = client();
    for index in [255, 254, 253] {
        assert_eq!(bench.mux.open(LOW), Ok(Channel::new(index)));
    }
    let mut sent = bench.sent();
    sent.sort_unstable();
    assert_eq!(sent, [0xf0, 0xf0, 0xf0, 253, 254, 255]);
    assert_eq!(
        bench.hear(&[0xf1, 253, 0xf2, 254]),
        [Seen::Opened(253), Seen::Refused(254, Refusal::ByPeer)]
    );
    assert_eq!(bench.mux.used(), 2);
}

#[test]
fn who_opens_channels() {
    assert_eq!(proxy().mux.open(LOW), Err(OpenError::ProxyNeverOpens));
    assert_eq!(Bench::new(Role::Client, Config::DEFAULT).mux.open(LOW), Err(OpenError::LinkDown));
    let mut bench = client();
    assert_eq!(bench.hear(&[0xf0, 1]), []);
    assert_eq!(bench.sent(), [0xf2, 1], "a client refuses");
}

#[test]
fn the_proxy_accepts_or_refuses() {
    let mut bench = proxy();
    assert_eq!(bench.hear(&[0xf0, 255, 0xf0, 254]), [Seen::Requested(255), Seen::Requested(254)]);
    assert_eq!(bench.sent(), b"", "nothing is decided");
    bench.mux.refuse(C255);
    bench.mux.accept(Channel::new(254), LOW).unwrap();
    assert_eq!(bench.sent(), [0xf2, 255, 0xf1, 254]);
    assert_eq!(bench.mux.accept(C255, LOW), Err(NotRequested));
    assert_eq!(bench.mux.used(), 1);
}

#[test]
fn data_goes_both_ways_in_any_cut() {
    for role in [Role::Client, Role::Proxy] {
        let mut bench = open(role);
        bench.send(C255, b"hello");
        assert_eq!(bench.sent(), b"\xf5\xff\x00\x05hello");
        assert_eq!(bench.hear(b"\xf5\xff\x00\x03ab"), [Seen::Data(255, b"ab".to_vec())]);
        assert_eq!(
            bench.hear(b"c\xf5\xff\x00\x01d"),
            [Seen::Data(255, b"c".to_vec()), Seen::Data(255, b"d".to_vec())]
        );
    }
}

/// While framing is right a channel hears its own bytes and no other's, whatever they look like.
#[test]
fn bytes_that_look_like_frames_stay_in_their_channel() {
    let mut bench = open(Role::Client);
    bench.mux.open(LOW).unwrap();
    bench.sent();
    assert_eq!(bench.hear(&[0xf1, 254]), [Seen::Opened(254)]);
    let looks =
        b"\xf5\xfe\x00\x04evil\xf2\xfe\xf3\xff\xf9\xf6\x00\x00\x00\x00\x00\x00\x00\x01\xf7\xf8\x00";
    let frame = |index, body: &[u8]| [&[0xf5, index, 0, body.len() as u8], body].concat();
    let line = [frame(255, looks), frame(254, b"good"), frame(255, &[0xf5])].concat();
    for chunk_size in 1..=line.len() {
        let mut heard = [Vec::new(), Vec::new()];
        for chunk in line.chunks(chunk_size) {
            for seen in bench.hear(chunk) {
                let Seen::Data(index, bytes) = seen else { panic!("{seen:?}") };
                heard[usize::from(255 - index)].extend(bytes);
            }
        }
        assert_eq!(heard, [[&looks[..], &[0xf5]].concat(), b"good".to_vec()]);
    }
    assert_eq!(bench.sent(), b"", "and nothing is answered");
}

#[test]
fn frames_are_no_longer_than_1380_bytes() {
    let mut bench = open(Role::Client);
    bench.send(C255, &[7; 3000]);
    let sent = bench.sent();
    assert_eq!(sent.len(), 3000 + 3 * 4);
    assert_eq!(sent[..4], [0xf5, 255, 0x05, 0x64]);
    assert_eq!(sent[1384..1388], [0xf5, 255, 0x05, 0x64]);
    assert_eq!(sent[2768..2772], [0xf5, 255, 0, 240]);
}

#[test]
fn close_is_acknowledged_and_the_index_used_again() {
    for role in [Role::Client, Role::Proxy] {
        let mut bench = open(role);
        bench.send(C255, b"never sent");
        bench.mux.close(C255);
        assert!(!bench.mux.is_open(C255));
        assert_eq!(bench.sent(), [0xf3, 255]);
        assert_eq!(bench.hear(b"\xf5\xff\x00\x01d"), [], "what was under way is dropped");
        assert_eq!(bench.sent(), b"");
        assert_eq!(bench.mux.used(), 1);
        assert_eq!(bench.hear(&[0xf4, 255]), []);
        assert_eq!(bench.mux.used(), 0);
        assert_eq!(bench.wait_ms(5000), []);
    }
}

#[test]
fn the_peers_close_is_told_and_acknowledged() {
    for role in [Role::Client, Role::Proxy] {
        let mut bench = open(role);
        bench.send(C255, b"never sent");
        assert_eq!(bench.hear(&[0xf3, 255]), [Seen::Closed(255)]);
        assert_eq!(bench.sent(), [0xf4, 255]);
        // Doubled, or of something unknown: acknowledged just the same.
        assert_eq!(bench.hear(&[0xf3, 255]), []);
        assert_eq!(bench.sent(), [0xf4, 255]);
        assert_eq!(bench.mux.used(), 0);
    }
}

#[test]
fn both_close_at_once() {
    let mut bench = open(Role::Client);
    bench.mux.close(C255);
    assert_eq!(bench.sent(), [0xf3, 255]);
    assert_eq!(bench.hear(&[0xf3, 255]), []);
    assert_eq!(bench.sent(), [0xf4, 255]);
    assert_eq!(bench.mux.used(), 1, "the peer's answer comes");
    assert_eq!(bench.hear(&[0xf4, 255]), []);
    assert_eq!(bench.mux.used(), 0);
    // And before ours was sent.
    let mut bench = open(Role::Client);
    bench.mux.close(C255);
    assert_eq!(bench.hear(&[0xf3, 255]), []);
    assert_eq!(bench.sent(), [0xf4, 255]);
    assert_eq!(bench.mux.used(), 0);
}

#[test]
fn nack_on_an_open_channel_is_its_end() {
    for role in [Role::Client, Role::Proxy] {
        let mut bench = open(role);
        bench.send(C255, b"never sent");
        assert_eq!(bench.hear(&[0xf2, 255]), [Seen::Closed(255)]);
        assert_eq!(bench.sent(), b"");
        assert_eq!(bench.mux.used(), 0);
    }
}

#[test]
fn closed_before_it_was_open() {
    let mut bench = client();
    let channel = bench.mux.open(LOW).unwrap();
    bench.mux.close(channel);
    assert_eq!(bench.sent(), b"", "the request was not even sent");
    let channel = bench.mux.open(LOW).unwrap();
    let index = channel.index();
    assert_eq!(bench.sent(), [0xf0, index]);
    bench.mux.close(channel);
    assert_eq!(bench.sent(), [0xf3, index]);
    assert_eq!(bench.hear(&[0xf1, index]), [], "the answer to the request comes late");
    assert_eq!(bench.hear(&[0xf4, index]), []);
    assert_eq!(bench.mux.used(), 0);
}

#[test]
fn a_request_that_is_withdrawn_cannot_be_accepted() {
    let mut bench = proxy();
    assert_eq!(bench.hear(&[0xf0, 255, 0xf3, 255]), [Seen::Requested(255), Seen::Closed(255)]);
    assert_eq!(bench.mux.accept(C255, LOW), Err(NotRequested));
    assert_eq!(bench.sent(), [0xf4, 255]);
}

#[test]
fn a_request_without_an_answer_is_given_up_after_2_to_3_s() {
    let mut bench = client();
    assert_eq!(bench.mux.open(LOW), Ok(C255));
    bench.sent();
    assert_eq!(bench.wait_ms(1999), []);
    assert_eq!(bench.wait_ms(1001), [Seen::Refused(255, Refusal::NoAnswer)]);
    assert_eq!(bench.mux.open(LOW), Ok(Channel::new(254)), "the next one is another index");
}

/// The answer may have been lost: then the peer has the channel open, and is told to close it.
#[test]
fn a_request_that_was_given_up_is_closed() {
    let mut bench = client();
    bench.mux.open(LOW).unwrap();
    bench.sent();
    bench.now_us = bench.mux.deadline().unwrap().as_micros();
    for _ in 0..3 {
        bench.mux.handle_timeout(bench.now());
        assert_eq!(bench.mux.handle_timeout(bench.now()), None);
        bench.now_us += 1_000_000;
    }
    assert_eq!(bench.sent(), [0xf3, 255]);
    assert_eq!(bench.hear(&[0xf4, 255]), []);
    assert_eq!(bench.mux.used(), 0);
}

#[test]
fn the_requester_waits_for_its_own_answer_only() {
    let mut bench = client();
    for _ in 0..3 {
        bench.mux.open(LOW).unwrap();
    }
    bench.sent();
    bench.wait_ms(1000);
    bench.mux.open(LOW).unwrap();
    bench.sent();
    bench.hear(&[0xf1, 254]);
    let events = bench.wait_ms(2001);
    assert_eq!(
        events,
        [Seen::Refused(253, Refusal::NoAnswer), Seen::Refused(255, Refusal::NoAnswer)]
    );
    assert_eq!(bench.wait_ms(1000), [Seen::Refused(252, Refusal::NoAnswer)]);
}

#[test]
fn a_close_without_an_answer_makes_the_index_unusable_until_the_link_is_reset() {
    let mut bench = open(Role::Client);
    bench.mux.close(C255);
    assert_eq!(bench.sent(), [0xf3, 255]);
    assert_eq!(bench.wait_ms(3000), []);
    assert_eq!(bench.mux.used(), 1);
    bench.mux.reset();
    assert_eq!(bench.wait_ms(0), [Seen::Down(LinkLoss::Asked)]);
    assert_eq!(bench.mux.used(), 0);
}

#[test]
fn an_index_is_used_again_when_the_peer_says_at_last_that_it_is_free() {
    for answer in [[0xf4, 255], [0xf2, 255], [0xf3, 255]] {
        let mut bench = open(Role::Proxy);
        bench.mux.close(C255);
        bench.wait_ms(3000);
        assert_eq!(bench.hear(&answer), []);
        assert_eq!(bench.mux.used(), 0);
    }
    let mut bench = open(Role::Proxy);
    bench.mux.close(C255);
    bench.wait_ms(3000);
    assert_eq!(bench.hear(&[0xf0, 255]), [Seen::Requested(255)]);
}

#[test]
fn when_no_usable_index_is_left_the_link_is_reset() {
    let mut bench = client();
    for _ in 0..253 {
        let channel = bench.mux.open(LOW).unwrap();
        bench.sent();
        bench.hear(&[0xf1, channel.index()]);
    }
    assert_eq!(bench.mux.open(LOW), Err(OpenError::NoneFree));
    assert!(bench.mux.is_up(), "all are in use, which is no fault");
    bench.mux.close(Channel::new(100));
    bench.wait_ms(3000);
    assert!(bench.mux.is_up());
    assert_eq!(bench.mux.open(LOW), Err(OpenError::NoneFree));
    assert!(!bench.mux.is_up());
    assert_eq!(
        bench.mux.handle_timeout(bench.now()).map(crate::support::seen),
        Some(Seen::Down(LinkLoss::NoIndexLeft))
    );
    bench.handshake();
    assert_eq!(bench.mux.used(), 0);
    bench.mux.open(LOW).unwrap();
}

#[test]
fn all_253_channels_work_and_are_used_again() {
    let mut bench = client();
    for _ in 0..3 {
        let channels: Vec<_> = (0..253).map(|_| bench.mux.open(LOW).unwrap()).collect();
        assert_eq!(bench.mux.used(), 253);
        assert_eq!(bench.sent().len(), 2 * 253);
        for channel in &channels {
            let index = channel.index();
            assert_eq!(bench.hear(&[0xf1, index]), [Seen::Opened(index)]);
            bench.send(*channel, &[index; 3]);
        }
        let sent = bench.sent();
        assert_eq!(sent.len(), 7 * 253);
        for frame in sent.chunks(7) {
            assert!(frame[4..].iter().all(|byte| *byte == frame[1]), "{frame:02x?}");
        }
        for channel in channels {
            bench.mux.close(channel);
            bench.sent();
            bench.hear(&[0xf4, channel.index()]);
        }
    }
}

/// An index just closed may have data or a NACK under way.
#[test]
fn an_index_rests_after_its_use() {
    let mut bench = open(Role::Client);
    bench.hear(&[0xf3, 255]);
    assert_eq!(bench.mux.open(LOW), Ok(Channel::new(254)));
}

#[test]
fn commands_for_channels_that_are_not_there_do_nothing() {
    let mut bench = client();
    bench.mux.close(C255);
    bench.mux.refuse(C255);
    bench.send(C255, b"x");
    bench.mux.set_priority(C255, Priority::HIGHEST);
    assert_eq!(bench.mux.accept(C255, LOW), Err(NotRequested));
    assert_eq!(bench.sent(), b"");
    assert_eq!(bench.mux.used(), 0);
}

#[test]
fn control_goes_before_data_and_data_stops_with_close() {
    let mut bench = open(Role::Client);
    bench.send(C255, b"data");
    let other = bench.mux.open(LOW).unwrap();
    bench.hear(&[0xf6, 0, 0, 0, 0, 0, 0, 0, 1]);
    let sent = bench.sent();
    assert_eq!(sent[0], 0xf7);
    assert_eq!(sent[17..], [&[0xf0, other.index()][..], b"\xf5\xff\x00\x04data"].concat());
}

/// More control than fits, and the one channel that wants to send is the last to be answered: what
/// it has is not forgotten.
#[test]
fn control_that_does_not_fit_at_once_holds_data_back_but_does_not_lose_it() {
    let mut bench = proxy();
    for index in 100..200 {
        bench.hear(&[0xf0, index]);
        bench.mux.accept(Channel::new(index), LOW).unwrap();
    }
    bench.mux.wants_to_send(Channel::new(100), true);
    bench.hear(&[0xf6, 0, 0, 0, 0, 0, 0, 0, 1]);
    let (mut sent, mut left) = (Vec::new(), &b"hello"[..]);
    loop {
        let mut source = |channel: Channel, room: &mut [u8]| {
            assert_eq!(channel.index(), 100);
            let n = left.len().min(room.len());
            room[..n].copy_from_slice(&left[..n]);
            left = &left[n..];
            n
        };
        let mut out = [0; sspc_mux::TRANSMIT_MIN];
        match bench.mux.transmit(bench.now(), &mut out, &mut source).unwrap() {
            0 => break,
            n => sent.extend_from_slice(&out[..n]),
        }
    }
    assert_eq!(sent.len(), 17 + 2 * 100 + 4 + 5);
    assert_eq!(sent[217..], *b"\xf5\x64\x00\x05hello");
}
