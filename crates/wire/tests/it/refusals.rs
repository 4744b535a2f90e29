//! Bytes that are no frame: told apart, at every cut, without taking a neighbour along.

use std::ops::RangeInclusive;

use sspc_sim::frames::{Codec, Owned, decode, decode_whole, hex};
use sspc_wire::{
    FrameError, FrameFault, MuxDecoder, MuxError, MuxFrame, ToClientDecoder, ToProxyDecoder,
};

/// The lengths that a type can have, by the protocol.
fn lengths_to_client(frame: u8) -> Option<RangeInclusive<u16>> {
    match frame {
        0x55 => Some(16..=0xffff),
        0x56 => Some(5..=0xffff),
        0x57 => Some(5..=8),
        0x58 => Some(4..=4),
        0x59 => Some(2..=0xffff),
        0x5b => Some(0..=0xffff),
        _ => None,
    }
}

fn lengths_to_proxy(frame: u8) -> Option<RangeInclusive<u16>> {
    match frame {
        0x5b => Some(0..=0xffff),
        0xaa => Some(10..=9 + 32),
        0xab | 0xac => Some(0..=0),
        0xad => Some(16..=0xffff),
        0xae => Some(2..=0xffff),
        0xaf..=0xb1 => Some(4..=4),
        _ => None,
    }
}

/// The lengths in a range that a type cannot have.
fn is_length(frame: u8, rest: u16, lengths: &RangeInclusive<u16>) -> bool {
    lengths.contains(&rest) && !(frame == 0x57 && (rest == 6 || rest == 7))
}

/// Every type with every small length, and some large ones, in front of a body of that length.
/// The body is 0x01 throughout: a name of one byte, no flag but SOM.
fn sweep<C: Codec<Error = FrameError>>(lengths: fn(u8) -> Option<RangeInclusive<u16>>) {
    for frame in 0..=0xff {
        for rest in (0..=70).chain([255, 256, 1380, 0xfffe, 0xffff]) {
            let [high, low] = u16::to_be_bytes(rest);
            let mut bytes = vec![frame, high, low];
            bytes.resize(3 + usize::from(rest), 0x01);
            let whole = decode_whole::<C>(&bytes);
            if rest <= 70 {
                assert_eq!(decode::<C>(bytes.chunks(1)), whole, "{frame:#04x} of {rest} bytes");
            }
            match lengths(frame) {
                Some(lengths) if is_length(frame, rest, &lengths) => {
                    assert_eq!(whole.error, None, "{frame:#04x} of {rest} bytes");
                    assert_eq!(whole.frames.len(), 1, "{frame:#04x} of {rest} bytes");
                    assert!(whole.between, "{frame:#04x} of {rest} bytes");
                }
                known => {
                    assert!(whole.frames.is_empty(), "{frame:#04x} of {rest} bytes");
                    let Some(error) = whole.error else {
                        panic!("{frame:#04x} of {rest} bytes was taken");
                    };
                    assert_eq!(error.frame, frame);
                    let fault_of_length = !matches!(
                        error.fault,
                        FrameFault::UnknownType | FrameFault::WrongDirection
                    );
                    assert_eq!(fault_of_length, known.is_some(), "{error}");
                }
            }
        }
    }
}

#[test]
fn every_length_that_a_frame_to_a_client_cannot_have_is_refused() {
    sweep::<ToClientDecoder>(lengths_to_client);
}

#[test]
fn every_length_that_a_frame_to_a_proxy_cannot_have_is_refused() {
    sweep::<ToProxyDecoder>(lengths_to_proxy);
}

#[test]
fn types_of_the_other_direction_are_told_from_unknown_ones() {
    for frame in 0..=0xff_u8 {
        let bytes = [frame, 0, 0];
        let fault = |error: Option<FrameError>| error.map(|error| error.fault);
        let at_client = fault(decode_whole::<ToClientDecoder>(&bytes).error);
        let at_proxy = fault(decode_whole::<ToProxyDecoder>(&bytes).error);
        let unknown = Some(FrameFault::UnknownType);
        let wrong = Some(FrameFault::WrongDirection);
        match (lengths_to_client(frame).is_some(), lengths_to_proxy(frame).is_some()) {
            (false, false) => assert_eq!((at_client, at_proxy), (unknown, unknown), "{frame:#x}"),
            (true, false) => assert_eq!(at_proxy, wrong, "{frame:#x}"),
            (false, true) => assert_eq!(at_client, wrong, "{frame:#x}"),
            (true, true) => assert_eq!(frame, 0x5b),
        }
    }
}

/// What the peer did wrong, in words that name the frame.
#[test]
fn an_error_says_which_frame_and_why() {
    let at_client = |text| decode_whole::<ToClientDecoder>(&hex(text)).error.unwrap().to_string();
    let at_proxy = |text| decode_whole::<ToProxyDecoder>(&hex(text)).error.unwrap().to_string();
    assert_eq!(at_client("00 0000"), "unknown frame type 0x00");
    assert_eq!(at_client("aa 0000"), "frame type 0xaa belongs to the other direction");
    assert_eq!(at_client("57 0006"), "frame type 0x57 cannot have a body of 6 bytes");
    assert_eq!(at_client("59 0000"), "frame type 0x59 cannot have a body of 0 bytes");
    assert_eq!(at_client("59 0003 03"), "frame type 0x59 carries a name of 3 bytes");
    assert_eq!(at_client("59 0064 21"), "frame type 0x59 carries a name of 33 bytes");
    assert_eq!(at_client("59 0002 00"), "frame type 0x59 carries a name of 0 bytes");
    assert_eq!(
        at_client("55 0010 00000020 00000000 0000000000000000"),
        "frame type 0x55 cannot have a body of 16 bytes"
    );
    assert_eq!(
        at_client("55 0011 00000020 00000000 0000000000000000 01"),
        "frame type 0x55 carries a name of 1 bytes"
    );
    assert_eq!(
        at_proxy("aa 0009 01 00000000 00000000"),
        "frame type 0xaa carries a name of 0 bytes"
    );
    assert_eq!(
        at_proxy("aa 000c 01 00000000 00000000 610062"),
        "frame type 0xaa carries a name with a NUL byte"
    );
}

