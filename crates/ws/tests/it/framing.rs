//! Frames without compression: the examples of RFC 6455 §5.7, and what follows from §5.

use sspc_ws::{
    CloseCode, DecodeError, Decoder, EncodeError, Encoder, Event, MessageKind, Piece, Role,
};

use crate::support::{KEY, Seen, decode_every_way, masked, message, send, text};

const KIND: MessageKind = MessageKind::Text;

fn piece(first: bool, last: bool, bytes: &[u8]) -> Piece<'_> {
    Piece { kind: KIND, first, last, bytes }
}

// RFC 6455 §5.7, in its order.

#[test]
fn a_single_frame_unmasked() {
    let wire = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(decode_every_way(Role::Client, None, &wire), Ok(vec![text("Hello")]));
    assert_eq!(send(&mut Encoder::new(Role::Server, None), KIND, b"Hello"), wire);
}

#[test]
fn a_single_frame_masked() {
    let wire = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode_every_way(Role::Server, None, &wire), Ok(vec![text("Hello")]));
    assert_eq!(send(&mut Encoder::new(Role::Client, None), KIND, b"Hello"), wire);
}

#[test]
fn a_fragmented_message() {
    let wire = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(decode_every_way(Role::Client, None, &wire), Ok(vec![text("Hello")]));

    let mut encoder = Encoder::new(Role::Server, None);
    let mut out = Vec::new();
    encoder.piece(piece(true, false, b"Hel"), KEY, &mut out).unwrap();
    encoder.piece(piece(false, true, b"lo"), KEY, &mut out).unwrap();
    assert_eq!(out, wire);
}

#[test]
fn a_ping_and_its_pong() {
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let hello = b"Hello".to_vec();
    assert_eq!(decode_every_way(Role::Client, None, &ping), Ok(vec![Seen::Ping(hello.clone())]));
    assert_eq!(decode_every_way(Role::Server, None, &pong), Ok(vec![Seen::Pong(hello)]));

    let mut out = Vec::new();
    Encoder::new(Role::Server, None).ping(b"Hello", KEY, &mut out).unwrap();
    assert_eq!(out, ping);
    out.clear();
    Encoder::new(Role::Client, None).pong(b"Hello", KEY, &mut out).unwrap();
    assert_eq!(out, pong);
}

#[test]
fn payloads_of_every_form_of_length() {
    for len in [0, 1, 125, 126, 127, 256, 65535, 65536, 70000] {
        let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let wire = send(&mut Encoder::new(Role::Server, None), MessageKind::Binary, &bytes);
        let header: &[u8] = match len {
            0..126 => &[0x82, len as u8],
            256 => &[0x82, 0x7e, 0x01, 0x00],
            126..65536 => &[0x82, 0x7e, (len >> 8) as u8, len as u8],
            _ => &[0x82, 0x7f, 0, 0, 0, 0, 0, (len >> 16) as u8, (len >> 8) as u8, len as u8],
        };
        assert_eq!(&wire[..header.len()], header);
        assert_eq!(wire.len(), header.len() + len);

        let expected = Ok(vec![message(MessageKind::Binary, &bytes)]);
        if len <= 256 {
            assert_eq!(decode_every_way(Role::Client, None, &wire), expected);
        }
        let wire = send(&mut Encoder::new(Role::Client, None), MessageKind::Binary, &bytes);
        for chunk in [1, 3, 1000, wire.len()] {
            let mut decoder = Decoder::new(Role::Server, None);
            let (seen, _) = crate::support::decode_in_chunks(&mut decoder, &wire, chunk, 512);
            assert_eq!(Ok(seen), expected, "{len} bytes in chunks of {chunk}");
        }
    }
}

