//! Each rule that a peer can break, and the close code that it then gets (RFC 6455 §7.4.1).

use sspc_ws::{CloseCode, DecodeError, DeflateParams, Role};

use crate::support::{Seen, decode_every_way, masked, protocol_error, refused_with};

fn client_refuses(wire: &[u8], expected: DecodeError) {
    let error = refused_with(Role::Client, None, wire);
    assert_eq!(error, expected);
    protocol_error(error);
}

#[test]
fn reserved_bits() {
    for bit in [0x40, 0x20, 0x10] {
        for opcode in [0x1, 0x2, 0x8, 0x9, 0xa] {
            client_refuses(&[0x80 | bit | opcode], DecodeError::ReservedBit);
        }
        client_refuses(&[0x01, 0x00, 0x80 | bit, 0x00], DecodeError::ReservedBit);
    }
}

#[test]
fn reserved_bits_with_compression() {
    let deflate = Some(DeflateParams::default());
    let refused = |wire: &[u8]| {
        let error = refused_with(Role::Client, deflate, wire);
        assert_eq!(error, DecodeError::ReservedBit);
        protocol_error(error);
    };
    // RSV1 stands for compression on the first frame of a message, and nowhere else.
    refused(&[0xc8]);
    refused(&[0xc9]);
    refused(&[0xca]);
    refused(&[0x41, 0x00, 0xc0]);
    refused(&[0x01, 0x00, 0xc0]);
    refused(&[0xa1]);
    refused(&[0xd2]);
}

#[test]
fn reserved_opcodes() {
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        client_refuses(&[0x80 | opcode], DecodeError::Opcode(opcode));
    }
}

#[test]
fn fragmented_control_frames() {
    for opcode in [0x8, 0x9, 0xa] {
        client_refuses(&[opcode], DecodeError::FragmentedControl);
    }
}

#[test]
fn long_control_frames() {
    for first in [0x88, 0x89, 0x8a] {
        client_refuses(&[first, 126], DecodeError::ControlTooLong);
        client_refuses(&[first, 127], DecodeError::ControlTooLong);
        // Also if the long form tells a short length.
        client_refuses(&[first, 126, 0, 1, b'x'], DecodeError::ControlTooLong);
    }
}

#[test]
fn masks_by_role() {
    let error = refused_with(Role::Server, None, b"\x81\x05");
    assert_eq!(error, DecodeError::NotMasked);
    protocol_error(error);
    let error = refused_with(Role::Server, None, b"\x89\x00");
    assert_eq!(error, DecodeError::NotMasked);
    client_refuses(&masked(0x81, b"Hello"), DecodeError::Masked);
    client_refuses(&masked(0x89, b""), DecodeError::Masked);
}

#[test]
fn lengths_that_are_not_in_their_shortest_form() {
    client_refuses(&[0x82, 126, 0, 0], DecodeError::LengthNotShortest);
    client_refuses(&[0x82, 126, 0, 125], DecodeError::LengthNotShortest);
    client_refuses(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1], DecodeError::LengthNotShortest);
    client_refuses(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], DecodeError::LengthNotShortest);
}

#[test]
fn lengths_with_the_top_bit() {
    client_refuses(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], DecodeError::LengthTooLarge);
    client_refuses(
        &[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255],
        DecodeError::LengthTooLarge,
    );
}

#[test]
fn continuations_of_nothing() {
    client_refuses(&[0x80, 0x00], DecodeError::NothingToContinue);
    client_refuses(&[0x00, 0x00], DecodeError::NothingToContinue);
    client_refuses(&[0x81, 0x00, 0x80], DecodeError::NothingToContinue);
}

#[test]
fn messages_inside_messages() {
    client_refuses(&[0x01, 0x00, 0x81], DecodeError::MessageInsideMessage);
    client_refuses(&[0x02, 0x01, b'x', 0x89, 0x00, 0x02], DecodeError::MessageInsideMessage);
}

#[test]
fn close_codes() {
    client_refuses(&[0x88, 0x01, 0x03], DecodeError::CloseTooShort);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535_u16] {
        let [high, low] = code.to_be_bytes();
        client_refuses(&[0x88, 0x02, high, low], DecodeError::CloseCode(code));
    }
    let good = [1000..=1003, 1007..=1014, 3000..=3001, 4999..=4999_u16];
    for code in good.into_iter().flatten() {
        let [high, low] = code.to_be_bytes();
        let seen = decode_every_way(Role::Client, None, &[0x88, 0x03, high, low, b'r']);
        assert_eq!(seen, Ok(vec![Seen::Close(Some((code, "r".to_owned())))]));
    }
}

#[test]
fn text_that_is_not_utf8() {
    let wires: &[&[u8]] = &[
        b"\x81\x01\xff",
        b"\x81\x02\xf0\x9f",           // ends inside a character
        b"\x01\x01\xce\x80\x00",       // the same, with an empty last frame
        b"\x01\x02a\xce\x80\x02b\xba", // a character broken across frames
        b"\x88\x03\x03\xe8\xff",       // in the reason of a close
        b"\x01\x03\xed\xa0\x80",       // a surrogate, found before the message's end
        b"\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00\xc0", // and before the frame's
    ];
    for wire in wires {
        let error = refused_with(Role::Client, None, wire);
        assert_eq!(error, DecodeError::InvalidUtf8, "{wire:x?}");
        assert_eq!(error.close_code(), CloseCode::INVALID_DATA);
    }
    // Binary messages may hold anything.
    assert!(decode_every_way(Role::Client, None, b"\x82\x01\xff").is_ok());
}

#[test]
fn good_frames_before_a_bad_one_are_delivered() {
    let wire = b"\x81\x02ok\x89\x00\x83\x00";
    let mut decoder = sspc_ws::Decoder::new(Role::Client, None);
    let (seen, result) = crate::support::decode_in_chunks(&mut decoder, wire, 100, 10);
    assert_eq!(seen, [crate::support::text("ok"), Seen::Ping(Vec::new())]);
    assert_eq!(result, Err(DecodeError::Opcode(3)));
}
