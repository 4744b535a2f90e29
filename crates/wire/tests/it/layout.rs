//! Each frame, byte by byte, as the protocol lays it out; and the longest of each.

use sspc_sim::frames::{Codec, Owned, decode, decode_whole, encode, hex};
use sspc_wire::{
    EncodeError, Flags, MuxDecoder, MuxFrame, PayloadHead, Piece, State, Streamtype, Timeout,
    ToClient, ToClientDecoder, ToProxy, ToProxyDecoder, limits, streamtype_names,
};

/// The frame has these bytes, and these bytes are the frame, in any cut.
fn laid_out<C: Codec>(bytes: &str, frame: Owned) {
    let bytes = hex(bytes);
    assert_eq!(encode::<C>(&frame).unwrap(), bytes, "{frame:?}");
    for size in 1..=bytes.len() {
        let decoded = decode::<C>(bytes.chunks(size));
        assert_eq!(decoded.error, None, "{frame:?}");
        assert!(decoded.between, "{frame:?}");
        assert_eq!(decoded.frames, std::slice::from_ref(&frame));
    }
}

fn head(flags: Flags) -> PayloadHead {
    PayloadHead { flags, held_us: 0x0102_0304, written_us: 0x1112_1314_1516_1718 }
}

#[test]
fn rx_payload_is_flags_times_and_payload() {
    let frame = Owned::Payload { head: head(Flags::WHOLE), rideshare: None, data: b"hi".into() };
    laid_out::<ToClientDecoder>("55 0012 00000003 01020304 1112131415161718 6869", frame);
}

#[test]
fn rx_payload_with_rideshare_names_its_streamtype() {
    let head = head(Flags::SOM | Flags::RIDESHARE);
    let rideshare = Some(b"bulk".to_vec());
    let frame = Owned::Payload { head, rideshare, data: b"hi".into() };
    laid_out::<ToClientDecoder>(
        "55 0017 00000021 01020304 1112131415161718 04 62756c6b 6869",
        frame,
    );
}

#[test]
fn rx_payload_may_be_empty_and_its_unknown_flags_are_kept() {
    let head = head(Flags::from_bits(0x8000_0002));
    let frame = Owned::Payload { head, rideshare: None, data: Vec::new() };
    laid_out::<ToClientDecoder>("55 0010 80000002 01020304 1112131415161718", frame);
}

#[test]
fn create_result_is_result_buffer_and_list() {
    let created = Owned::CreateResult { result: 0, client_buflen: 4096, list: b",ab,c".into() };
    laid_out::<ToClientDecoder>("56 000a 00 00001000 2c61622c63", created);
    let refused = Owned::CreateResult { result: 1, client_buflen: 0, list: Vec::new() };
    laid_out::<ToClientDecoder>("56 0005 01 00000000", refused);
}

#[test]
fn the_list_of_create_result_may_begin_with_a_comma() {
    let names = |list: &'static [u8]| streamtype_names(list).collect::<Vec<_>>();
    assert_eq!(names(b",mintest,more"), [&b"mintest"[..], b"more"]);
    assert_eq!(names(b"mintest"), [b"mintest"]);
    assert!(names(b"").is_empty());
    assert!(names(b",,").is_empty());
}

#[test]
fn connstate_has_one_byte_up_to_255_and_four_above() {
    laid_out::<ToClientDecoder>("57 0005 05 00000000", Owned::State(State::Connected, 0));
    laid_out::<ToClientDecoder>("57 0005 03 00000001", Owned::State(State::Unreachable, 1));
    laid_out::<ToClientDecoder>("57 0005 ff 00000000", Owned::State(State::Other(255), 0));
    laid_out::<ToClientDecoder>("57 0008 00000100 00000000", Owned::State(State::Other(256), 0));
    laid_out::<ToClientDecoder>("57 0008 000003e8 00000000", Owned::State(State::User(1000), 0));
    laid_out::<ToClientDecoder>(
        "57 0008 ffffffff 00000009",
        Owned::State(State::User(u32::MAX), 9),
    );
}

