//! What a client sends to its proxy.

use core::ops::RangeInclusive;

use crate::assemble::{Assembler, Frames, Layout, Then};
use crate::error::{EncodeError, FrameError};
use crate::limits::{CREDIT_UNLIMITED, PID_CREDIT_BIT, STREAMTYPE_NAME_MAX};
use crate::piece::{PayloadHead, Piece};
use crate::to_client::to_client_type::PERF;
use crate::to_client::{self, encode_metadata, encode_payload, encode_perf};
use crate::write::Writer;
use to_proxy_type::{
    DESTROYING, METADATA, ONWARD_CONNECT, PAYLOAD_LENGTH_HINT, STREAMTYPE, TIMEOUT_UPDATE,
    TX_PAYLOAD, TXCR_UPDATE,
};

/// The types of the frames from client to proxy, which are their first bytes. PERF goes both ways.
pub mod to_proxy_type {
    /// [`ToProxy::Streamtype`](super::ToProxy::Streamtype).
    pub const STREAMTYPE: u8 = 0xaa;
    /// [`ToProxy::OnwardConnect`](super::ToProxy::OnwardConnect).
    pub const ONWARD_CONNECT: u8 = 0xab;
    /// [`ToProxy::Destroying`](super::ToProxy::Destroying).
    pub const DESTROYING: u8 = 0xac;
    /// [`ToProxy::Payload`](super::ToProxy::Payload).
    pub const TX_PAYLOAD: u8 = 0xad;
    /// [`ToProxy::Metadata`](super::ToProxy::Metadata).
    pub const METADATA: u8 = 0xae;
    /// [`ToProxy::TxCredit`](super::ToProxy::TxCredit).
    pub const TXCR_UPDATE: u8 = 0xaf;
    /// [`ToProxy::Timeout`](super::ToProxy::Timeout).
    pub const TIMEOUT_UPDATE: u8 = 0xb0;
    /// [`ToProxy::LengthHint`](super::ToProxy::LengthHint).
    pub const PAYLOAD_LENGTH_HINT: u8 = 0xb1;
}

/// Without PERF, which goes both ways.
pub(crate) const TYPES: RangeInclusive<u8> = STREAMTYPE..=PAYLOAD_LENGTH_HINT;

/// 0xaa STREAMTYPE: the first frame of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streamtype<'a> {
    /// The protocol's version; [`crate::limits::VERSION`].
    pub version: u8,
    /// The client's process id, 0 on bare metal; [`PID_CREDIT_BIT`] may be set.
    pub pid: u32,
    /// Bytes of payload that the remote peer may send before more credit is given.
    pub tx_credit: i32,
    /// The streamtype's name in the policy.
    pub name: &'a [u8],
}

impl Streamtype<'_> {
    /// True if the client honours credit and takes large frames ([`PID_CREDIT_BIT`]).
    pub const fn honours_credit(&self) -> bool {
        self.pid & PID_CREDIT_BIT != 0
    }

    /// The process id without [`PID_CREDIT_BIT`].
    pub const fn process_id(&self) -> u32 {
        self.pid & !PID_CREDIT_BIT
    }

    /// True if the initial credit means that the remote peer's sending is not limited.
    pub const fn credit_is_unlimited(&self) -> bool {
        self.tx_credit >= CREDIT_UNLIMITED
    }
}

/// What TIMEOUT_UPDATE asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Start the timeout with the policy's `timeout_ms`.
    Policy,
    /// Start the timeout with this many ms.
    Millis(u32),
    /// Cancel it.
    Cancel,
}

