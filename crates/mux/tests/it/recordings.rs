//! Recorded lines of a deployed client and proxy, each end replaced by ours in turn.

use sspc_mux::{Config, Event, Mux, Role};
use sspc_sim::vectors::{Chunk, Direction, load};
use sspc_wire::{MuxDecoder, MuxFrame};

use crate::support::{Seen, us};

/// What an end hears from the recorded one: all that is said to it, in chunks of one size, or as
/// recorded. Its own PINGs are given the times that the recorded end's had, so that the recorded
/// answers fit: it is made to send when the recorded one did. (All but the lowest bit, which says
/// which end it is: the recorded end would have sent that back as well.)
fn replay(recording: &[Chunk], heard_from: Direction, chunk_size: usize) -> (Vec<Seen>, Vec<u8>) {
    let role = match heard_from {
        Direction::ToClient => Role::Client,
        Direction::ToProxy => Role::Proxy,
    };
    let mut mux = Mux::new(role, Config::DEFAULT, 1);
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    let mut none = |_, _: &mut [u8]| 0;
    // The beginning of the recorded PONG, and what the recorded end would have answered to our PING.
    let mut answer = None;
    for chunk in recording {
        if chunk.direction != heard_from {
            // When its own PING went out in the recording, ours does, with the same time.
            let (mut input, mut decoder) = (&chunk.bytes[..], MuxDecoder::new());
            while let Ok(Some(frame)) = decoder.next(&mut input) {
                if let MuxFrame::Ping { sent_us } = frame {
                    if !mux.is_up() {
                        mux.reset();
                    }
                    transmit(&mut mux, sent_us, &mut none, &mut sent);
                    let times = [sent_us, sent_us & !1 | role as u64];
                    answer = Some(times.map(|us| [&[0xf7][..], &us.to_be_bytes()].concat()));
                }
            }
            continue;
        }
        let now_us = 0;
        let mut bytes = chunk.bytes.clone();
        if let Some([recorded, ours]) = &answer
            && let Some(at) = bytes.windows(9).position(|nine| nine == recorded)
        {
            bytes[at..at + 9].copy_from_slice(ours);
        }
        for part in bytes.chunks(chunk_size) {
            let mut input = part;
            while let Some(event) = mux.receive(us(now_us), &mut input) {
                note(&mut events, event);
                match event {
                    Event::ChannelRequested { channel } => {
                        mux.accept(channel, Default::default()).unwrap();
                    }
                    Event::LinkUp { .. } if role == Role::Client => {
                        mux.open(Default::default()).unwrap();
                    }
                    _ => {}
                }
            }
            transmit(&mut mux, now_us, &mut none, &mut sent);
        }
    }
    (events, sent)
}

fn transmit(
    mux: &mut Mux,
    now_us: u64,
    source: &mut dyn FnMut(sspc_mux::Channel, &mut [u8]) -> usize,
    sent: &mut Vec<u8>,
) {
    let mut out = [0; 256];
    while let n @ 1.. = mux.transmit(us(now_us), &mut out, source).unwrap() {
        sent.extend_from_slice(&out[..n]);
    }
}

/// Joins the pieces of one channel that come one after another.
fn note(events: &mut Vec<Seen>, event: Event<'_>) {
    match (events.last_mut(), crate::support::seen(event)) {
        (Some(Seen::Data(before, bytes)), Seen::Data(index, more)) if *before == index => {
            bytes.extend(more);
        }
        (_, other) => events.push(other),
    }
}

const ALL: [(&str, Direction); 4] = [
    ("mux_ws_ticker", Direction::ToClient),
    ("mux_ws_ticker", Direction::ToProxy),
    ("mux_unknown", Direction::ToClient),
    ("mux_unknown", Direction::ToProxy),
];

#[test]
fn every_chunk_size_gives_the_same_events_and_answers() {
    for (name, direction) in ALL {
        let recording = load(name);
        let whole = replay(&recording, direction, usize::MAX);
        let heard = recording.iter().filter(|chunk| chunk.direction == direction);
        let longest = heard.map(|chunk| chunk.bytes.len()).max().unwrap();
        for chunk_size in 1..=longest {
            let cut = replay(&recording, direction, chunk_size);
            assert_eq!(cut, whole, "{name} {direction:?} in chunks of {chunk_size}");
        }
    }
}

/// The bytes of one channel's SSS stream in a recording.
fn stream(name: &str, direction: Direction) -> Vec<u8> {
    let (bytes, mut decoder) = (sspc_sim::vectors::joined(name, 0, direction), MuxDecoder::new());
    let (mut input, mut stream) = (&bytes[..], Vec::new());
    while let Some(frame) = decoder.next(&mut input).unwrap() {
        if let MuxFrame::Data { piece, .. } = frame {
            stream.extend_from_slice(piece.data);
        }
    }
    stream
}

#[test]
fn beside_the_recorded_proxy_a_client_hears_all_of_the_ticker() {
    let (events, sent) = replay(&load("mux_ws_ticker"), Direction::ToClient, usize::MAX);
    let [Seen::Up, Seen::Clock(_), Seen::Opened(255), Seen::Data(255, heard)] = &events[..] else {
        let kinds: Vec<_> = events.iter().map(|e| format!("{e:.20?}")).collect();
        panic!("{kinds:?}")
    };
    assert!(heard.len() > 20_000);
    assert_eq!(*heard, stream("mux_ws_ticker", Direction::ToClient));
    assert!(sent.windows(2).any(|two| two == [0xf0, 255]));
}

#[test]
fn beside_the_recorded_client_a_proxy_accepts_and_hears_the_same() {
    let (events, sent) = replay(&load("mux_ws_ticker"), Direction::ToProxy, usize::MAX);
    let [Seen::Up, Seen::Requested(255), Seen::Data(255, heard)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*heard, stream("mux_ws_ticker", Direction::ToProxy));
    assert!(sent.windows(2).any(|two| two == [0xf1, 255]));
    assert!(sent.windows(2).all(|two| two[0] != 0xf2), "nothing is refused");
}