#[test]
fn connstate_of_four_bytes_may_carry_a_small_number() {
    let decoded = decode_whole::<ToClientDecoder>(&hex("57 0008 00000005 00000007"));
    assert_eq!(decoded.frames, [Owned::State(State::Connected, 7)]);
}

#[test]
fn credit_is_signed_both_ways() {
    laid_out::<ToClientDecoder>("58 0004 00010000", Owned::TxCredit(65_536));
    laid_out::<ToClientDecoder>("58 0004 ffffffff", Owned::TxCredit(-1));
    laid_out::<ToProxyDecoder>("af 0004 7fffffff", Owned::TxCredit(i32::MAX));
    laid_out::<ToProxyDecoder>("af 0004 80000000", Owned::TxCredit(i32::MIN));
}

#[test]
fn metadata_is_a_name_behind_its_length_and_a_value() {
    let frame = || Owned::Metadata { name: b"ctype".into(), value: b"text/html".into() };
    laid_out::<ToClientDecoder>("59 000f 05 6374797065 746578742f68746d6c", frame());
    laid_out::<ToProxyDecoder>("ae 000f 05 6374797065 746578742f68746d6c", frame());
}

#[test]
fn metadata_without_a_value_is_read_but_not_written() {
    let frame = Owned::Metadata { name: b"q".into(), value: Vec::new() };
    let read = decode_whole::<ToProxyDecoder>(&hex("ae 0002 01 71")).frames;
    assert_eq!(read, std::slice::from_ref(&frame));
    assert_eq!(encode::<ToProxyDecoder>(&frame), Err(EncodeError::EmptyValue));
    assert_eq!(encode::<ToClientDecoder>(&frame), Err(EncodeError::EmptyValue));
}

#[test]
fn perf_is_text_in_both_directions() {
    laid_out::<ToClientDecoder>("5b 0002 7b7d", Owned::Perf(b"{}".into()));
    laid_out::<ToProxyDecoder>("5b 0000", Owned::Perf(Vec::new()));
}

#[test]
fn streamtype_is_version_pid_credit_and_name() {
    let name = b"mintest".to_vec();
    laid_out::<ToProxyDecoder>(
        "aa 0010 01 000077c0 1dcd6500 6d696e74657374",
        Owned::Streamtype { version: 1, pid: 0x77c0, tx_credit: 500_000_000, name },
    );
}

#[test]
fn bit_31_of_the_pid_announces_a_client_that_honours_credit() {
    let plain = Streamtype { version: 1, pid: 4711, tx_credit: 4096, name: b"a" };
    assert!(!plain.honours_credit());
    assert!(!plain.credit_is_unlimited());
    let announced = Streamtype { pid: 0x8000_0000 | 4711, tx_credit: 500_000_000, ..plain };
    assert!(announced.honours_credit());
    assert_eq!(announced.process_id(), 4711);
    assert!(announced.credit_is_unlimited());
}

#[test]
fn onward_connect_and_destroying_are_bare() {
    laid_out::<ToProxyDecoder>("ab 0000", Owned::OnwardConnect);
    laid_out::<ToProxyDecoder>("ac 0000", Owned::Destroying);
}

#[test]
fn tx_payload_is_laid_out_as_rx_payload() {
    let frame = Owned::Payload { head: head(Flags::EOM), rideshare: None, data: b"!".into() };
    laid_out::<ToProxyDecoder>("ad 0011 00000002 01020304 1112131415161718 21", frame);
}

#[test]
fn timeout_of_0_is_the_policys_and_all_ones_cancels() {
    laid_out::<ToProxyDecoder>("b0 0004 00000000", Owned::Timeout(Timeout::Policy));
    laid_out::<ToProxyDecoder>("b0 0004 00001388", Owned::Timeout(Timeout::Millis(5000)));
    laid_out::<ToProxyDecoder>("b0 0004 ffffffff", Owned::Timeout(Timeout::Cancel));
}

