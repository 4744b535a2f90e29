//! permessage-deflate: the examples of RFC 7692 §7.2.3, and what §6 and §7 ask for.

use sspc_ws::{
    CloseCode, DecodeError, Decoder, DeflateParams, Encoder, Event, MessageKind, Piece, Role,
};

use crate::support::{
    KEY, Seen, both_ways, decode_every_way, decode_in_chunks, masked, message, peer, refused_with,
    send, text,
};

const KIND: MessageKind = MessageKind::Text;

fn received(wire: &[u8]) -> Result<Vec<Seen>, DecodeError> {
    decode_every_way(Role::Client, Some(DeflateParams::default()), wire)
}

// RFC 7692 §7.2.3, in its order.

#[test]
fn one_compressed_block() {
    let wire = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(received(wire), Ok(vec![text("Hello")]));
    let params = Some(DeflateParams::default());
    assert_eq!(send(&mut Encoder::new(Role::Server, params), KIND, b"Hello"), wire);

    // The same in fragments, with RSV1 on the first only.
    let wire = b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00";
    assert_eq!(received(wire), Ok(vec![text("Hello")]));
}

#[test]
fn masked_and_compressed() {
    let wire = masked(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    let params = Some(DeflateParams::default());
    assert_eq!(decode_every_way(Role::Server, params, &wire), Ok(vec![text("Hello")]));
    assert_eq!(send(&mut Encoder::new(Role::Client, params), KIND, b"Hello"), wire);
}

#[test]
fn a_shared_window() {
    let wire = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    assert_eq!(received(wire), Ok(vec![text("Hello"), text("Hello")]));

    let params = Some(DeflateParams::default());
    let mut encoder = Encoder::new(Role::Server, params);
    let sent = [send(&mut encoder, KIND, b"Hello"), send(&mut encoder, KIND, b"Hello")].concat();
    assert_eq!(sent, wire);

    // With no context takeover the second message cannot refer to the first.
    let params = Some(both_ways(15, true));
    let mut encoder = Encoder::new(Role::Server, params);
    let long = "Hello, ".repeat(100);
    let first = send(&mut encoder, KIND, long.as_bytes());
    assert!(first.len() < 50);
    assert_eq!(send(&mut encoder, KIND, long.as_bytes()), first);
    let error = refused_with(Role::Client, params, wire);
    assert_eq!(error, DecodeError::InvalidDeflate);
}

#[test]
fn what_is_short_is_sent_as_it_is_where_no_context_is_kept() {
    let params = Some(both_ways(15, true));
    let mut encoder = Encoder::new(Role::Server, params);
    assert_eq!(send(&mut encoder, KIND, b"Hello"), b"\x81\x05Hello");
    assert!(!encoder.has_spare());

    // That a message is short is known if it is whole.
    let mut wire = Vec::new();
    for (first, last, bytes) in [(true, false, b"Hel"), (false, true, b"lo!")] {
        encoder.piece(Piece { kind: KIND, first, last, bytes }, KEY, &mut wire).unwrap();
    }
    wire.extend(send(&mut encoder, KIND, b"and"));
    let long = "long ".repeat(100);
    wire.extend(send(&mut encoder, KIND, long.as_bytes()));
    assert_eq!(wire[0], 0x41);
    assert_eq!(
        decode_every_way(Role::Client, params, &wire),
        Ok(vec![text("Hello!"), text("and"), text(&long)])
    );
}

#[test]
fn what_the_next_message_does_not_need_can_be_given_back() {
    let long = "long ".repeat(100);
    for (alone, has_spare) in [(true, true), (false, false)] {
        let params = Some(both_ways(15, alone));
        let mut encoder = Encoder::new(Role::Server, params);
        let mut decoder = Decoder::new(Role::Client, params);
        for _ in 0..3 {
            let wire = send(&mut encoder, KIND, long.as_bytes());
            let (mut input, mut scratch, mut got) = (&wire[..], [0; 4096], Vec::new());
            while let Some(event) = decoder.decode(&mut input, &mut scratch).unwrap() {
                if let Event::Data(piece) = event {
                    got.extend_from_slice(piece.bytes);
                }
            }
            assert_eq!(got, long.as_bytes());
            assert_eq!((encoder.has_spare(), decoder.has_spare()), (has_spare, has_spare));
            encoder.release();
            decoder.release();
            assert!(!encoder.has_spare() && !decoder.has_spare());
        }
    }
}

#[test]
fn a_block_without_compression() {
    let wire = b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    assert_eq!(received(wire), Ok(vec![text("Hello")]));
}

#[test]
fn a_final_block() {
    let wire = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    assert_eq!(received(wire), Ok(vec![text("Hello")]));
    // And the connection goes on after it.
    let twice = [&wire[..], wire, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"].concat();
    assert_eq!(received(&twice), Ok(vec![text("Hello"), text("Hello"), text("Hello")]));
    // Several final blocks in one message.
    let wire = b"\xc1\x0f\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    assert_eq!(received(wire), Ok(vec![text("HelloHello")]));
    // Some senders leave out the byte after it.
    let wire = b"\xc1\x07\xf3\x48\xcd\xc9\xc9\x07\x00\x81\x02ok";
    assert_eq!(received(wire), Ok(vec![text("Hello"), text("ok")]));
}

#[test]
fn two_blocks_in_one_message() {
    let wire = b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    assert_eq!(received(wire), Ok(vec![text("Hello")]));

    // Ours look like that when a message is sent in pieces: each is flushed.
    let mut encoder = Encoder::new(Role::Server, Some(DeflateParams::default()));
    let mut out = Vec::new();
    encoder
        .piece(Piece { kind: KIND, first: true, last: false, bytes: b"He" }, KEY, &mut out)
        .unwrap();
    encoder
        .piece(Piece { kind: KIND, first: false, last: true, bytes: b"llo" }, KEY, &mut out)
        .unwrap();
    assert_eq!(out[..2], [0x41, 0x08]);
    assert_eq!(out[6..10], [0x00, 0x00, 0xff, 0xff]);
    assert_eq!(out[10], 0x80);
    assert_eq!(received(&out), Ok(vec![text("Hello")]));
}

#[test]
fn empty_messages() {
    let params = Some(DeflateParams::default());
    let wire = b"\xc1\x01\x00";
    assert_eq!(received(wire), Ok(vec![text("")]));
    assert_eq!(send(&mut Encoder::new(Role::Server, params), KIND, b""), wire);
    // Some senders have nothing left of an empty message; that must not spoil the next one.
    let wire = b"\xc1\x00\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(received(wire), Ok(vec![text(""), text("Hello")]));
}

#[test]
fn messages_that_are_not_compressed_may_come_between() {
    let wire = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x81\x02ok\xc1\x05\xf2\x00\x11\x00\x00";
    assert_eq!(received(wire), Ok(vec![text("Hello"), text("ok"), text("Hello")]));
}

#[test]
fn control_frames_between_compressed_fragments() {
    let wire = b"\x41\x03\xf2\x48\xcd\x89\x01p\x80\x04\xc9\xc9\x07\x00";
    let seen = received(wire).unwrap();
    let data: Vec<&[u8]> = seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::Data { bytes, .. } => Some(bytes.as_slice()),
            _ => None,
        })
        .collect();
    assert_eq!(data.concat(), b"Hello");
    assert!(seen.contains(&Seen::Ping(b"p".to_vec())));
}

