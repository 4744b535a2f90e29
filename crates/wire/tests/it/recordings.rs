//! Every recording of deployed peers, at every cut, and back to the same bytes.

use std::collections::BTreeMap;

use sspc_sim::frames::{Codec, Decoded, Owned, decode, decode_whole, encode_all};
use sspc_sim::vectors::{self, Direction};
use sspc_wire::{FrameError, MuxDecoder, MuxFrame, State, ToClientDecoder, ToProxyDecoder};

/// Decodes at every chunk size, and with two chunks at every cut; returns the frames.
fn at_every_cut<C: Codec>(bytes: &[u8], what: &str) -> Decoded<C::Error> {
    let whole = decode_whole::<C>(bytes);
    for size in 1..=bytes.len() {
        assert_eq!(decode::<C>(bytes.chunks(size)), whole, "{what} in chunks of {size}");
    }
    whole
}

fn check<C: Codec>(bytes: &[u8], what: &str) -> Vec<Owned> {
    let decoded = at_every_cut::<C>(bytes, what);
    assert_eq!(decoded.error, None, "{what}");
    assert!(decoded.between, "{what} ends inside a frame");
    assert_eq!(encode_all::<C>(&decoded.frames), bytes, "{what} written again");
    decoded.frames
}

/// The two directions of every stream: of each socket, and of each time a mux channel was opened.
fn streams() -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    for name in vectors::NAMES {
        if name.starts_with("mux") {
            found.extend(mux_streams(name));
            continue;
        }
        for connection in 0.. {
            let to_proxy = vectors::joined(name, connection, Direction::ToProxy);
            if to_proxy.is_empty() {
                break;
            }
            let to_client = vectors::joined(name, connection, Direction::ToClient);
            found.push((format!("{name}, connection {connection}"), to_proxy, to_client));
        }
    }
    found
}

/// Streams of a mux recording: the frames of both directions in the order of their times.
fn mux_streams(name: &str) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let mut decoders = [MuxDecoder::new(), MuxDecoder::new()];
    let mut open: BTreeMap<u8, (Vec<u8>, Vec<u8>)> = BTreeMap::new();
    let mut done = Vec::new();
    for chunk in vectors::load(name) {
        let mut input = &chunk.bytes[..];
        let decoder = &mut decoders[usize::from(chunk.direction == Direction::ToClient)];
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            match frame {
                MuxFrame::ChannelReq(channel) => {
                    done.extend(open.insert(channel, Default::default()));
                }
                MuxFrame::Data { channel, piece } => {
                    let (to_proxy, to_client) = open.get_mut(&channel).unwrap();
                    match chunk.direction {
                        Direction::ToProxy => to_proxy.extend(piece.data),
                        Direction::ToClient => to_client.extend(piece.data),
                    }
                }
                _ => {}
            }
        }
    }
    done.extend(open.into_values());
    let named = done.into_iter().enumerate();
    named.map(|(n, (p, c))| (format!("{name}, stream {n}"), p, c)).collect()
}

#[test]
fn streams_decode_at_every_cut_and_encode_to_the_same_bytes() {
    let streams = streams();
    assert!(streams.len() >= vectors::NAMES.len());
    for (what, to_proxy, to_client) in streams {
        let sent = check::<ToProxyDecoder>(&to_proxy, &what);
        let Some(Owned::Streamtype { version: 1, .. }) = sent.first() else {
            panic!("{what} begins with {:?}", sent.first());
        };
        let received = check::<ToClientDecoder>(&to_client, &what);
        let Some(Owned::CreateResult { .. }) = received.first() else {
            panic!("{what} is answered by {:?}", received.first());
        };
    }
}

#[test]
fn mux_lines_decode_at_every_cut_and_encode_to_the_same_bytes() {
    for name in vectors::NAMES.into_iter().filter(|name| name.starts_with("mux")) {
        for direction in [Direction::ToProxy, Direction::ToClient] {
            let frames = check::<MuxDecoder>(&vectors::joined(name, 0, direction), name);
            assert_eq!(frames.first(), Some(&Owned::Mux(MuxFrame::Reset)), "{name}");
        }
    }
}

#[test]
fn recorded_states_are_legal_in_their_order() {
    let mut steps = 0;
    for (what, _, to_client) in streams() {
        let mut current = None;
        for frame in decode_whole::<ToClientDecoder>(&to_client).frames {
            let Owned::State(next, _) = frame else { continue };
            assert!(State::may_follow(next, current), "{what}: {next} after {current:?}");
            if !next.is_transparent() {
                current = Some(next);
            }
            steps += 1;
        }
    }
    assert!(steps > 40, "only {steps} states seen");
}

/// What is seen of a GET: all that an application would be told, in order.
#[test]
fn the_recorded_get_reads_as_the_protocol_tells_it() {
    let bytes = vectors::joined("uds_h1_get", 0, Direction::ToClient);
    let frames = decode_whole::<ToClientDecoder>(&bytes).frames;
    let seen: Vec<String> = frames.iter().map(told).collect();
    assert_eq!(
        seen,
        [
            "created ,sx-hello_world",
            "CREATING",
            "CONNECTING",
            "ctype=text/html",
            "CONNECTED",
            "SOM 1520 bytes",
            "0 293 bytes",
            "EOM 0 bytes",
            "QOS_ACK_REMOTE",
            "DISCONNECTED",
        ]
    );
}

fn told(frame: &Owned) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match frame {
        Owned::CreateResult { list, .. } => format!("created {}", text(list)),
        Owned::State(state, _) => state.to_string(),
        Owned::Metadata { name, value } => format!("{}={}", text(name), text(value)),
        Owned::Payload { head, data, .. } => format!("{} {} bytes", head.flags, data.len()),
        other => format!("{other:?}"),
    }
}

/// A decoder of one direction refuses the other direction's recording at its first byte.
#[test]
fn recordings_played_the_wrong_way_are_refused_at_once() {
    for (what, to_proxy, to_client) in streams() {
        let refused = |error: Option<FrameError>| {
            assert!(error.is_some_and(|e| e.to_string().contains("other direction")), "{what}");
        };
        refused(decode_whole::<ToClientDecoder>(&to_proxy).error);
        refused(decode_whole::<ToProxyDecoder>(&to_client).error);
    }
}