#[test]
fn payload_length_hint_is_unsigned() {
    laid_out::<ToProxyDecoder>("b1 0004 ffffffff", Owned::LengthHint(u32::MAX));
}

#[test]
fn channel_frames_are_a_byte_and_an_index() {
    laid_out::<MuxDecoder>("f0 ff", Owned::Mux(MuxFrame::ChannelReq(255)));
    laid_out::<MuxDecoder>("f1 00", Owned::Mux(MuxFrame::ChannelAck(0)));
    laid_out::<MuxDecoder>("f2 07", Owned::Mux(MuxFrame::ChannelNack(7)));
    laid_out::<MuxDecoder>("f3 fe", Owned::Mux(MuxFrame::ChannelClose(254)));
    laid_out::<MuxDecoder>("f4 fe", Owned::Mux(MuxFrame::ChannelCloseAck(254)));
}

#[test]
fn mux_is_an_index_a_length_and_bytes() {
    laid_out::<MuxDecoder>(
        "f5 ff 0003 ab0000",
        Owned::MuxData { channel: 255, data: hex("ab0000") },
    );
}

#[test]
fn the_three_way_handshake_carries_times() {
    let sent_us = 0x0102_0304_0506_0708;
    laid_out::<MuxDecoder>("f6 0102030405060708", Owned::Mux(MuxFrame::Ping { sent_us }));
    laid_out::<MuxDecoder>(
        "f7 0102030405060708 00000000000000ff",
        Owned::Mux(MuxFrame::Pong { echo_us: sent_us, sent_us: 255 }),
    );
    laid_out::<MuxDecoder>(
        "f8 0006000000000000",
        Owned::Mux(MuxFrame::PongAck { unix_us: 6 << 48 }),
    );
    laid_out::<MuxDecoder>("f9", Owned::Mux(MuxFrame::Reset));
}

/// Some bytes of a body, no two neighbours alike.
fn filler(length: usize) -> Vec<u8> {
    (0..length).map(|n| n as u8).collect()
}

fn longest<C: Codec>(frame: Owned, length: usize) {
    let bytes = encode::<C>(&frame).unwrap();
    assert_eq!(bytes.len(), length, "{frame:?}");
    for size in [1, 2, 1379, 1380, 4096, length - 1, length] {
        assert_eq!(decode::<C>(bytes.chunks(size)).frames, std::slice::from_ref(&frame));
    }
}

#[test]
fn the_longest_frames_fill_the_length_field() {
    let full = limits::FRAME_HEAD + 0xffff;
    let head = PayloadHead::new(Flags::NONE);
    let data = filler(limits::PAYLOAD_MAX);
    longest::<ToClientDecoder>(Owned::Payload { head, rideshare: None, data: data.clone() }, full);
    longest::<ToProxyDecoder>(Owned::Payload { head, rideshare: None, data }, full);
    let ridden = || Owned::Payload {
        head: PayloadHead::new(Flags::RIDESHARE),
        rideshare: Some(vec![b'r'; limits::STREAMTYPE_NAME_MAX]),
        data: filler(limits::PAYLOAD_MAX - 1 - limits::STREAMTYPE_NAME_MAX),
    };
    longest::<ToClientDecoder>(ridden(), full);
    longest::<ToProxyDecoder>(ridden(), full);
    let metadata = || Owned::Metadata {
        name: vec![b'n'; limits::METADATA_NAME_MAX],
        value: filler(0xffff - 1 - limits::METADATA_NAME_MAX),
    };
    longest::<ToClientDecoder>(metadata(), full);
    longest::<ToProxyDecoder>(metadata(), full);
    longest::<ToClientDecoder>(Owned::Perf(filler(0xffff)), full);
    longest::<ToProxyDecoder>(Owned::Perf(filler(0xffff)), full);
    let data = filler(limits::MUX_BODY_MAX);
    longest::<MuxDecoder>(Owned::MuxData { channel: 1, data }, limits::MUX_HEAD + 65_534);
}

