//! Frames seen from outside, in every cut.

use proptest::prelude::*;
use sspc_wire::{
    Direction, Flags, FrameHead, FrameTracker, Layer, MuxFrame, PayloadHead, Piece, State,
    Streamtype, Timeout, ToClient, ToProxy, frame_name,
};

/// Frames of a stream, of both directions, with their names and where their payload lies.
fn stream_frames() -> Vec<(Vec<u8>, &'static str, Option<usize>)> {
    let piece = |data| Piece::whole(data).unwrap();
    let streamtype = Streamtype { version: 1, pid: 0x8000_0007, tx_credit: -2, name: b"mintest" };
    let head = PayloadHead::new(Flags::WHOLE);
    let ride = PayloadHead::new(Flags::SOM | Flags::RIDESHARE);
    let to_proxy = [
        (ToProxy::Streamtype(streamtype), "STREAMTYPE", None),
        (ToProxy::OnwardConnect, "ONWARD_CONNECT", None),
        (ToProxy::Destroying, "DESTROYING", None),
        (
            ToProxy::Payload { head, rideshare: None, piece: piece(b"hello") },
            "TX_PAYLOAD",
            Some(19),
        ),
        (ToProxy::Payload { head, rideshare: None, piece: piece(b"") }, "TX_PAYLOAD", Some(19)),
        (
            ToProxy::Payload { head: ride, rideshare: Some(b"second"), piece: piece(b"hello") },
            "TX_PAYLOAD",
            Some(26),
        ),
        (ToProxy::Metadata { name: b"name", value: piece(b"value") }, "METADATA", None),
        (ToProxy::TxCredit(-5), "TXCR_UPDATE", None),
        (ToProxy::Timeout(Timeout::Cancel), "TIMEOUT_UPDATE", None),
        (ToProxy::LengthHint(70_000), "PAYLOAD_LENGTH_HINT", None),
        (ToProxy::Perf(piece(b"{}")), "PERF", None),
    ];
    let list = piece(b",mintest");
    let state = |state| ToClient::State { state, ordinal: 1 };
    let to_client = [
        (ToClient::CreateResult { result: 0, client_buflen: 9, list }, "CREATE_RESULT", None),
        (state(State::Connected), "CONNSTATE", None),
        (state(State::User(1234)), "CONNSTATE", None),
        (ToClient::TxCredit(256), "TXCR_UPDATE", None),
        (ToClient::Metadata { name: b"n", value: piece(b"v") }, "METADATA", None),
        (
            ToClient::Payload { head, rideshare: None, piece: piece(&[7; 300]) },
            "RX_PAYLOAD",
            Some(19),
        ),
    ];
    let mut room = [0; 512];
    let mut all = Vec::new();
    for (frame, name, payload) in to_proxy {
        let length = frame.encode(&mut room).unwrap();
        all.push((room[..length].to_vec(), name, payload));
    }
    for (frame, name, payload) in to_client {
        let length = frame.encode(&mut room).unwrap();
        all.push((room[..length].to_vec(), name, payload));
    }
    all
}

fn mux_frames() -> Vec<(Vec<u8>, &'static str, Option<usize>)> {
    let frames = [
        (MuxFrame::ChannelReq(9), "CHANNEL_REQ", None),
        (MuxFrame::ChannelCloseAck(9), "CHANNEL_CLOSE_ACK", None),
        (MuxFrame::Data { channel: 9, piece: Piece::whole(b"bytes").unwrap() }, "MUX", Some(4)),
        (MuxFrame::Ping { sent_us: 1 }, "PING", None),
        (MuxFrame::Pong { echo_us: 1, sent_us: 2 }, "PONG", None),
        (MuxFrame::PongAck { unix_us: 3 }, "PONGACK", None),
        (MuxFrame::Reset, "RESET_TRANSPORT", None),
    ];
    let encode = |(frame, name, payload): (MuxFrame<'_>, _, _)| {
        let mut room = [0; 64];
        let length = frame.encode(&mut room).unwrap();
        (room[..length].to_vec(), name, payload)
    };
    frames.into_iter().map(encode).collect()
}

/// Every frame's offset, head, and what came behind that, of bytes that come in such chunks.
fn follow(layer: Layer, bytes: &[u8], chunk: usize) -> Vec<(u64, FrameHead, Vec<u8>)> {
    let mut frames = FrameTracker::new(layer);
    let mut seen: Vec<(u64, FrameHead, Vec<u8>)> = Vec::new();
    for mut input in bytes.chunks(chunk) {
        while !input.is_empty() {
            let Some(head) = frames.head(&mut input) else { continue };
            let rest = frames.rest(&mut input);
            match seen.last_mut() {
                Some((offset, _, all)) if *offset == frames.offset() => all.extend(rest),
                _ => seen.push((frames.offset(), head, rest.to_vec())),
            }
        }
    }
    assert!(frames.is_between_frames());
    seen
}

