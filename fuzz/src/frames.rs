//! Arbitrary frames.

use arbitrary::Arbitrary;
use sspc_sim::frames::Owned;
use sspc_wire::{Flags, MuxFrame, PayloadHead, State, Timeout};

/// A frame from proxy to client.
#[derive(Arbitrary, Debug)]
pub(crate) enum ToClient {
    Payload(Payload),
    CreateResult(u8, u32, Vec<u8>),
    State(u32, u32),
    TxCredit(i32),
    Metadata(Metadata),
    Perf(Vec<u8>),
}

/// A frame from client to proxy.
#[derive(Arbitrary, Debug)]
pub(crate) enum ToProxy {
    Streamtype(u8, u32, i32, Vec<u8>),
    OnwardConnect,
    Destroying,
    Payload(Payload),
    Metadata(Metadata),
    TxCredit(i32),
    Timeout(u32),
    LengthHint(u32),
    Perf(Vec<u8>),
}

/// A frame of the mux.
#[derive(Arbitrary, Debug)]
pub(crate) enum Mux {
    Req(u8),
    Ack(u8),
    Nack(u8),
    Close(u8),
    CloseAck(u8),
    Data(u8, Vec<u8>),
    Ping(u64),
    Pong(u64, u64),
    PongAck(u64),
    Reset,
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Payload {
    flags: u32,
    held_us: u32,
    written_us: u64,
    rideshare: Vec<u8>,
    data: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Metadata {
    name: Vec<u8>,
    value: Vec<u8>,
}

/// A name that can be written: the bytes without NUL, cut to the limit, `n` if there are none.
fn name(bytes: Vec<u8>, max: usize) -> Vec<u8> {
    let name: Vec<u8> = bytes.into_iter().filter(|byte| *byte != 0).take(max).collect();
    if name.is_empty() { b"n".to_vec() } else { name }
}

impl From<Payload> for Owned {
    fn from(payload: Payload) -> Self {
        let Payload { flags, held_us, written_us, rideshare, data } = payload;
        let flags = Flags::from_bits(flags);
        let rideshare = flags.contains(Flags::RIDESHARE).then(|| name(rideshare, 31));
        Self::Payload { head: PayloadHead { flags, held_us, written_us }, rideshare, data }
    }
}

impl From<Metadata> for Owned {
    fn from(Metadata { name: text, mut value }: Metadata) -> Self {
        if value.is_empty() {
            value.push(0);
        }
        Self::Metadata { name: name(text, 30), value }
    }
}

impl From<ToClient> for Owned {
    fn from(frame: ToClient) -> Self {
        match frame {
            ToClient::Payload(payload) => payload.into(),
            ToClient::CreateResult(result, client_buflen, mut list) => {
                list.truncate(127);
                Self::CreateResult { result, client_buflen, list }
            }
            ToClient::State(code, ordinal) => Self::State(State::from_code(code), ordinal),
            ToClient::TxCredit(credit) => Self::TxCredit(credit),
            ToClient::Metadata(metadata) => metadata.into(),
            ToClient::Perf(json) => Self::Perf(json),
        }
    }
}

impl From<ToProxy> for Owned {
    fn from(frame: ToProxy) -> Self {
        match frame {
            ToProxy::Streamtype(version, pid, tx_credit, text) => {
                Self::Streamtype { version, pid, tx_credit, name: name(text, 31) }
            }
            ToProxy::OnwardConnect => Self::OnwardConnect,
            ToProxy::Destroying => Self::Destroying,
            ToProxy::Payload(payload) => payload.into(),
            ToProxy::Metadata(metadata) => metadata.into(),
            ToProxy::TxCredit(credit) => Self::TxCredit(credit),
            ToProxy::Timeout(ms) => Self::Timeout(Timeout::from_wire(ms)),
            ToProxy::LengthHint(bytes) => Self::LengthHint(bytes),
            ToProxy::Perf(json) => Self::Perf(json),
        }
    }
}

impl From<Mux> for Owned {
    fn from(frame: Mux) -> Self {
        Self::Mux(match frame {
            Mux::Req(channel) => MuxFrame::ChannelReq(channel),
            Mux::Ack(channel) => MuxFrame::ChannelAck(channel),
            Mux::Nack(channel) => MuxFrame::ChannelNack(channel),
            Mux::Close(channel) => MuxFrame::ChannelClose(channel),
            Mux::CloseAck(channel) => MuxFrame::ChannelCloseAck(channel),
            Mux::Data(channel, mut data) => {
                if data.is_empty() {
                    data.push(0);
                }
                return Self::MuxData { channel, data };
            }
            Mux::Ping(sent_us) => MuxFrame::Ping { sent_us },
            Mux::Pong(echo_us, sent_us) => MuxFrame::Pong { echo_us, sent_us },
            Mux::PongAck(unix_us) => MuxFrame::PongAck { unix_us },
            Mux::Reset => MuxFrame::Reset,
        })
    }
}
