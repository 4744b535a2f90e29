//! Any frame in any cut comes back, and any bytes do no harm.

use proptest::collection::vec;
use proptest::prelude::*;
use sspc_wire::{
    Flags, MuxDecoder, MuxFields, MuxFrame, PayloadHead, State, Timeout, ToClientDecoder,
    ToProxyDecoder,
};

use crate::owned::{Owned, cut, encode_all, harmless, round_trip};

fn name(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1..=u8::MAX, 1..=max)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => vec(any::<u8>(), 0..40), 1 => vec(any::<u8>(), 0..3000)]
}

fn payload() -> impl Strategy<Value = Owned> {
    let parts = (any::<u32>(), any::<u32>(), any::<u64>(), name(31), body());
    parts.prop_map(|(bits, held_us, written_us, name, data)| {
        let flags = Flags::from_bits(bits);
        let rideshare = flags.contains(Flags::RIDESHARE).then_some(name);
        Owned::Payload { head: PayloadHead { flags, held_us, written_us }, rideshare, data }
    })
}

fn metadata() -> impl Strategy<Value = Owned> {
    let value = body().prop_filter("a value is not empty", |value| !value.is_empty());
    (name(30), value).prop_map(|(name, value)| Owned::Metadata { name, value })
}

fn to_client() -> impl Strategy<Value = Owned> {
    prop_oneof![
        payload(),
        (any::<u8>(), any::<u32>(), vec(any::<u8>(), 0..=127)).prop_map(
            |(result, client_buflen, list)| Owned::CreateResult { result, client_buflen, list }
        ),
        (prop_oneof![0..=1100_u32, any::<u32>()], any::<u32>())
            .prop_map(|(code, ordinal)| Owned::State(State::from_code(code), ordinal)),
        any::<i32>().prop_map(Owned::TxCredit),
        metadata(),
        body().prop_map(Owned::Perf),
    ]
}

fn to_proxy() -> impl Strategy<Value = Owned> {
    prop_oneof![
        (any::<u8>(), any::<u32>(), any::<i32>(), name(31)).prop_map(
            |(version, pid, tx_credit, name)| Owned::Streamtype { version, pid, tx_credit, name }
        ),
        Just(Owned::OnwardConnect),
        Just(Owned::Destroying),
        payload(),
        metadata(),
        any::<i32>().prop_map(Owned::TxCredit),
        any::<u32>().prop_map(|ms| Owned::Timeout(Timeout::from_wire(ms))),
        any::<u32>().prop_map(Owned::LengthHint),
        body().prop_map(Owned::Perf),
    ]
}

fn mux() -> impl Strategy<Value = Owned> {
    let control = prop_oneof![
        any::<u8>().prop_map(MuxFrame::ChannelReq),
        any::<u8>().prop_map(MuxFrame::ChannelAck),
        any::<u8>().prop_map(MuxFrame::ChannelNack),
        any::<u8>().prop_map(MuxFrame::ChannelClose),
        any::<u8>().prop_map(MuxFrame::ChannelCloseAck),
        any::<u64>().prop_map(|sent_us| MuxFrame::Ping { sent_us }),
        any::<(u64, u64)>().prop_map(|(echo_us, sent_us)| MuxFrame::Pong { echo_us, sent_us }),
        any::<u64>().prop_map(|unix_us| MuxFrame::PongAck { unix_us }),
        Just(MuxFrame::Reset),
    ];
    let data = body().prop_filter("a body is not empty", |data| !data.is_empty());
    prop_oneof![
        control.prop_map(Owned::Mux),
        (any::<u8>(), data).prop_map(|(channel, data)| Owned::MuxData { channel, data }),
    ]
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![3 => 1..8_usize, 1 => 1..2000_usize], 1..10)
}

