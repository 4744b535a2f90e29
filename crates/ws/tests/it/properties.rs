//! What holds for any message, any cuts, any terms and any bytes.

use proptest::prelude::*;
use sspc_ws::{Decoder, DeflateParams, Encoder, MessageKind, Piece, Role};

use crate::support::{Seen, decode_in_chunks, peer, window};

/// A message, the lengths of its pieces, and whether a ping goes before each piece.
#[derive(Debug, Clone)]
struct Message {
    kind: MessageKind,
    bytes: Vec<u8>,
    cuts: Vec<(usize, bool)>,
}

fn params() -> impl Strategy<Value = Option<DeflateParams>> {
    let some = (any::<bool>(), any::<bool>(), 8_u8..=15, 8_u8..=15).prop_map(|(s, c, sb, cb)| {
        DeflateParams {
            server_no_context_takeover: s,
            client_no_context_takeover: c,
            server_max_window_bits: window(sb),
            client_max_window_bits: window(cb),
        }
    });
    proptest::option::weighted(0.8, some)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

/// Random bytes, and data that repeats itself nearer and farther than any window.
fn binary() -> impl Strategy<Value = Vec<u8>> {
    let repeated = (proptest::collection::vec(any::<u8>(), 1..2000), 0..60_000_usize)
        .prop_map(|(unit, len)| unit.into_iter().cycle().take(len).collect());
    prop_oneof![3 => proptest::collection::vec(any::<u8>(), 0..300), 1 => repeated]
}

fn message() -> impl Strategy<Value = Message> {
    let content = prop_oneof![
        any::<String>().prop_map(|text| (MessageKind::Text, text.into_bytes())),
        binary().prop_map(|bytes| (MessageKind::Binary, bytes)),
    ];
    let cuts = proptest::collection::vec((0..5000_usize, any::<bool>()), 0..6);
    (content, cuts).prop_map(|((kind, bytes), cuts)| Message { kind, bytes, cuts })
}

/// Sends the message, and gives what its receiver should see.
fn send(encoder: &mut Encoder, message: &Message, key: [u8; 4], wire: &mut Vec<u8>) -> Vec<Seen> {
    let mut pings = Vec::new();
    let mut rest = message.bytes.as_slice();
    let mut first = true;
    for &(len, ping) in &message.cuts {
        let (bytes, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        if ping {
            let payload = &bytes[..bytes.len().min(125)];
            encoder.ping(payload, key, wire).unwrap();
            pings.push(Seen::Ping(payload.to_vec()));
        }
        encoder.piece(Piece { kind: message.kind, first, last: false, bytes }, key, wire).unwrap();
        first = false;
    }
    encoder.piece(Piece { kind: message.kind, first, last: true, bytes: rest }, key, wire).unwrap();
    pings
}

/// Joins the pieces of each message; pings aside.
fn sort(seen: Vec<Seen>) -> (Vec<(MessageKind, Vec<u8>)>, Vec<Seen>) {
    let (mut messages, mut others) = (Vec::new(), Vec::new());
    let mut open: Option<(MessageKind, Vec<u8>)> = None;
    for seen in seen {
        match seen {
            Seen::Data { kind, last, bytes, .. } => {
                open.get_or_insert((kind, Vec::new())).1.extend(bytes);
                if last {
                    messages.extend(open.take());
                }
            }
            other => others.push(other),
        }
    }
    assert!(open.is_none(), "a message without an end");
    (messages, others)
}

/// A start that looks like frames more often than chance would.
fn wild_frames() -> impl Strategy<Value = Vec<u8>> {
    let first = proptest::sample::select(vec![
        0x00_u8, 0x01, 0x02, 0x41, 0x42, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0xc1, 0xc2,
    ]);
    let frame = (first, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(
        |(first, mask, payload)| {
            let mut wire = vec![first, payload.len() as u8 | if mask { 0x80 } else { 0 }];
            if mask {
                wire.extend_from_slice(&[0; 4]);
            }
            wire.extend(payload);
            wire
        },
    );
    proptest::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn what_is_sent_is_received(
        role in role(),
        params in params(),
        messages in proptest::collection::vec(message(), 1..5),
        key in any::<[u8; 4]>(),
        chunk in 1..3000_usize,
        scratch in 1..3000_usize,
    ) {
        let mut encoder = Encoder::new(role, params);
        let mut wire = Vec::new();
        let mut pings = Vec::new();
        for message in &messages {
            pings.extend(send(&mut encoder, message, key, &mut wire));
        }
        let mut decoder = Decoder::new(peer(role), params);
        let (seen, result) = decode_in_chunks(&mut decoder, &wire, chunk, scratch);
        prop_assert_eq!(result, Ok(()));
        let (received, others) = sort(seen);
        let sent: Vec<_> = messages.into_iter().map(|message| (message.kind, message.bytes)).collect();
        prop_assert!(received == sent);
        prop_assert_eq!(others, pings);
    }

    /// `decode_in_chunks` fails if a call makes no headway, so the work is bounded by the input
    /// and the output.
    #[test]
    fn any_bytes_are_decoded_or_refused(
        role in role(),
        params in params(),
        wire in prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), wild_frames()],
        chunk in 1..50_usize,
        scratch in 1..50_usize,
    ) {
        let (_, result) = decode_in_chunks(&mut Decoder::new(role, params), &wire, chunk, scratch);
        let (_, whole) = decode_in_chunks(&mut Decoder::new(role, params), &wire, 4096, 4096);
        prop_assert_eq!(result, whole);
    }

    #[test]
    fn damaged_compressed_messages_do_no_harm(
        bytes in binary(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
        chunk in 1..500_usize,
    ) {
        let params = Some(DeflateParams::default());
        let mut encoder = Encoder::new(Role::Server, params);
        let mut wire = crate::support::send(&mut encoder, MessageKind::Binary, &bytes);
        let at = at.index(wire.len());
        wire[at] ^= flip;
        let mut decoder = Decoder::new(Role::Client, params);
        let _ = decode_in_chunks(&mut decoder, &wire, chunk, 512);
    }

    #[test]
    fn any_extension_header_is_taken_or_refused(
        header in "(permessage-deflate|[a-z;=,\" ]{0,9}|client_max_window_bits|server_max_window_bits=1[0-9]|;|,){0,8}",
    ) {
        let offer = sspc_ws::handshake::DeflateOffer::default();
        let _ = sspc_ws::handshake::negotiate(Some(&offer), &header);
        if let Some((params, response)) = sspc_ws::handshake::answer(&header, DeflateParams::default()) {
            let (again, _) = sspc_ws::handshake::answer(&response, params).unwrap();
            prop_assert_eq!(again.server_no_context_takeover, params.server_no_context_takeover);
        }
    }
}
