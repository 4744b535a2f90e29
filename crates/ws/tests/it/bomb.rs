//! A peer that sends little and means much.

use sspc_ws::{DecodeError, Decoder, DeflateParams, Encoder, Event, MessageKind, Piece, Role};

use crate::support::KEY;

const MIB: usize = 1 << 20;

/// A hundred megabytes of zeros, compressed a thousandfold, come out through 4 KiB, each call
/// giving no more than that.
#[test]
fn a_bomb_is_streamed_through_a_small_buffer() {
    let params = Some(DeflateParams::default());
    let mut encoder = Encoder::new(Role::Server, params);
    let mut start = Vec::new();
    let zeros = vec![0; MIB];
    let piece = Piece { kind: MessageKind::Binary, first: true, last: false, bytes: &zeros };
    encoder.piece(piece, KEY, &mut start).unwrap();
    // A flushed first piece refers to nothing before it, so it may stand many times.
    let again = [&[0x00], &start[1..]].concat();
    let pieces = 100;
    let wire = [start, again.repeat(pieces - 1), b"\x80\x01\x00".to_vec()].concat();
    assert!(wire.len() < 200_000, "{}", wire.len());

    let mut decoder = Decoder::new(Role::Client, params);
    let mut input = wire.as_slice();
    let mut scratch = [0xff; 4096];
    let (mut total, mut ended, mut calls) = (0, false, 0);
    while let Some(event) = decoder.decode(&mut input, &mut scratch).unwrap() {
        let Event::Data(piece) = event else { panic!("{event:?}") };
        assert!(!ended && piece.bytes.len() <= 4096);
        assert_eq!(piece.first, total == 0);
        assert!(piece.bytes == &zeros[..piece.bytes.len()]);
        total += piece.bytes.len();
        ended = piece.last;
        calls += 1;
    }
    assert!(ended);
    assert_eq!(total, pieces * MIB);
    assert!(calls <= total / 4096 + 2 * pieces, "{calls}");
}

/// Frames and blocks that hold nothing cost no memory and end when the input does.
#[test]
fn nothing_over_and_over() {
    let params = Some(DeflateParams::default());
    let empty_frames = [&b"\x41\x00"[..], &b"\x00\x00".repeat(10_000)].concat();
    let empty_blocks = [&b"\x42\x7e\xc3\x50"[..], &b"\x00\x00\x00\xff\xff".repeat(10_000)].concat();
    let final_blocks = [&b"\x42\x7e\x4e\x20"[..], &b"\x03\x00".repeat(10_000)].concat();
    for wire in [empty_frames, empty_blocks, final_blocks] {
        let mut decoder = Decoder::new(Role::Client, params);
        let mut input = wire.as_slice();
        assert_eq!(decoder.decode(&mut input, &mut [0; 16]), Ok::<_, DecodeError>(None));
        assert!(input.is_empty());
    }
}
