//! What a proxy sends to its client.

use core::ops::RangeInclusive;

use crate::assemble::{Assembler, Frames, Layout, Then};
use crate::error::{EncodeError, FrameError};
use crate::flags::Flags;
use crate::limits::{METADATA_NAME_MAX, PAYLOAD_FIXED, STREAMTYPE_LIST_MAX, STREAMTYPE_NAME_MAX};
use crate::piece::{PayloadHead, Piece};
use crate::state::State;
use crate::to_proxy;
use crate::write::Writer;
use to_client_type::{CONNSTATE, CREATE_RESULT, METADATA, PERF, RX_PAYLOAD, TXCR_UPDATE};

/// The types of the frames from proxy to client, which are their first bytes.
pub mod to_client_type {
    /// [`ToClient::Payload`](super::ToClient::Payload).
    pub const RX_PAYLOAD: u8 = 0x55;
    /// [`ToClient::CreateResult`](super::ToClient::CreateResult).
    pub const CREATE_RESULT: u8 = 0x56;
    /// [`ToClient::State`](super::ToClient::State).
    pub const CONNSTATE: u8 = 0x57;
    /// [`ToClient::TxCredit`](super::ToClient::TxCredit).
    pub const TXCR_UPDATE: u8 = 0x58;
    /// [`ToClient::Metadata`](super::ToClient::Metadata).
    pub const METADATA: u8 = 0x59;
    /// [`ToClient::Perf`](super::ToClient::Perf), in both directions.
    pub const PERF: u8 = 0x5b;
}

/// PERF aside, which goes both ways.
pub(crate) const TYPES: RangeInclusive<u8> = RX_PAYLOAD..=METADATA;

/// A frame from proxy to client, or a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToClient<'a> {
    /// 0x55 RX_PAYLOAD: payload from the remote peer.
    Payload {
        /// Flags and times of the whole frame; [`PayloadHead::flags_of`] gives those of the piece.
        head: PayloadHead,
        /// The streamtype it belongs to, if not the stream's own.
        rideshare: Option<&'a [u8]>,
        /// The payload.
        piece: Piece<'a>,
    },
    /// 0x56 CREATE_RESULT: the answer to STREAMTYPE.
    CreateResult {
        /// 0 if the stream was created; any other: refused, and the proxy closes.
        result: u8,
        /// The buffer that the policy advises the client to have, in bytes; 0 for no advice.
        client_buflen: u32,
        /// The streamtype's own name and its rideshare names; see [`streamtype_names`].
        list: Piece<'a>,
    },
    /// 0x57 CONNSTATE: the stream's state changed.
    State {
        /// The new state.
        state: State,
        /// What the state says beside its name; for UNREACHABLE 1 if no DNS server answered.
        ordinal: u32,
    },
    /// 0x58 TXCR_UPDATE: this many more bytes of payload may be sent.
    TxCredit(i32),
    /// 0x59 METADATA: a value from the remote peer, by the policy's name for it.
    Metadata {
        /// The policy's name.
        name: &'a [u8],
        /// The value.
        value: Piece<'a>,
    },
    /// 0x5b PERF: JSON about the onward connection.
    Perf(Piece<'a>),
}

impl ToClient<'_> {
    /// Writes the frame, or for a piece with an offset the bare bytes of it; returns the length.
    ///
    /// # Errors
    /// `out` is too short, a name breaks its limit, a metadata value is empty, the body is too
    /// long for a frame, or the piece does not lie in its body.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut to = Writer::new(out);
        match *self {
            Self::Payload { head, rideshare, piece } => {
                encode_payload(&mut to, RX_PAYLOAD, head, rideshare, piece);
            }
            Self::CreateResult { result, client_buflen, list } => {
                if usize::from(list.total) > STREAMTYPE_LIST_MAX {
                    to.fail(EncodeError::TooLong);
                }
                if list.is_first() {
                    to.head(CREATE_RESULT, 5, list.total);
                    to.u8(result);
                    to.u32(client_buflen);
                }
                to.piece(list);
            }
            Self::State { state, ordinal } => {
                if let Ok(code) = u8::try_from(state.code()) {
                    to.head(CONNSTATE, 5, 0);
                    to.u8(code);
                } else {
                    to.head(CONNSTATE, 8, 0);
                    to.u32(state.code());
                }
                to.u32(ordinal);
            }
            Self::TxCredit(credit) => to.number(TXCR_UPDATE, credit as u32),
            Self::Metadata { name, value } => {
                encode_metadata(&mut to, METADATA, name, value);
            }
            Self::Perf(piece) => encode_perf(&mut to, piece),
        }
        to.finish()
    }
}

pub(crate) fn encode_payload(
    to: &mut Writer<'_>,
    frame: u8,
    head: PayloadHead,
    rideshare: Option<&[u8]>,
    piece: Piece<'_>,
) {
    if piece.is_first() {
        let tag = rideshare.map_or(0, |name| 1 + name.len());
        let mut flags = head.flags.without(Flags::RIDESHARE);
        if rideshare.is_some() {
            flags |= Flags::RIDESHARE;
        }
        to.head(frame, PAYLOAD_FIXED + tag, piece.total);
        to.u32(flags.bits());
        to.u32(head.held_us);
        to.u64(head.written_us);
        if let Some(name) = rideshare {
            to.u8(name.len() as u8);
            to.name(name, STREAMTYPE_NAME_MAX);
        }
    }
    to.piece(piece);
}

