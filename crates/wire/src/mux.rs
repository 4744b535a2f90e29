//! The frames of the transport mux, the same in both directions.

use core::fmt;

use crate::assemble::{split, u8_at, u16_at, u64_at};
use crate::error::EncodeError;
use crate::limits::{MUX_BODY_MAX, MUX_CONTROL_MAX};
use crate::piece::Piece;
use crate::write::Writer;

const CHANNEL_REQ: u8 = 0xf0;
const CHANNEL_ACK: u8 = 0xf1;
const CHANNEL_NACK: u8 = 0xf2;
const CHANNEL_CLOSE: u8 = 0xf3;
const CHANNEL_CLOSE_ACK: u8 = 0xf4;
const MUX: u8 = 0xf5;
const PING: u8 = 0xf6;
const PONG: u8 = 0xf7;
const PONGACK: u8 = 0xf8;
const RESET_TRANSPORT: u8 = 0xf9;

/// A frame of the mux, or a piece of a MUX frame. Channels are named by their index, 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MuxFrame<'a> {
    /// 0xf0: the sender wants to open the channel.
    ChannelReq(u8),
    /// 0xf1: the channel is open.
    ChannelAck(u8),
    /// 0xf2: the channel is refused or, if it was open, gone.
    ChannelNack(u8),
    /// 0xf3: the sender closes the channel.
    ChannelClose(u8),
    /// 0xf4: the close was seen; the index may be used again.
    ChannelCloseAck(u8),
    /// 0xf5 MUX: bytes of a channel's stream, 1 to 65,534 a frame.
    Data {
        /// The channel's index.
        channel: u8,
        /// The bytes.
        piece: Piece<'a>,
    },
    /// 0xf6: asks for a PONG.
    Ping {
        /// µs on the sender's own clock.
        sent_us: u64,
    },
    /// 0xf7: answers a PING, asks for a PONGACK.
    Pong {
        /// The time that the PING carried.
        echo_us: u64,
        /// µs on the sender's own clock.
        sent_us: u64,
    },
    /// 0xf8: answers a PONG.
    PongAck {
        /// µs since 1970 on the sender's clock.
        unix_us: u64,
    },
    /// 0xf9: the sender no longer trusts the link; all channels are closed.
    Reset,
}

impl MuxFrame<'_> {
    /// Writes the frame, or for a piece with an offset the bare bytes of it; returns the length.
    ///
    /// # Errors
    /// `out` is too short, a MUX frame's body is empty or longer than 65,534 bytes, or the piece
    /// does not lie in its body.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut to = Writer::new(out);
        match *self {
            Self::ChannelReq(channel) => to.u8(CHANNEL_REQ).u8(channel),
            Self::ChannelAck(channel) => to.u8(CHANNEL_ACK).u8(channel),
            Self::ChannelNack(channel) => to.u8(CHANNEL_NACK).u8(channel),
            Self::ChannelClose(channel) => to.u8(CHANNEL_CLOSE).u8(channel),
            Self::ChannelCloseAck(channel) => to.u8(CHANNEL_CLOSE_ACK).u8(channel),
            Self::Data { channel, piece } => {
                if !is_body(piece.total) {
                    return Err(EncodeError::TooLong);
                }
                if piece.is_first() {
                    to.u8(MUX).u8(channel).u16(piece.total);
                }
                to.piece(piece)?
            }
            Self::Ping { sent_us } => to.u8(PING).u64(sent_us),
            Self::Pong { echo_us, sent_us } => to.u8(PONG).u64(echo_us).u64(sent_us),
            Self::PongAck { unix_us } => to.u8(PONGACK).u64(unix_us),
            Self::Reset => to.u8(RESET_TRANSPORT),
        };
        to.finish()
    }
}

const fn is_body(length: u16) -> bool {
    length > 0 && length as usize <= MUX_BODY_MAX
}

/// The bytes are no frame of the mux: the decoder has lost where frames begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MuxError {
    /// No frame begins with this byte.
    NoFrame(u8),
    /// A MUX frame cannot have a body of this many bytes.
    Length(u16),
}

impl fmt::Display for MuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFrame(byte) => write!(f, "no mux frame begins with {byte:#04x}"),
            Self::Length(n) => write!(f, "a MUX frame cannot have a body of {n} bytes"),
        }
    }
}