/// Bytes that begin like frames more often than chance would have it.
fn frame_like() -> impl Strategy<Value = Vec<u8>> {
    let types = prop_oneof![0x55..=0x5b_u8, 0xaa..=0xb3_u8, 0xf0..=0xf9_u8];
    let frame = (types, 0..2_u8, 0..24_u8, vec(0..0x40_u8, 0..24));
    vec(frame, 0..12).prop_map(|frames| {
        let bytes = frames.into_iter().map(|(kind, high, low, body)| {
            let high = if high == 1 && low == 0 { 1 } else { 0 };
            [&[kind, high, low][..], &body].concat()
        });
        bytes.flatten().collect()
    })
}

/// What the fields of a frame are, those that it has not as `next_fields` told them.
fn fields_of<'a>(frame: MuxFrame<'a>, told: MuxFields<'a>) -> MuxFields<'a> {
    let none = MuxFields { data: &[], is_first: true, ..told };
    let control = |frame, channel| MuxFields { frame, channel, ..none };
    let time = |frame, first_us| MuxFields { frame, first_us, ..none };
    match frame {
        MuxFrame::ChannelReq(index) => control(0xf0, index),
        MuxFrame::ChannelAck(index) => control(0xf1, index),
        MuxFrame::ChannelNack(index) => control(0xf2, index),
        MuxFrame::ChannelClose(index) => control(0xf3, index),
        MuxFrame::ChannelCloseAck(index) => control(0xf4, index),
        MuxFrame::Data { channel, piece } => {
            let is_first = piece.is_first();
            MuxFields { data: piece.data, is_first, ..control(0xf5, channel) }
        }
        MuxFrame::Ping { sent_us } => time(0xf6, sent_us),
        MuxFrame::Pong { echo_us, .. } => time(0xf7, echo_us),
        MuxFrame::PongAck { unix_us } => time(0xf8, unix_us),
        MuxFrame::Reset => MuxFields { frame: 0xf9, ..none },
        other => panic!("a frame that the tests do not know: {other:?}"),
    }
}

proptest! {
    #[test]
    fn frames_to_a_client_come_back(frames in vec(to_client(), 0..8), sizes in sizes()) {
        round_trip::<ToClientDecoder>(&frames, &sizes);
    }

    #[test]
    fn frames_to_a_proxy_come_back(frames in vec(to_proxy(), 0..8), sizes in sizes()) {
        round_trip::<ToProxyDecoder>(&frames, &sizes);
    }

    #[test]
    fn frames_of_the_mux_come_back(frames in vec(mux(), 0..8), sizes in sizes()) {
        round_trip::<MuxDecoder>(&frames, &sizes);
    }

    #[test]
    fn any_bytes_are_harmless(bytes in vec(any::<u8>(), 0..300), sizes in sizes()) {
        harmless::<ToClientDecoder>(&bytes, &sizes);
        harmless::<ToProxyDecoder>(&bytes, &sizes);
        harmless::<MuxDecoder>(&bytes, &sizes);
    }

    #[test]
    fn bytes_like_frames_are_harmless(bytes in frame_like(), sizes in sizes()) {
        harmless::<ToClientDecoder>(&bytes, &sizes);
        harmless::<ToProxyDecoder>(&bytes, &sizes);
        harmless::<MuxDecoder>(&bytes, &sizes);
    }

    #[test]
    fn the_fields_of_mux_frames_are_those_of_the_frames(
        frames in vec(mux(), 0..8),
        noise in frame_like(),
        sizes in sizes(),
    ) {
        let bytes = encode_all::<MuxDecoder>(&frames);
        let (mut one, mut other) = (MuxDecoder::new(), MuxDecoder::new());
        for chunk in cut(&[bytes, noise].concat(), &sizes) {
            let (mut input, mut again) = (chunk, chunk);
            loop {
                let frame = one.next(&mut input);
                let fields = other.next_fields(&mut again);
                assert_eq!(input, again, "as much is taken");
                match (frame, fields) {
                    (Ok(Some(frame)), Ok(Some(told))) => assert_eq!(fields_of(frame, told), told),
                    (frame, fields) => {
                        assert_eq!(frame.map(|it| it.is_some()), fields.map(|it| it.is_some()));
                        if frame == Ok(None) {
                            break;
                        }
                    }
                }
            }
        }
    }
}