#[test]
fn the_longest_names_and_list_are_those_that_deployed_peers_take() {
    let name = vec![b's'; 31];
    let stream = Owned::Streamtype { version: 1, pid: u32::MAX, tx_credit: -1, name };
    longest::<ToProxyDecoder>(stream, 3 + 9 + 31);
    let list = vec![b','; 127];
    let created = Owned::CreateResult { result: 255, client_buflen: u32::MAX, list };
    longest::<ToClientDecoder>(created, 3 + 5 + 127);
    let pong = Owned::Mux(MuxFrame::Pong { echo_us: u64::MAX, sent_us: u64::MAX });
    longest::<MuxDecoder>(pong, limits::MUX_CONTROL_MAX);
}

#[test]
fn names_that_deployed_peers_refuse_are_not_written() {
    let stream = |name: &[u8]| {
        let name = name.to_vec();
        encode::<ToProxyDecoder>(&Owned::Streamtype { version: 1, pid: 0, tx_credit: 0, name })
    };
    let metadata = |name: &[u8]| {
        let frame = Owned::Metadata { name: name.to_vec(), value: b"v".into() };
        let (up, down) = (encode::<ToProxyDecoder>(&frame), encode::<ToClientDecoder>(&frame));
        assert_eq!(up.as_ref().map(Vec::len), down.as_ref().map(Vec::len));
        up
    };
    let rideshare = |name: &[u8]| {
        let head = PayloadHead::default();
        let frame = Owned::Payload { head, rideshare: Some(name.to_vec()), data: Vec::new() };
        encode::<ToClientDecoder>(&frame)
    };
    for name in [&b""[..], b"a\0b", &[b'n'; 32]] {
        assert_eq!(stream(name), Err(EncodeError::Name));
        assert_eq!(metadata(name), Err(EncodeError::Name));
        assert_eq!(rideshare(name), Err(EncodeError::Name));
    }
    assert!(stream(&[b'n'; 31]).is_ok());
    assert!(rideshare(&[b'n'; 31]).is_ok());
    assert!(metadata(&[b'n'; 30]).is_ok());
    assert_eq!(metadata(&[b'n'; 31]), Err(EncodeError::Name));
}

#[test]
fn bodies_that_fit_no_frame_are_not_written() {
    let mut out = vec![0; 70_000];
    let payload = |length: usize| {
        let data = filler(length);
        encode::<ToClientDecoder>(&Owned::Payload {
            head: PayloadHead::default(),
            rideshare: None,
            data,
        })
    };
    assert_eq!(payload(limits::PAYLOAD_MAX + 1), Err(EncodeError::TooLong));
    let list = vec![b','; 128];
    let created = Owned::CreateResult { result: 0, client_buflen: 0, list };
    assert_eq!(encode::<ToClientDecoder>(&created), Err(EncodeError::TooLong));
    let data =
        |data: &[u8]| encode::<MuxDecoder>(&Owned::MuxData { channel: 0, data: data.into() });
    assert_eq!(data(&[]), Err(EncodeError::TooLong));
    assert_eq!(data(&filler(0xffff)), Err(EncodeError::TooLong));
    assert_eq!(Piece::whole(&filler(0x1_0000)), None);

    let outside = Piece { data: b"xyz", offset: 8, total: 10 };
    let head = PayloadHead::default();
    let frames = [
        ToClient::Payload { head, rideshare: None, piece: outside }.encode(&mut out),
        ToClient::Perf(outside).encode(&mut out),
        ToClient::Metadata { name: b"n", value: outside }.encode(&mut out),
        ToClient::CreateResult { result: 0, client_buflen: 0, list: outside }.encode(&mut out),
        ToProxy::Payload { head, rideshare: None, piece: outside }.encode(&mut out),
        ToProxy::Metadata { name: b"n", value: outside }.encode(&mut out),
        MuxFrame::Data { channel: 0, piece: outside }.encode(&mut out),
    ];
    assert_eq!(frames, [Err(EncodeError::Piece); 7]);
}