impl core::error::Error for MuxError {}

/// Decodes mux frames from bytes in any cut.
#[derive(Clone, Debug)]
pub struct MuxDecoder {
    scratch: [u8; MUX_CONTROL_MAX],
    have: u8,
    channel: u8,
    total: u16,
    done: u16,
}

impl MuxDecoder {
    /// A decoder at the start of a frame.
    pub const fn new() -> Self {
        Self { scratch: [0; MUX_CONTROL_MAX], have: 0, channel: 0, total: 0, done: 0 }
    }

    /// Takes bytes off the front of `input` up to the end of the next frame or piece.
    ///
    /// `None` means that the input is used up; call again with more.
    ///
    /// # Errors
    /// The byte is no frame's start, or the length is none of a MUX frame. The bytes that told so
    /// are taken off the input and the decoder is at a frame's start again: what to do about lost
    /// framing is the caller's choice.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<MuxFrame<'i>>, MuxError> {
        if self.total == 0 {
            match self.head(input)? {
                Head::Partial => return Ok(None),
                Head::Control(frame) => return Ok(Some(frame)),
                Head::Body => {}
            }
        }
        if input.is_empty() {
            return Ok(None);
        }
        let data = split(input, usize::from(self.total - self.done));
        let piece = Piece { data, offset: self.done, total: self.total };
        self.done += data.len() as u16;
        if self.done == self.total {
            self.total = 0;
            self.done = 0;
        }
        Ok(Some(MuxFrame::Data { channel: self.channel, piece }))
    }

    fn head<'i>(&mut self, input: &mut &'i [u8]) -> Result<Head<'i>, MuxError> {
        if self.have == 0 {
            let Some(first) = split(input, 1).first() else { return Ok(Head::Partial) };
            if length_of(*first).is_none() {
                return Err(MuxError::NoFrame(*first));
            }
            self.scratch[0] = *first;
            self.have = 1;
        }
        let frame = self.scratch[0];
        let Some(length) = length_of(frame) else { return Err(MuxError::NoFrame(frame)) };
        let have = usize::from(self.have);
        let bytes = split(input, length.saturating_sub(have));
        if let Some(room) = self.scratch.get_mut(have..have + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.have += bytes.len() as u8;
        if usize::from(self.have) < length {
            return Ok(Head::Partial);
        }
        self.have = 0;
        let body = &self.scratch;
        let channel = u8_at(body, 1);
        Ok(Head::Control(match frame {
            CHANNEL_REQ => MuxFrame::ChannelReq(channel),
            CHANNEL_ACK => MuxFrame::ChannelAck(channel),
            CHANNEL_NACK => MuxFrame::ChannelNack(channel),
            CHANNEL_CLOSE => MuxFrame::ChannelClose(channel),
            CHANNEL_CLOSE_ACK => MuxFrame::ChannelCloseAck(channel),
            PING => MuxFrame::Ping { sent_us: u64_at(body, 1) },
            PONG => MuxFrame::Pong { echo_us: u64_at(body, 1), sent_us: u64_at(body, 9) },
            PONGACK => MuxFrame::PongAck { unix_us: u64_at(body, 1) },
            RESET_TRANSPORT => MuxFrame::Reset,
            _ => {
                let total = u16_at(body, 2);
                if !is_body(total) {
                    return Err(MuxError::Length(total));
                }
                self.channel = channel;
                self.total = total;
                self.done = 0;
                return Ok(Head::Body);
            }
        }))
    }

    /// True between two frames.
    pub const fn is_between_frames(&self) -> bool {
        self.have == 0 && self.total == 0
    }

    /// Begins again as if new, at a frame's start.
    pub const fn reset(&mut self) {
        *self = Self::new();
    }
}

enum Head<'i> {
    Partial,
    Control(MuxFrame<'i>),
    Body,
}

/// The length of a frame's fixed part by its first byte.
const fn length_of(frame: u8) -> Option<usize> {
    match frame {
        CHANNEL_REQ..=CHANNEL_CLOSE_ACK => Some(2),
        MUX => Some(4),
        PING | PONGACK => Some(9),
        PONG => Some(17),
        RESET_TRANSPORT => Some(1),
        _ => None,
    }
}

impl Default for MuxDecoder {
    fn default() -> Self {
        Self::new()
    }
}