#[test]
fn the_last_byte_comes_with_last_if_there_is_room() {
    let wire = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    for (size, expected) in [
        (6, vec![(true, true, &b"Hello"[..])]),
        // Only when it fills the buffer there is no telling whether more follows.
        (5, vec![(true, false, &b"Hello"[..]), (false, true, b"")]),
        (3, vec![(true, false, &b"Hel"[..]), (false, true, b"lo")]),
    ] {
        let mut decoder = Decoder::new(Role::Client, Some(DeflateParams::default()));
        let (mut input, mut scratch) = (&wire[..], vec![0; size]);
        for (first, last, bytes) in expected {
            let event = decoder.decode(&mut input, &mut scratch).unwrap();
            let piece = Piece { kind: KIND, first, last, bytes };
            assert_eq!(event, Some(Event::Data(piece)), "scratch of {size}");
        }
        assert_eq!(decoder.decode(&mut input, &mut scratch), Ok(None));
    }
}

/// A slow sender's piece must not wait in the compressor for the end of the message.
#[test]
fn a_piece_arrives_whole_before_the_next_is_sent() {
    for bits in [8, 9, 12, 15] {
        for role in [Role::Client, Role::Server] {
            let params = Some(both_ways(bits, false));
            let mut encoder = Encoder::new(role, params);
            let mut decoder = Decoder::new(peer(role), params);
            for i in 0..20 {
                let bytes = format!("piece {i}, ").repeat(i);
                let mut wire = Vec::new();
                let (first, last) = (i == 0, i == 19);
                let piece = Piece { kind: KIND, first, last, bytes: bytes.as_bytes() };
                encoder.piece(piece, KEY, &mut wire).unwrap();
                let (seen, result) = decode_in_chunks(&mut decoder, &wire, 7, 64);
                assert_eq!(result, Ok(()));
                let got: Vec<u8> = seen
                    .iter()
                    .flat_map(|seen| match seen {
                        Seen::Data { bytes, .. } => bytes.clone(),
                        other => panic!("{other:?}"),
                    })
                    .collect();
                assert_eq!(got, bytes.as_bytes());
            }
        }
    }
}

