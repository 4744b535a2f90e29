//! What both SSS decoders share: finding a frame's head, its fixed part, a name and the pieces of
//! its tail in bytes that come in any cut.
//!
//! All that stands in front of the tail is gathered in one place, byte by byte; the tail is passed
//! on as it comes. A frame without a tail has an empty one.

use core::ops::RangeInclusive;

use crate::Flags;
use crate::error::{FrameError, FrameFault};
use crate::limits::{FRAME_HEAD, NAME_RECEIVED_MAX, PAYLOAD_FIXED};
use crate::piece::{PayloadHead, Piece};
use crate::write::has_nul;

/// What the bytes behind a frame's fixed part are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// There are none.
    Nothing,
    /// A name to the end.
    Name,
    /// A tail of any length.
    Tail,
    /// A name behind its length, then a tail.
    NameTail,
    /// A payload: the same if the flags tell of a name, or else a tail.
    Payload,
}

/// How the bytes behind a frame's head are laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The length of the fixed part.
    fixed: u8,
    then: Then,
}

impl Layout {
    pub(crate) const PAYLOAD: Self = Self::new(PAYLOAD_FIXED as u8, Then::Payload);

    pub(crate) const fn new(fixed: u8, then: Then) -> Self {
        Self { fixed, then }
    }

    /// The length of what is in front of names, values and payload; a payload's without the
    /// length of a rideshare name.
    #[cfg(feature = "view")]
    pub(crate) fn fields(self) -> usize {
        usize::from(self.fixed) + usize::from(self.then == Then::NameTail)
    }
}

/// The frames of one direction.
pub(crate) struct Frames {
    /// The layout of a frame by its type and `rest`, if there is such a frame.
    pub(crate) layout_of: fn(frame: u8, rest: u16) -> Option<Layout>,
    /// The types of the other direction.
    pub(crate) others: RangeInclusive<u8>,
}

impl Frames {
    /// What is wrong with a type that is none of this direction.
    fn unknown(&self, frame: u8) -> FrameFault {
        if self.others.contains(&frame) {
            FrameFault::WrongDirection
        } else {
            FrameFault::UnknownType
        }
    }
}

/// The most bytes in front of a tail: the head, a payload's fixed part, and a name with its length.
const PREFIX_MAX: usize = FRAME_HEAD + PAYLOAD_FIXED + 1 + NAME_RECEIVED_MAX;

/// What is complete when all bytes that are needed have been gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The frame, or none has begun.
    Frame,
    Head,
    Fixed(Then),
    NameLength,
    Name,
    /// All in front of the tail.
    Prefix,
}

#[derive(Clone, Debug)]
pub(crate) struct Assembler {
    /// All of the frame in front of its tail.
    prefix: [u8; PREFIX_MAX],
    /// How many bytes of it have come.
    have: u8,
    /// How many of them are needed, as far as that is known.
    need: u8,
    /// The length of the name, which ends the prefix.
    name_len: u8,
    stage: Stage,
    /// Bytes of the tail that have been passed on.
    done: u16,
}

impl Assembler {
    pub(crate) const fn new() -> Self {
        Self {
            prefix: [0; PREFIX_MAX],
            have: 0,
            need: 0,
            name_len: 0,
            stage: Stage::Frame,
            done: 0,
        }
    }

    /// One that is all zeros. Reset it before you use it.
    pub(crate) const fn vacant() -> Self {
        Self { stage: Stage::Fixed(Then::Nothing), ..Self::new() }
    }

