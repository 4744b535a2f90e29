//! Any frame in any cut comes back, and any bytes do no harm.

use proptest::collection::vec;
use proptest::prelude::*;
use sspc_sim::frames::{Owned, cut, encode_all, harmless, round_trip};
use sspc_wire::{
    Flags, MuxDecoder, MuxFrame, PayloadHead, Piece, State, Timeout, ToClient, ToClientDecoder,
    ToProxyDecoder, to_client_type,
};

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

/// Asserts that the decoder tells of the frame what is in it.
fn told_of_mux(frame: MuxFrame<'_>, piece: Piece<'_>, told: &MuxDecoder) {
    let none = Piece { data: &[], offset: 0, total: 0 };
    let (kind, channel, us, data) = match frame {
        MuxFrame::ChannelReq(index) => (0xf0, Some(index), None, none),
        MuxFrame::ChannelAck(index) => (0xf1, Some(index), None, none),
        MuxFrame::ChannelNack(index) => (0xf2, Some(index), None, none),
        MuxFrame::ChannelClose(index) => (0xf3, Some(index), None, none),
        MuxFrame::ChannelCloseAck(index) => (0xf4, Some(index), None, none),
        MuxFrame::Data { channel, piece } => (0xf5, Some(channel), None, piece),
        MuxFrame::Ping { sent_us } => (0xf6, None, Some(sent_us), none),
        MuxFrame::Pong { echo_us, .. } => (0xf7, None, Some(echo_us), none),
        MuxFrame::PongAck { unix_us } => (0xf8, None, Some(unix_us), none),
        MuxFrame::Reset => (0xf9, None, None, none),
        other => panic!("a frame that the tests do not know: {other:?}"),
    };
    assert_eq!((kind, data), (told.frame(), piece));
    assert_eq!(channel.unwrap_or(told.channel()), told.channel());
    assert_eq!(us.unwrap_or(told.first_us()), told.first_us());
}

/// The same for what a proxy sends.
fn told_to_client(frame: ToClient<'_>, piece: Piece<'_>, told: &ToClientDecoder) {
    let none = Piece { data: &[], offset: 0, total: 0 };
    let (kind, body) = match frame {
        ToClient::Payload { head, rideshare, piece } => {
            assert_eq!((head.flags, rideshare.unwrap_or_default()), (told.flags(), told.name()));
            (to_client_type::RX_PAYLOAD, piece)
        }
        ToClient::CreateResult { result, client_buflen, list } => {
            assert_eq!((result, client_buflen), (told.result(), told.client_buflen()));
            (to_client_type::CREATE_RESULT, list)
        }
        ToClient::State { state, ordinal } => {
            assert_eq!((state.code(), ordinal), told.state());
            (to_client_type::CONNSTATE, none)
        }
        ToClient::TxCredit(credit) => {
            assert_eq!(credit, told.credit());
            (to_client_type::TXCR_UPDATE, none)
        }
        ToClient::Metadata { name, value } => {
            assert_eq!(name, told.name());
            (to_client_type::METADATA, value)
        }
        ToClient::Perf(json) => (to_client_type::PERF, json),
        other => panic!("a frame that the tests do not know: {other:?}"),
    };
    assert_eq!((kind, body), (told.frame(), piece));
}

/// Decodes the bytes both ways.
macro_rules! same_both_ways {
    ($decoder:ty, $bytes:expr, $sizes:expr, $told:path) => {
        let (mut one, mut other) = (<$decoder>::new(), <$decoder>::new());
        'all: for chunk in cut(&$bytes, $sizes) {
            let (mut input, mut again) = (chunk, chunk);
            loop {
                let (frame, piece) = (one.next(&mut input), other.next_piece(&mut again));
                assert_eq!(input, again, "as much is taken");
                match (frame, piece) {
                    (Ok(Some(frame)), Ok(Some(piece))) => $told(frame, piece, &other),
                    (Ok(None), Ok(None)) => break,
                    (Err(one), Err(other)) => {
                        assert_eq!(one, other);
                        break 'all;
                    }
                    (frame, piece) => panic!("{frame:?} and {piece:?}"),
                }
            }
        }
    };
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
    fn a_decoder_tells_of_a_mux_frame_what_is_in_it(
        frames in vec(mux(), 0..8),
        noise in frame_like(),
        sizes in sizes(),
    ) {
        let bytes = [encode_all::<MuxDecoder>(&frames), noise].concat();
        same_both_ways!(MuxDecoder, bytes, &sizes, told_of_mux);
    }

    #[test]
    fn a_decoder_tells_of_a_frame_to_a_client_what_is_in_it(
        frames in vec(to_client(), 0..8),
        noise in frame_like(),
        sizes in sizes(),
    ) {
        let bytes = [encode_all::<ToClientDecoder>(&frames), noise].concat();
        same_both_ways!(ToClientDecoder, bytes, &sizes, told_to_client);
    }
}