pub(crate) fn encode_metadata(to: &mut Writer<'_>, frame: u8, name: &[u8], value: Piece<'_>) {
    if value.total == 0 {
        to.fail(EncodeError::EmptyValue);
    }
    if value.is_first() {
        to.head(frame, 1 + name.len(), value.total);
        to.u8(name.len() as u8);
        to.name(name, METADATA_NAME_MAX);
    }
    to.piece(value);
}

pub(crate) fn encode_perf(to: &mut Writer<'_>, piece: Piece<'_>) {
    if piece.is_first() {
        to.head(PERF, 0, piece.total);
    }
    to.piece(piece);
}

const FRAMES: Frames = Frames { layout_of: layout, others: to_proxy::TYPES };

/// By the frames' types, from the lowest on. CONNSTATE has a longer one too.
const LAYOUTS: [Option<Layout>; 7] = [
    Some(Layout::PAYLOAD),
    Some(Layout::new(5, Then::Tail)),
    Some(Layout::new(5, Then::Nothing)),
    Some(Layout::new(4, Then::Nothing)),
    Some(Layout::new(0, Then::NameTail)),
    None,
    Some(Layout::new(0, Then::Tail)),
];

pub(crate) fn layout(frame: u8, rest: u16) -> Option<Layout> {
    if frame == CONNSTATE && rest == 8 {
        return Some(Layout::new(8, Then::Nothing));
    }
    *LAYOUTS.get(usize::from(frame.wrapping_sub(RX_PAYLOAD)))?
}

/// The client's decoder of what its proxy sends.
#[derive(Clone, Debug)]
pub struct ToClientDecoder(Assembler);

impl ToClientDecoder {
    /// A decoder at the start of a stream.
    pub const fn new() -> Self {
        Self(Assembler::new())
    }

    /// One to be [reset](Self::reset) before it is used, in whose memory all is zero.
    pub const fn vacant() -> Self {
        Self(Assembler::vacant())
    }

    /// Takes bytes off the front of `input` up to the end of the next frame or piece.
    ///
    /// `None` means that the input is used up; call again with more.
    ///
    /// # Errors
    /// The bytes are no frame of this direction. The stream is lost: the same error comes again
    /// until [`ToClientDecoder::reset`].
    pub fn next<'d, 'i: 'd>(
        &'d mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<ToClient<'d>>, FrameError> {
        let Some(piece) = self.next_piece(input)? else { return Ok(None) };
        Ok(Some(match self.frame() {
            RX_PAYLOAD => {
                let (head, rideshare) = self.0.payload();
                ToClient::Payload { head, rideshare, piece }
            }
            CREATE_RESULT => ToClient::CreateResult {
                result: self.result(),
                client_buflen: self.client_buflen(),
                list: piece,
            },
            CONNSTATE => {
                let (code, ordinal) = self.state();
                ToClient::State { state: State::from_code(code), ordinal }
            }
            TXCR_UPDATE => ToClient::TxCredit(self.credit()),
            METADATA => ToClient::Metadata { name: self.name(), value: piece },
            _ => ToClient::Perf(piece),
        }))
    }

    /// The same as [`next`](Self::next), for devices that have no room to make a [`ToClient`]: the
    /// piece alone, which is empty if the frame has none. Until the next call the methods below tell
    /// of the frame that it belongs to.
    ///
    /// # Errors
    /// The same.
    pub fn next_piece<'i>(
        &mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Piece<'i>>, FrameError> {
        self.0.next(input, &FRAMES)
    }

    /// The frame's type: one of [`to_client_type`].
    pub const fn frame(&self) -> u8 {
        self.0.frame()
    }

    /// The flags of RX_PAYLOAD, all of the frame's.
    pub const fn flags(&self) -> Flags {
        self.0.flags()
    }

    /// The result in CREATE_RESULT.
    pub const fn result(&self) -> u8 {
        self.0.u8_at::<3>()
    }

    /// The size of a buffer in CREATE_RESULT, in bytes; 0 for none.
    pub const fn client_buflen(&self) -> u32 {
        self.0.u32_at::<4>()
    }

    /// The [number](State::from_code) of the state in CONNSTATE, and what it says beside its name.
    pub const fn state(&self) -> (u32, u32) {
        match self.0.rest() {
            5 => (self.0.u8_at::<3>() as u32, self.0.u32_at::<4>()),
            _ => (self.0.u32_at::<3>(), self.0.u32_at::<7>()),
        }
    }

    /// The credit in TXCR_UPDATE.
    pub const fn credit(&self) -> i32 {
        self.0.u32_at::<3>() as i32
    }

    /// The name in the frame of the piece that came last: a metadata's, or a payload's rideshare;
    /// empty if it has none. It stays until the next call, for those who let go of the piece.
    pub fn name(&self) -> &[u8] {
        self.0.name()
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

impl Default for ToClientDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The names in CREATE_RESULT's list, which deployed proxies begin with a comma.
pub fn streamtype_names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').filter(|name| !name.is_empty())
}