/// A frame into every output that is too short: an error that tells the room it needs, no panic.
#[test]
fn a_short_output_tells_the_room_that_is_needed() {
    let frame = Owned::Payload {
        head: PayloadHead::default(),
        rideshare: Some(b"more".into()),
        data: filler(20),
    };
    let needed = encode::<ToClientDecoder>(&frame).unwrap().len();
    for room in 0..needed {
        let mut out = vec![0; room];
        let written = ToClientDecoder::write(&frame, 0, 20, &mut out);
        assert_eq!(written, Err(EncodeError::NoRoom { needed }));
    }
    let mut out = vec![0; needed];
    assert_eq!(ToClientDecoder::write(&frame, 0, 20, &mut out), Ok(needed));
}

/// The head alone goes in front of payload that is written by other means.
#[test]
fn an_empty_first_piece_writes_the_head_alone() {
    let head = PayloadHead::new(Flags::WHOLE);
    let piece = Piece { data: &[], offset: 0, total: 5 };
    let mut out = [0; 32];
    let written = ToClient::Payload { head, rideshare: None, piece }.encode(&mut out).unwrap();
    assert_eq!(out[..written], hex("55 0015 00000003 00000000 0000000000000000"));
}

#[test]
fn what_marks_a_start_is_on_the_first_piece_and_what_marks_an_end_on_the_last() {
    let all = Flags::from_bits(0x7f);
    let flags = |offset, length| {
        let piece = Piece { data: &[0; 9][..length], offset, total: 9 };
        PayloadHead::new(all).flags_of(&piece).to_string()
    };
    assert_eq!(flags(0, 3), "SOM|POLL|RELATED_START|PERF_JSON");
    assert_eq!(flags(3, 3), "PERF_JSON");
    assert_eq!(flags(6, 3), "EOM|RELATED_END|PERF_JSON");
    assert_eq!(flags(0, 9), "SOM|EOM|POLL|RELATED_START|RELATED_END|PERF_JSON");
    let empty = Piece { data: &[], offset: 0, total: 0 };
    assert_eq!(PayloadHead::new(Flags::EOM).flags_of(&empty), Flags::EOM);
}

#[test]
fn flags_are_told_by_name_and_unknown_ones_in_hex() {
    assert_eq!(Flags::NONE.to_string(), "0");
    assert_eq!(Flags::WHOLE.to_string(), "SOM|EOM");
    assert_eq!(Flags::from_bits(0x120).to_string(), "RIDESHARE|0x100");
    assert_eq!(Flags::from_bits(0x100).to_string(), "0x100");
}

/// The RAM that a stream costs a device: a change here is a change of what we promise.
#[test]
fn decoders_stay_small() {
    assert!(size_of::<ToClientDecoder>() <= 72, "{}", size_of::<ToClientDecoder>());
    assert!(size_of::<ToProxyDecoder>() <= 72, "{}", size_of::<ToProxyDecoder>());
    assert!(size_of::<MuxDecoder>() <= 24, "{}", size_of::<MuxDecoder>());
}

#[test]
fn the_name_of_the_last_piece_stays_with_the_decoder() {
    let bytes = hex("59 0005 02 6162 7879 55 0010 00000003 00000000 0000000000000000");
    for size in 1..=bytes.len() {
        let mut decoder = ToClientDecoder::new();
        let mut names = Vec::new();
        for mut chunk in bytes.chunks(size) {
            while let Some(frame) = decoder.next(&mut chunk).unwrap() {
                let metadata = matches!(frame, ToClient::Metadata { .. });
                names.push((metadata, decoder.name().to_vec()));
            }
        }
        names.dedup();
        assert_eq!(names, [(true, b"ab".to_vec()), (false, Vec::new())], "chunks of {size}");
    }
}