/// Empty pieces, among them an empty last one, after whose predecessors nothing is left to flush.
#[test]
fn empty_pieces_anywhere() {
    for no_context in [false, true] {
        let params = Some(both_ways(15, no_context));
        let mut encoder = Encoder::new(Role::Client, params);
        let mut wire = Vec::new();
        for pieces in
            [&["", "", ""][..], &["", "Hello", "", ""], &["Hel", "", "lo"], &["Hello", ""]]
        {
            for (i, bytes) in pieces.iter().enumerate() {
                let (first, last) = (i == 0, i + 1 == pieces.len());
                let piece = Piece { kind: KIND, first, last, bytes: bytes.as_bytes() };
                encoder.piece(piece, KEY, &mut wire).unwrap();
            }
        }
        let hello = text("Hello");
        let expected = vec![text(""), hello.clone(), hello.clone(), hello];
        assert_eq!(decode_every_way(Role::Server, params, &wire), Ok(expected));
    }
}

/// zlib cannot compress raw DEFLATE with a window of 256 bytes, and takes one of 512 instead: a
/// sender that agreed to 8 bits must not do that. We send such messages uncompressed.
#[test]
fn a_window_of_8_bits_is_sent_uncompressed_and_received() {
    let params = Some(both_ways(8, false));
    let mut encoder = Encoder::new(Role::Server, params);
    assert_eq!(send(&mut encoder, KIND, b"Hello"), b"\x81\x05Hello");
    let wire = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    let seen = decode_every_way(Role::Client, params, wire);
    assert_eq!(seen, Ok(vec![text("Hello"), text("Hello")]));
}

/// The window that was agreed is kept to: data that repeats after 1000 bytes shrinks with a window
/// of 2048, and cannot with one of 512.
#[test]
fn the_window_limits_what_is_sent() {
    let mut random = 1_u32;
    let block: Vec<u8> = (0..1000)
        .map(|_| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        })
        .collect();
    let bytes = block.repeat(8);
    let len = |bits, role| {
        let mut params = both_ways(15, false);
        match role {
            Role::Client => params.client_max_window_bits = crate::support::window(bits),
            Role::Server => params.server_max_window_bits = crate::support::window(bits),
        }
        let wire = send(&mut Encoder::new(role, Some(params)), MessageKind::Binary, &bytes);
        let mut decoder = Decoder::new(peer(role), Some(params));
        let (seen, _) = decode_in_chunks(&mut decoder, &wire, 100, 100);
        assert_eq!(seen, [message(MessageKind::Binary, &bytes)]);
        wire.len()
    };
    for role in [Role::Client, Role::Server] {
        assert!(len(11, role) < 3000, "{}", len(11, role));
        assert!(len(9, role) > 7000, "{}", len(9, role));
    }
}

#[test]
fn data_that_is_not_deflate() {
    let params = Some(DeflateParams::default());
    let wires: &[&[u8]] = &[
        b"\xc1\x01\x07",                                     // a reserved type of block
        b"\xc1\x05\x00\x05\x00\x00\x00",                     // a stored block with a wrong check
        b"\xc1\x05\xf2\x00\x11\x00\x00",                     // refers to before the beginning
        b"\xc1\x04\xf2\x48\xcd\xc9",                         // cut inside a block
        b"\xc1\x0a\x00\x08\x00\xf7\xff\x48\x65\x6c\x6c\x6f", // cut inside a stored block
    ];
    for wire in wires {
        let error = refused_with(Role::Client, params, wire);
        assert_eq!(error, DecodeError::InvalidDeflate, "{wire:x?}");
        assert_eq!(error.close_code(), CloseCode::INVALID_DATA);
    }
}

#[test]
fn compressed_text_must_be_utf8() {
    let params = Some(DeflateParams::default());
    let wire = send(&mut Encoder::new(Role::Server, params), KIND, b"a\xf0\x9f");
    let error = refused_with(Role::Client, params, &wire);
    assert_eq!(error, DecodeError::InvalidUtf8);
}

/// Found by the property tests: data that was broken in two ways was refused for one or the other,
/// depending on the cuts. What comes before a fault is handed out, and judged, first.
#[test]
fn what_comes_before_a_fault_is_handed_out_first() {
    let params = Some(DeflateParams::default());
    // A stored block of five bytes, then a block of a reserved type.
    let broken = |text: &[u8; 5]| [b"\xc1\x0b\x00\x05\x00\xfa\xff", &text[..], b"\x07"].concat();
    let wire = broken(b"Hello");
    assert_eq!(refused_with(Role::Client, params, &wire), DecodeError::InvalidDeflate);
    for chunk in 1..=wire.len() {
        for scratch in [1, 4, 5, 6, 100] {
            let mut decoder = Decoder::new(Role::Client, params);
            let (seen, _) = decode_in_chunks(&mut decoder, &wire, chunk, scratch);
            let hello = b"Hello".to_vec();
            assert_eq!(seen, [Seen::Data { kind: KIND, first: true, last: false, bytes: hello }]);
        }
    }
    let error = refused_with(Role::Client, params, &broken(b"Hell\xff"));
    assert_eq!(error, DecodeError::InvalidUtf8);
}