#[test]
fn every_frame_is_seen_in_every_cut() {
    for (layer, frames) in [(Layer::Stream, stream_frames()), (Layer::Mux, mux_frames())] {
        let all: Vec<u8> = frames.iter().flat_map(|(bytes, ..)| bytes.clone()).collect();
        for chunk in 1..=all.len() {
            let seen = follow(layer, &all, chunk);
            assert_eq!(seen.len(), frames.len(), "chunks of {chunk}");
            let mut at = 0;
            for ((offset, head, rest), (bytes, name, payload)) in seen.iter().zip(&frames) {
                assert_eq!(*offset, at, "{name}");
                assert_eq!((head.name(), head.length()), (Some(*name), Some(bytes.len())));
                assert_eq!([head.bytes(), rest].concat(), *bytes, "{name}");
                assert_eq!(head.payload(), payload.map(|start| start..bytes.len()), "{name}");
                at += bytes.len() as u64;
            }
        }
    }
}

#[test]
fn heads_tell_what_stands_in_front_of_names_and_payload() {
    let frames = stream_frames();
    let head = |name: &str| {
        let found = frames.iter().find(|(_, of, _)| *of == name).unwrap();
        FrameTracker::new(Layer::Stream).head(&mut found.0.as_slice()).unwrap()
    };
    let streamtype = head("STREAMTYPE").streamtype().unwrap();
    assert_eq!((streamtype.process_id(), streamtype.honours_credit()), (7, true));
    assert_eq!(streamtype.tx_credit, -2);
    let other = head("STREAMTYPE").with_streamtype(1, i32::MIN).streamtype().unwrap();
    assert_eq!((other.version, other.pid, other.tx_credit), (1, 1, i32::MIN));
    assert_eq!(head("METADATA").with_streamtype(1, 1), head("METADATA"));
    assert_eq!(head("TXCR_UPDATE").credit(), Some(-5));
    assert_eq!(head("TX_PAYLOAD").flags(), Some(Flags::WHOLE));
    assert_eq!(head("CONNSTATE").flags(), None);
    let mut channel = &[0xf2, 0xfe][..];
    let head = FrameTracker::new(Layer::Mux).head(&mut channel).unwrap();
    assert_eq!(head.channel(), Some(0xfe));
}

#[test]
fn bytes_of_no_frame_can_be_passed_over() {
    let mut frames = FrameTracker::new(Layer::Mux);
    frames.advance(&[0xf6, 1, 2]);
    assert_eq!((frames.offset(), frames.taken(), frames.left()), (0, 3, 6));
    assert!(!frames.is_between_frames());
    frames.resync();
    frames.skip(5);
    frames.advance(&[0xf9, 0xf6, 1]);
    assert_eq!((frames.offset(), frames.current().name()), (9, Some("PING")));
}

#[test]
fn types_have_a_way_and_a_name() {
    for frame in 0..=u8::MAX {
        let is_mux = frame >= 0xf0;
        match Direction::of(frame) {
            Some(Direction::ToProxy) => assert!((0xaa..=0xb3).contains(&frame)),
            Some(Direction::ToClient) => assert!((0x55..=0x5a).contains(&frame)),
            None => assert!(is_mux || frame == 0x5b || frame_name(frame).is_none()),
        }
    }
}

proptest! {
    #[test]
    fn noise_is_followed_the_same_in_every_cut(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        kinds in prop::collection::vec(prop::sample::select(vec![0x55, 0x58, 0xaa, 0xad, 0xf5]), 1..9),
        chunk in 1..50_usize,
        mux: bool,
    ) {
        for (at, kind) in kinds.iter().enumerate() {
            if let Some(byte) = bytes.get_mut(at * 20) {
                *byte = *kind;
            }
        }
        let layer = if mux { Layer::Mux } else { Layer::Stream };
        let (mut whole, mut cut) = (FrameTracker::new(layer), FrameTracker::new(layer));
        whole.advance(&bytes);
        bytes.chunks(chunk).for_each(|part| cut.advance(part));
        prop_assert_eq!(whole.current(), cut.current());
        prop_assert_eq!((whole.offset(), whole.taken()), (cut.offset(), cut.taken()));
        prop_assert_eq!(whole.offset() + whole.taken(), bytes.len() as u64);
        if let Some(payload) = whole.current().payload() {
            prop_assert!(payload.end <= whole.current().length().unwrap());
        }
    }
}