/// Good, bad, good: the frame before the bad one comes out, the one behind it never, at any cut;
/// and after a reset the decoder is as good as new.
#[test]
fn an_error_ends_the_stream_until_the_decoder_is_reset() {
    let good = hex("57 0005 06 00000000");
    let bad = hex("57 0007 06 000000 000000");
    let bytes = [&good[..], &bad, &good].concat();
    for size in 1..=bytes.len() {
        let decoded = decode::<ToClientDecoder>(bytes.chunks(size));
        assert_eq!(decoded.frames.len(), 1, "in chunks of {size}");
        let error = decoded.error.map(|error| (error.frame, error.fault));
        assert_eq!(error, Some((0x57, FrameFault::Length { rest: 7 })));
    }

    let mut decoder = ToClientDecoder::new();
    let mut input = &bad[..];
    let first = decoder.next(&mut input).unwrap_err();
    for _ in 0..3 {
        assert_eq!(decoder.next(&mut &good[..]), Err(first), "the error stays");
    }
    assert!(!decoder.is_between_frames());
    decoder.reset();
    assert!(decoder.is_between_frames());
    assert!(decoder.next(&mut &good[..]).unwrap().is_some());
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_told_from_one_that_does_not() {
    let bytes = hex("59 0005 02 6e6e 7676 55 0010 00000002 00000000 0000000000000000");
    let ends = [0, 8, 27];
    for length in 0..=bytes.len() {
        let between = decode_whole::<ToClientDecoder>(&bytes[..length]).between;
        assert_eq!(between, ends.contains(&length), "after {length} bytes");
    }
    let bytes = hex("f9 f5 01 0002 abcd f0 01");
    for length in 0..=bytes.len() {
        let between = decode_whole::<MuxDecoder>(&bytes[..length]).between;
        assert_eq!(between, [0, 1, 7, 9].contains(&length), "after {length} bytes");
    }
}

#[test]
fn a_mux_decoder_tells_each_byte_that_begins_no_frame_and_goes_on() {
    for byte in 0..=0xff_u8 {
        if (0xf0..=0xf9).contains(&byte) {
            continue;
        }
        let bytes = [0xf0, 1, byte, 0xf1, 1];
        let mut input = &bytes[..];
        let mut decoder = MuxDecoder::new();
        assert_eq!(decoder.next(&mut input), Ok(Some(MuxFrame::ChannelReq(1))));
        assert_eq!(decoder.next(&mut input), Err(MuxError::NoFrame(byte)));
        assert!(decoder.is_between_frames());
        assert_eq!(decoder.next(&mut input), Ok(Some(MuxFrame::ChannelAck(1))));
        assert_eq!(decoder.next(&mut input), Ok(None));
    }
}

#[test]
fn a_mux_frame_has_1_to_65534_bytes() {
    for (length, text) in [(0, "0 bytes"), (0xffff, "65535 bytes")] {
        let [high, low] = u16::to_be_bytes(length);
        let bytes = [0xf5, 9, high, low, 0xf9];
        for size in 1..=bytes.len() {
            let error = decode::<MuxDecoder>(bytes.chunks(size)).error.unwrap();
            assert_eq!(error, MuxError::Length(length));
            assert!(error.to_string().ends_with(text), "{error}");
        }
        let mut input = &bytes[..];
        let mut decoder = MuxDecoder::new();
        assert_eq!(decoder.next(&mut input), Err(MuxError::Length(length)));
        assert_eq!(decoder.next(&mut input), Ok(Some(MuxFrame::Reset)));
    }
}

#[test]
fn a_reset_mux_decoder_forgets_half_a_frame() {
    let mut decoder = MuxDecoder::new();
    for half in ["f5 01", "f5 01 0003 aa", "f7 0000"] {
        let half = hex(half);
        let mut input = &half[..];
        while let Ok(Some(_)) = decoder.next(&mut input) {}
        assert!(!decoder.is_between_frames());
        decoder.reset();
        assert_eq!(decoder.next(&mut &[0xf9][..]), Ok(Some(MuxFrame::Reset)));
    }
}

/// Two frames in one chunk, of which the second is cut: nothing of the second comes early.
#[test]
fn a_frame_comes_when_its_last_byte_does() {
    let bytes = hex("58 0004 00000001 58 0004 00000002");
    for length in 0..=bytes.len() {
        let decoded = decode_whole::<ToClientDecoder>(&bytes[..length]);
        assert_eq!(decoded.frames.len(), length / 7);
    }
    let last = decode_whole::<ToClientDecoder>(&bytes).frames;
    assert_eq!(last, [Owned::TxCredit(1), Owned::TxCredit(2)]);
}