    /// True between two frames.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Frame) || self.have == 0
    }

    /// The name of the frame of which a piece was found last; empty if it has none.
    pub(crate) fn name(&self) -> &[u8] {
        let end = usize::from(self.have).min(PREFIX_MAX);
        let len = usize::from(self.name_len).min(end);
        &self.prefix[end - len..end]
    }

    /// The type of the frame of which a piece was found last, as those below.
    pub(crate) const fn frame(&self) -> u8 {
        self.prefix[0]
    }

    /// `rest` in the frame's head.
    pub(crate) const fn rest(&self) -> u16 {
        u16::from_be_bytes([self.prefix[1], self.prefix[2]])
    }

    /// A byte of the frame, counted from its type.
    pub(crate) const fn u8_at<const AT: usize>(&self) -> u8 {
        self.prefix[AT]
    }

    /// A number in the frame, counted the same way.
    pub(crate) const fn u32_at<const AT: usize>(&self) -> u32 {
        u32_at::<AT>(&self.prefix)
    }

    /// The flags of a payload, which tell of a name too.
    pub(crate) const fn flags(&self) -> Flags {
        Flags::from_bits(self.u32_at::<FRAME_HEAD>())
    }

    /// The fixed part of a payload, and its rideshare name.
    pub(crate) fn payload(&self) -> (PayloadHead, Option<&[u8]>) {
        let flags = self.flags();
        let (held_us, written_us) = (self.u32_at::<7>(), u64_at::<11, PREFIX_MAX>(&self.prefix));
        let head = PayloadHead { flags, held_us, written_us };
        (head, flags.contains(Flags::RIDESHARE).then(|| self.name()))
    }

    /// Takes bytes off the input until a piece of a tail is found or the input is empty; a frame
    /// without a tail has an empty one. What failed once fails again, since nothing is taken and
    /// nothing changes then.
    pub(crate) fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        frames: &Frames,
    ) -> Result<Option<Piece<'i>>, FrameError> {
        while self.stage != Stage::Prefix {
            if self.have < self.need {
                let Some((byte, rest)) = input.split_first() else { return Ok(None) };
                *input = rest;
                if let Some(room) = self.prefix.get_mut(usize::from(self.have)) {
                    *room = *byte;
                }
                self.have += 1;
            } else if let Err(fault) = self.advance(frames) {
                return Err(FrameError { frame: self.frame(), fault });
            }
        }
        Ok(self.tail(input))
    }

    /// A part of the prefix is complete: what comes next, and how long is it?
    // Shorter as a function of its own, as is `tail`.
    #[inline(never)]
    fn advance(&mut self, frames: &Frames) -> Result<(), FrameFault> {
        let (rest, left) = (self.rest(), self.left());
        let (length, next) = match self.stage {
            Stage::Frame => {
                (self.have, self.need, self.name_len) = (0, 0, 0);
                (FRAME_HEAD as u8, Stage::Head)
            }
            Stage::Head => {
                let Some(Layout { fixed, then }) = (frames.layout_of)(self.frame(), rest) else {
                    return Err(frames.unknown(self.frame()));
                };
                let is_all = then == Then::Nothing;
                if rest < u16::from(fixed) || is_all && rest > u16::from(fixed) {
                    return Err(FrameFault::Length { rest });
                }
                (fixed, Stage::Fixed(then))
            }
            Stage::Fixed(Then::NameTail) if left == 0 => {
                return Err(FrameFault::Length { rest });
            }
            Stage::Fixed(Then::NameTail) => (1, Stage::NameLength),
            Stage::Fixed(Then::Payload) if self.flags().contains(Flags::RIDESHARE) => {
                (0, Stage::Fixed(Then::NameTail))
            }
            Stage::Fixed(Then::Name) | Stage::NameLength => {
                let mut length = left;
                if self.stage == Stage::NameLength {
                    let last = self.prefix.get(usize::from(self.have).wrapping_sub(1));
                    length = u16::from(last.copied().unwrap_or_default());
                }
                if length == 0 || length > left || usize::from(length) > NAME_RECEIVED_MAX {
                    return Err(FrameFault::NameLength { length });
                }
                self.name_len = length as u8;
                (self.name_len, Stage::Name)
            }
            Stage::Name if has_nul(self.name()) => return Err(FrameFault::NameByte),
            Stage::Fixed(_) | Stage::Name | Stage::Prefix => (0, Stage::Prefix),
        };
        self.need += length;
        self.stage = next;
        Ok(())
    }

    /// How many bytes of the frame follow those gathered.
    const fn left(&self) -> u16 {
        // Never less than 0: each part of the prefix was checked against it.
        self.rest().wrapping_sub(self.have as u16).wrapping_add(FRAME_HEAD as u16)
    }

    /// The next piece of the tail.
    #[inline(never)]
    fn tail<'i>(&mut self, input: &mut &'i [u8]) -> Option<Piece<'i>> {
        let (total, offset) = (self.left(), self.done);
        let left = usize::from(total - offset);
        if input.is_empty() && left > 0 {
            return None;
        }
        let data = split(input, left);
        self.done += data.len() as u16;
        if self.done == total {
            self.done = 0;
            self.stage = Stage::Frame;
        }
        Some(Piece { data, offset, total })
    }
}

/// A number at a place that is known to lie in the bytes, so that nothing is left to be checked.
const fn u32_at<const AT: usize>(bytes: &[u8; PREFIX_MAX]) -> u32 {
    u32::from_be_bytes([bytes[AT], bytes[AT + 1], bytes[AT + 2], bytes[AT + 3]])
}

/// The same.
pub(crate) const fn u64_at<const AT: usize, const N: usize>(bytes: &[u8; N]) -> u64 {
    let b = bytes;
    let (high, low) =
        ([b[AT], b[AT + 1], b[AT + 2], b[AT + 3]], [b[AT + 4], b[AT + 5], b[AT + 6], b[AT + 7]]);
    (u32::from_be_bytes(high) as u64) << 32 | u32::from_be_bytes(low) as u64
}

/// Takes up to `n` bytes off the front.
pub(crate) fn split<'i>(input: &mut &'i [u8], n: usize) -> &'i [u8] {
    let (front, back) = input.split_at(n.min(input.len()));
    *input = back;
    front
}
