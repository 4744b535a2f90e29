//! The frames of the transport mux, the same in both directions.

use core::fmt;

use crate::assemble::{split, u64_at};
use crate::error::EncodeError;
use crate::limits::{MUX_BODY_MAX, MUX_CONTROL_MAX, MUX_HEAD};
use crate::piece::Piece;
use crate::write::Writer;
use mux_type::{
    CHANNEL_ACK, CHANNEL_CLOSE, CHANNEL_CLOSE_ACK, CHANNEL_NACK, CHANNEL_REQ, MUX, PING, PONG,
    PONGACK, RESET_TRANSPORT,
};

/// The types of the mux's frames, which are their first bytes.
pub mod mux_type {
    /// [`MuxFrame::ChannelReq`](super::MuxFrame::ChannelReq).
    pub const CHANNEL_REQ: u8 = 0xf0;
    /// [`MuxFrame::ChannelAck`](super::MuxFrame::ChannelAck).
    pub const CHANNEL_ACK: u8 = 0xf1;
    /// [`MuxFrame::ChannelNack`](super::MuxFrame::ChannelNack).
    pub const CHANNEL_NACK: u8 = 0xf2;
    /// [`MuxFrame::ChannelClose`](super::MuxFrame::ChannelClose).
    pub const CHANNEL_CLOSE: u8 = 0xf3;
    /// [`MuxFrame::ChannelCloseAck`](super::MuxFrame::ChannelCloseAck).
    pub const CHANNEL_CLOSE_ACK: u8 = 0xf4;
    /// [`MuxFrame::Data`](super::MuxFrame::Data).
    pub const MUX: u8 = 0xf5;
    /// [`MuxFrame::Ping`](super::MuxFrame::Ping).
    pub const PING: u8 = 0xf6;
    /// [`MuxFrame::Pong`](super::MuxFrame::Pong).
    pub const PONG: u8 = 0xf7;
    /// [`MuxFrame::PongAck`](super::MuxFrame::PongAck).
    pub const PONGACK: u8 = 0xf8;
    /// [`MuxFrame::Reset`](super::MuxFrame::Reset).
    pub const RESET_TRANSPORT: u8 = 0xf9;
}

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
            Self::ChannelReq(channel) => to.control(CHANNEL_REQ, channel),
            Self::ChannelAck(channel) => to.control(CHANNEL_ACK, channel),
            Self::ChannelNack(channel) => to.control(CHANNEL_NACK, channel),
            Self::ChannelClose(channel) => to.control(CHANNEL_CLOSE, channel),
            Self::ChannelCloseAck(channel) => to.control(CHANNEL_CLOSE_ACK, channel),
            Self::Data { channel, piece } => {
                if !is_body(piece.total) {
                    to.fail(EncodeError::TooLong);
                }
                if piece.is_first() {
                    to.control(MUX, channel);
                    to.u16(piece.total);
                }
                to.piece(piece);
            }
            Self::Ping { sent_us } => to.time(PING, sent_us),
            Self::Pong { echo_us, sent_us } => {
                to.time(PONG, echo_us);
                to.u64(sent_us);
            }
            Self::PongAck { unix_us } => to.time(PONGACK, unix_us),
            Self::Reset => to.u8(RESET_TRANSPORT),
        }
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
    /// A control frame, or the head of a MUX frame.
    head: [u8; MUX_CONTROL_MAX],
    /// How many bytes of it have come.
    have: u8,
    /// How many bytes of a MUX frame's body have been passed on.
    done: u16,
}

impl MuxDecoder {
    /// A decoder at the start of a frame.
    pub const fn new() -> Self {
        Self { head: [0; MUX_CONTROL_MAX], have: 0, done: 0 }
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
        let Some(piece) = self.next_piece(input)? else { return Ok(None) };
        let (channel, first_us) = (self.channel(), self.first_us());
        Ok(Some(match self.frame() {
            CHANNEL_REQ => MuxFrame::ChannelReq(channel),
            CHANNEL_ACK => MuxFrame::ChannelAck(channel),
            CHANNEL_NACK => MuxFrame::ChannelNack(channel),
            CHANNEL_CLOSE => MuxFrame::ChannelClose(channel),
            CHANNEL_CLOSE_ACK => MuxFrame::ChannelCloseAck(channel),
            MUX => MuxFrame::Data { channel, piece },
            PING => MuxFrame::Ping { sent_us: first_us },
            PONG => MuxFrame::Pong { echo_us: first_us, sent_us: self.second_us() },
            PONGACK => MuxFrame::PongAck { unix_us: first_us },
            _ => MuxFrame::Reset,
        }))
    }

    /// The same as [`next`](Self::next), for devices that have no room to make a [`MuxFrame`]: the
    /// piece alone, which is empty for all but MUX. Until the next call the methods below tell of the
    /// frame that it belongs to; what the frame has not is anything.
    ///
    /// # Errors
    /// The same.
    pub fn next_piece<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'i>>, MuxError> {
        while let Some((byte, rest)) = input.split_first() {
            let is_in_body = usize::from(self.have) == MUX_HEAD && self.frame() == MUX;
            if is_in_body {
                let (offset, total) = (self.done, self.total());
                let data = split(input, usize::from(total - offset));
                self.done += data.len() as u16;
                if self.done == total {
                    (self.have, self.done) = (0, 0);
                }
                return Ok(Some(Piece { data, offset, total }));
            }
            *input = rest;
            if let Some(room) = self.head.get_mut(usize::from(self.have)) {
                *room = *byte;
            }
            self.have += 1;
            let frame = self.frame();
            let length = length_of(frame);
            if self.have < length || frame == MUX && is_body(self.total()) {
                continue;
            }
            self.have = 0;
            if length == 0 {
                return Err(MuxError::NoFrame(frame));
            }
            if frame == MUX {
                return Err(MuxError::Length(self.total()));
            }
            return Ok(Some(Piece { data: &[], offset: 0, total: 0 }));
        }
        Ok(None)
    }

    /// The frame's type: one of [`mux_type`].
    pub const fn frame(&self) -> u8 {
        self.head[0]
    }

    /// The channel's index.
    pub const fn channel(&self) -> u8 {
        self.head[1]
    }

    /// Of a PONG the time that the PING carried; of others the only time, in µs.
    pub const fn first_us(&self) -> u64 {
        u64_at::<1, MUX_CONTROL_MAX>(&self.head)
    }

    /// Of a PONG the time by the sender's clock, in µs.
    pub const fn second_us(&self) -> u64 {
        u64_at::<9, MUX_CONTROL_MAX>(&self.head)
    }

    /// The length of a MUX frame's body.
    const fn total(&self) -> u16 {
        u16::from_be_bytes([self.head[2], self.head[3]])
    }

    /// True between two frames.
    pub const fn is_between_frames(&self) -> bool {
        self.have == 0
    }

    /// Begins again as if new, at a frame's start.
    pub const fn reset(&mut self) {
        *self = Self::new();
    }
}

/// The length of a frame by its type, a MUX frame's without its body; 0 if there is no such type.
pub(crate) fn length_of(frame: u8) -> u8 {
    const LENGTHS: [u8; 10] = [2, 2, 2, 2, 2, MUX_HEAD as u8, 9, 17, 9, 1];
    LENGTHS.get(usize::from(frame.wrapping_sub(CHANNEL_REQ))).copied().unwrap_or_default()
}

impl Default for MuxDecoder {
    fn default() -> Self {
        Self::new()
    }
}