impl Timeout {
    /// From the number on the wire.
    pub const fn from_wire(ms: u32) -> Self {
        match ms {
            0 => Self::Policy,
            u32::MAX => Self::Cancel,
            ms => Self::Millis(ms),
        }
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u32 {
        match self {
            Self::Policy => 0,
            Self::Millis(ms) => ms,
            Self::Cancel => u32::MAX,
        }
    }
}

/// A frame from client to proxy, or a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToProxy<'a> {
    /// 0xaa STREAMTYPE: names the stream.
    Streamtype(Streamtype<'a>),
    /// 0xab ONWARD_CONNECT: connect to the remote peer.
    OnwardConnect,
    /// 0xac DESTROYING: the client is done with the stream.
    Destroying,
    /// 0xad TX_PAYLOAD: payload for the remote peer.
    Payload {
        /// Flags and times of the whole frame; [`PayloadHead::flags_of`] gives those of the piece.
        head: PayloadHead,
        /// A rideshare name; deployed clients send none and proxies ignore it.
        rideshare: Option<&'a [u8]>,
        /// The payload.
        piece: Piece<'a>,
    },
    /// 0xae METADATA: a value, by the policy's name for it.
    Metadata {
        /// The policy's name.
        name: &'a [u8],
        /// The value.
        value: Piece<'a>,
    },
    /// 0xaf TXCR_UPDATE: the remote peer may send this many more bytes.
    TxCredit(i32),
    /// 0xb0 TIMEOUT_UPDATE: start or cancel the stream's timeout.
    Timeout(Timeout),
    /// 0xb1 PAYLOAD_LENGTH_HINT: how many bytes of payload the next message has.
    LengthHint(u32),
    /// 0x5b PERF: of no use in this direction, but deployed proxies take it.
    Perf(Piece<'a>),
}

impl ToProxy<'_> {
    /// Writes the frame, or for a piece with an offset the bare bytes of it; returns the length.
    ///
    /// # Errors
    /// `out` is too short, a name breaks its limit, a metadata value is empty, the body is too
    /// long for a frame, or the piece does not lie in its body.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut to = Writer::new(out);
        match *self {
            Self::Streamtype(Streamtype { version, pid, tx_credit, name }) => {
                to.head(STREAMTYPE, 9 + name.len(), 0);
                to.u8(version);
                to.u32(pid);
                to.u32(tx_credit as u32);
                to.name(name, STREAMTYPE_NAME_MAX);
            }
            Self::OnwardConnect => to.head(ONWARD_CONNECT, 0, 0),
            Self::Destroying => to.head(DESTROYING, 0, 0),
            Self::Payload { head, rideshare, piece } => {
                encode_payload(&mut to, TX_PAYLOAD, head, rideshare, piece);
            }
            Self::Metadata { name, value } => {
                encode_metadata(&mut to, METADATA, name, value);
            }
            Self::TxCredit(credit) => to.number(TXCR_UPDATE, credit as u32),
            Self::Timeout(timeout) => to.number(TIMEOUT_UPDATE, timeout.to_wire()),
            Self::LengthHint(bytes) => to.number(PAYLOAD_LENGTH_HINT, bytes),
            Self::Perf(piece) => encode_perf(&mut to, piece),
        }
        to.finish()
    }
}

const FRAMES: Frames = Frames { layout_of: layout, others: to_client::TYPES };

pub(crate) fn layout(frame: u8, _rest: u16) -> Option<Layout> {
    Some(match frame {
        STREAMTYPE => Layout::new(9, Then::Name),
        ONWARD_CONNECT | DESTROYING => Layout::new(0, Then::Nothing),
        TX_PAYLOAD => Layout::PAYLOAD,
        METADATA => Layout::new(0, Then::NameTail),
        TXCR_UPDATE | TIMEOUT_UPDATE | PAYLOAD_LENGTH_HINT => Layout::new(4, Then::Nothing),
        PERF => Layout::new(0, Then::Tail),
        _ => return None,
    })
}

/// The proxy's decoder of what a client sends.
#[derive(Clone, Debug)]
pub struct ToProxyDecoder(Assembler);

impl ToProxyDecoder {
    /// A decoder at the start of a stream.
    pub const fn new() -> Self {
        Self(Assembler::new())
    }

    /// Takes bytes off the front of `input` up to the end of the next frame or piece.
    ///
    /// `None` means that the input is used up; call again with more.
    ///
    /// # Errors
    /// The bytes are no frame of this direction. The stream is lost: the same error comes again
    /// until [`ToProxyDecoder::reset`].
    pub fn next<'d, 'i: 'd>(
        &'d mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<ToProxy<'d>>, FrameError> {
        let Some(piece) = self.0.next(input, &FRAMES)? else { return Ok(None) };
        let found = &self.0;
        Ok(Some(match found.frame() {
            STREAMTYPE => ToProxy::Streamtype(Streamtype {
                version: found.u8_at::<3>(),
                pid: found.u32_at::<4>(),
                tx_credit: found.u32_at::<8>() as i32,
                name: found.name(),
            }),
            ONWARD_CONNECT => ToProxy::OnwardConnect,
            DESTROYING => ToProxy::Destroying,
            TX_PAYLOAD => {
                let (head, rideshare) = found.payload();
                ToProxy::Payload { head, rideshare, piece }
            }
            METADATA => ToProxy::Metadata { name: found.name(), value: piece },
            TXCR_UPDATE => ToProxy::TxCredit(found.u32_at::<3>() as i32),
            TIMEOUT_UPDATE => ToProxy::Timeout(Timeout::from_wire(found.u32_at::<3>())),
            PAYLOAD_LENGTH_HINT => ToProxy::LengthHint(found.u32_at::<3>()),
            _ => ToProxy::Perf(piece),
        }))
    }

    /// True between two frames: a stream that ends here was not cut.
    pub const fn is_between_frames(&self) -> bool {
        self.0.is_idle()
    }

    /// Begins again as if new.
    pub const fn reset(&mut self) {
        self.0 = Assembler::new();
    }
}

impl Default for ToProxyDecoder {
    fn default() -> Self {
        Self::new()
    }
}
