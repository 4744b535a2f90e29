//! What a proxy sends to its client.

use crate::assemble::{Assembler, Found, Layout, METADATA_TO_CLIENT, u8_at, u32_at};
use crate::error::{EncodeError, FrameError, FrameFault};
use crate::limits::{METADATA_NAME_MAX, STREAMTYPE_LIST_MAX, STREAMTYPE_NAME_MAX};
use crate::piece::{PayloadHead, Piece};
use crate::state::State;
use crate::to_proxy;
use crate::write::{Writer, checked_name, checked_rest};

const RX_PAYLOAD: u8 = 0x55;
const CREATE_RESULT: u8 = 0x56;
const CONNSTATE: u8 = 0x57;
const TXCR_UPDATE: u8 = 0x58;
pub(crate) const PERF: u8 = 0x5b;

pub(crate) const TYPES: [u8; 6] =
    [RX_PAYLOAD, CREATE_RESULT, CONNSTATE, TXCR_UPDATE, METADATA_TO_CLIENT, PERF];

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
                encode_payload(&mut to, RX_PAYLOAD, head, rideshare, piece)?;
            }
            Self::CreateResult { result, client_buflen, list } => {
                if usize::from(list.total) > STREAMTYPE_LIST_MAX {
                    return Err(EncodeError::TooLong);
                }
                if list.is_first() {
                    to.u8(CREATE_RESULT).u16(checked_rest(5, list.total)?);
                    to.u8(result).u32(client_buflen);
                }
                to.piece(list)?;
            }
            Self::State { state, ordinal } => {
                to.u8(CONNSTATE);
                match u8::try_from(state.code()) {
                    Ok(code) => to.u16(5).u8(code),
                    Err(_) => to.u16(8).u32(state.code()),
                };
                to.u32(ordinal);
            }
            Self::TxCredit(credit) => {
                to.u8(TXCR_UPDATE).u16(4).u32(credit as u32);
            }
            Self::Metadata { name, value } => {
                encode_metadata(&mut to, METADATA_TO_CLIENT, name, value)?;
            }
            Self::Perf(piece) => encode_perf(&mut to, piece)?,
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
) -> Result<(), EncodeError> {
    use crate::Flags;
    if piece.is_first() {
        let name = rideshare.unwrap_or_default();
        let (flags, tag) = match rideshare {
            Some(name) => {
                let length = checked_name(name, STREAMTYPE_NAME_MAX)?;
                (head.flags | Flags::RIDESHARE, Some(length))
            }
            None => (head.flags.without(Flags::RIDESHARE), None),
        };
        let fixed = crate::limits::PAYLOAD_FIXED + tag.map_or(0, |n| 1 + usize::from(n));
        to.u8(frame).u16(checked_rest(fixed, piece.total)?);
        to.u32(flags.bits()).u32(head.held_us).u64(head.written_us);
        if let Some(length) = tag {
            to.u8(length).bytes(name);
        }
    }
    to.piece(piece)?;
    Ok(())
}

pub(crate) fn encode_metadata(
    to: &mut Writer<'_>,
    frame: u8,
    name: &[u8],
    value: Piece<'_>,
) -> Result<(), EncodeError> {
    if value.total == 0 {
        return Err(EncodeError::EmptyValue);
    }
    if value.is_first() {
        let length = checked_name(name, METADATA_NAME_MAX)?;
        to.u8(frame).u16(checked_rest(1 + name.len(), value.total)?).u8(length).bytes(name);
    }
    to.piece(value)?;
    Ok(())
}

pub(crate) fn encode_perf(to: &mut Writer<'_>, piece: Piece<'_>) -> Result<(), EncodeError> {
    if piece.is_first() {
        to.u8(PERF).u16(piece.total);
    }
    to.piece(piece)?;
    Ok(())
}

fn layout(frame: u8, rest: u16) -> Result<Layout, FrameFault> {
    match frame {
        RX_PAYLOAD => Ok(Layout::Payload),
        CREATE_RESULT => Ok(Layout::FixedTail(5)),
        CONNSTATE if rest == 8 => Ok(Layout::Fixed(8)),
        CONNSTATE => Ok(Layout::Fixed(5)),
        TXCR_UPDATE => Ok(Layout::Fixed(4)),
        METADATA_TO_CLIENT => Ok(Layout::NameValue),
        PERF => Ok(Layout::FixedTail(0)),
        other if to_proxy::TYPES.contains(&other) => Err(FrameFault::WrongDirection),
        _ => Err(FrameFault::UnknownType),
    }
}

/// The client's decoder of what its proxy sends.
#[derive(Clone, Debug)]
pub struct ToClientDecoder(Assembler);

impl ToClientDecoder {
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
    /// until [`ToClientDecoder::reset`].
    pub fn next<'d, 'i: 'd>(
        &'d mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<ToClient<'d>>, FrameError> {
        let Some(found) = self.0.next(input, layout)? else { return Ok(None) };
        Ok(Some(match found {
            Found::Payload { head, rideshare, piece } => {
                ToClient::Payload { head, rideshare, piece }
            }
            Found::Value { name, piece } => ToClient::Metadata { name, value: piece },
            Found::Fixed { frame: CONNSTATE, fixed } => {
                let code = match fixed.len() {
                    5 => u32::from(u8_at(fixed, 0)),
                    _ => u32_at(fixed, 0),
                };
                let ordinal = u32_at(fixed, fixed.len().saturating_sub(4));
                ToClient::State { state: State::from_code(code), ordinal }
            }
            Found::Fixed { fixed, .. } | Found::Name { fixed, .. } => {
                ToClient::TxCredit(u32_at(fixed, 0) as i32)
            }
            Found::Tail { frame: CREATE_RESULT, fixed, piece } => ToClient::CreateResult {
                result: u8_at(fixed, 0),
                client_buflen: u32_at(fixed, 1),
                list: piece,
            },
            Found::Tail { piece, .. } => ToClient::Perf(piece),
        }))
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