/// The reason for this crate: the payload of a frame far larger than any memory is handed on as it
/// comes, in place.
#[test]
fn a_frame_of_the_largest_size_is_handed_on_at_once() {
    let mut wire = vec![0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    wire.extend_from_slice(b"the first bytes");
    let mut decoder = Decoder::new(Role::Client, None);
    let mut input = wire.as_slice();
    let event = decoder.decode(&mut input, &mut []).unwrap();
    let Some(Event::Data(piece)) = event else { panic!("{event:?}") };
    assert_eq!((piece.first, piece.last, piece.bytes), (true, false, &b"the first bytes"[..]));
    assert_eq!(piece.bytes.as_ptr(), wire[10..].as_ptr(), "in place, not copied");
    assert!(size_of::<Decoder>() < 512, "{}", size_of::<Decoder>());
}

#[test]
fn the_last_byte_of_a_message_comes_with_last() {
    let wire = masked(0x81, b"Hello");
    let mut decoder = Decoder::new(Role::Server, None);
    let (mut input, mut scratch) = (wire.as_slice(), [0; 3]);
    let event = decoder.decode(&mut input, &mut scratch).unwrap();
    assert_eq!(event, Some(Event::Data(piece(true, false, b"Hel"))));
    let event = decoder.decode(&mut input, &mut scratch).unwrap();
    assert_eq!(event, Some(Event::Data(piece(false, true, b"lo"))));
}

#[test]
fn an_empty_message_is_one_piece_that_is_first_and_last() {
    let empty = Event::Data(piece(true, true, b""));
    // Whole, and in three empty fragments.
    for wire in [&b"\x81\x00"[..], b"\x01\x00\x00\x00\x80\x00"] {
        let mut decoder = Decoder::new(Role::Client, None);
        let mut input = wire;
        assert_eq!(decoder.decode(&mut input, &mut []), Ok(Some(empty.clone())));
        assert_eq!(decoder.decode(&mut input, &mut []), Ok(None));
        assert_eq!(decode_every_way(Role::Client, None, wire), Ok(vec![text("")]));
    }
    let wire = send(&mut Encoder::new(Role::Client, None), KIND, b"");
    assert_eq!(wire, [0x81, 0x80, 0x37, 0xfa, 0x21, 0x3d]);
    assert_eq!(decode_every_way(Role::Server, None, &wire), Ok(vec![text("")]));
}

#[test]
fn control_frames_between_the_fragments_of_a_message() {
    let wire = b"\x01\x02He\x89\x01p\x00\x01l\x8a\x00\x80\x02lo\x88\x00";
    let part =
        |first, last, bytes: &[u8]| Seen::Data { kind: KIND, first, last, bytes: bytes.to_vec() };
    let expected = vec![
        part(true, false, b"He"),
        Seen::Ping(b"p".to_vec()),
        part(false, false, b"l"),
        Seen::Pong(Vec::new()),
        part(false, true, b"lo"),
        Seen::Close(None),
    ];
    assert_eq!(decode_every_way(Role::Client, None, wire), Ok(expected));
}

#[test]
fn text_may_be_cut_inside_a_character() {
    let mut wire = b"\x01\x02\xf0\x9f".to_vec();
    wire.extend_from_slice(b"\x89\x00\x00\x01\xa6\x80\x02\x80!");
    let seen = decode_every_way(Role::Client, None, &wire).unwrap();
    assert_eq!(seen.len(), 3);
    let whole: Vec<u8> = seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::Data { bytes, .. } => Some(bytes.as_slice()),
            _ => None,
        })
        .collect::<Vec<_>>()
        .concat();
    assert_eq!(whole, "🦀!".as_bytes());
}

#[test]
fn a_control_frame_of_125_bytes_both_ways() {
    let payload = [b'x'; 125];
    let mut wire = Vec::new();
    Encoder::new(Role::Client, None).ping(&payload, KEY, &mut wire).unwrap();
    assert_eq!(decode_every_way(Role::Server, None, &wire), Ok(vec![Seen::Ping(payload.to_vec())]));

    let mut encoder = Encoder::new(Role::Client, None);
    let reason = "r".repeat(123);
    wire.clear();
    encoder.close(Some((CloseCode::GOING_AWAY, &reason)), KEY, &mut wire).unwrap();
    let expected = vec![Seen::Close(Some((1001, reason)))];
    assert_eq!(decode_every_way(Role::Server, None, &wire), Ok(expected));
}

#[test]
fn what_follows_a_close_is_dropped() {
    let mut decoder = Decoder::new(Role::Client, None);
    assert!(!decoder.is_closed());
    let mut input: &[u8] = b"\x88\x02\x03\xe8\xff\xff\xff and no frames at all";
    let event = decoder.decode(&mut input, &mut []).unwrap();
    let Some(Event::Close(Some(close))) = event else { panic!("{event:?}") };
    assert_eq!((close.code(), close.reason()), (CloseCode::NORMAL, ""));
    assert!(decoder.is_closed());
    assert_eq!(decoder.decode(&mut input, &mut []), Ok(None));
    assert!(input.is_empty());
}

#[test]
fn an_empty_scratch_buffer_loses_nothing() {
    let wire = masked(0x81, b"Hello");
    let mut decoder = Decoder::new(Role::Server, None);
    let mut input = wire.as_slice();
    assert_eq!(decoder.decode(&mut input, &mut []), Err(DecodeError::NoScratch));
    let mut scratch = [0; 8];
    let event = decoder.decode(&mut input, &mut scratch).unwrap();
    assert_eq!(event, Some(Event::Data(piece(true, true, b"Hello"))));
}

#[test]
fn the_encoder_refuses_misuse_and_writes_nothing() {
    for role in [Role::Client, Role::Server] {
        let mut encoder = Encoder::new(role, None);
        let mut out = Vec::new();
        let refused = encoder.piece(piece(false, true, b"x"), KEY, &mut out);
        assert_eq!(refused, Err(EncodeError::NothingToContinue));
        let refused = encoder.ping(&[0; 126], KEY, &mut out);
        assert_eq!(refused, Err(EncodeError::ControlTooLong));
        let long = "x".repeat(124);
        let refused = encoder.close(Some((CloseCode::NORMAL, &long)), KEY, &mut out);
        assert_eq!(refused, Err(EncodeError::ControlTooLong));
        assert!(out.is_empty() && !encoder.is_closed() && !encoder.in_message());

        encoder.piece(piece(true, false, b"x"), KEY, &mut out).unwrap();
        assert!(encoder.in_message());
        let len = out.len();
        let refused = encoder.piece(piece(true, true, b"x"), KEY, &mut out);
        assert_eq!(refused, Err(EncodeError::MessageInsideMessage));
        assert_eq!(out.len(), len);

        encoder.close(None, KEY, &mut out).unwrap();
        assert!(encoder.is_closed());
        let len = out.len();
        assert_eq!(encoder.close(None, KEY, &mut out), Err(EncodeError::Closed));
        assert_eq!(encoder.pong(b"", KEY, &mut out), Err(EncodeError::Closed));
        let refused = encoder.piece(piece(false, true, b"x"), KEY, &mut out);
        assert_eq!(refused, Err(EncodeError::Closed));
        assert_eq!(out.len(), len);
    }
}
