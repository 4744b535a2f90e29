//! What both SSS decoders share: finding a frame's head, its fixed part, a name and the pieces of
//! its tail in bytes that come in any cut.

use crate::Flags;
use crate::error::{FrameError, FrameFault};
use crate::limits::{FRAME_HEAD, NAME_RECEIVED_MAX, PAYLOAD_FIXED};
use crate::piece::{PayloadHead, Piece};

pub(crate) const METADATA_TO_CLIENT: u8 = 0x59;
pub(crate) const METADATA_TO_PROXY: u8 = 0xae;

/// How the bytes behind a frame's head are laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// Exactly this many bytes.
    Fixed(u8),
    /// This many bytes, then a name to the end.
    FixedName(u8),
    /// This many bytes, then a tail of any length in pieces.
    FixedTail(u8),
    /// The fixed part of a payload, a name if the flags say so, then the payload in pieces.
    Payload,
    /// A name behind its length, then a value in pieces.
    NameValue,
}

/// What the assembler found; the typed decoders give it meaning.
pub(crate) enum Found<'d> {
    /// The fixed part of a frame without a tail.
    Fixed { frame: u8, fixed: &'d [u8] },
    /// The fixed part, and the name that ends the frame.
    Name { fixed: &'d [u8], name: &'d [u8] },
    /// A piece of the tail; the fixed part again with each.
    Tail { frame: u8, fixed: &'d [u8], piece: Piece<'d> },
    /// A piece of payload.
    Payload { head: PayloadHead, rideshare: Option<&'d [u8]>, piece: Piece<'d> },
    /// A piece of a named value.
    Value { name: &'d [u8], piece: Piece<'d> },
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Gathering the frame's head.
    Head,
    /// Gathering the fixed part, of this many bytes.
    Fixed(u8, Layout),
    /// Gathering the length byte of a name.
    NameLength,
    /// Gathering a name of this many bytes; it may end the frame or precede a tail.
    Name(u8),
    /// Passing on the tail of `total` bytes, of which `done` are gone.
    Tail { total: u16, done: u16 },
    /// Nothing more will be decoded.
    Failed(FrameError),
}

/// The fixed part that is kept while a name is gathered behind it: STREAMTYPE's 9 bytes.
const FIXED_MAX: usize = 9;

#[derive(Clone, Debug)]
pub(crate) struct Assembler {
    phase: Phase,
    frame: u8,
    /// Bytes of this frame that have not been taken from the input.
    rest: u16,
    /// Bytes in `scratch`.
    have: u8,
    head: PayloadHead,
    fixed: [u8; FIXED_MAX],
    fixed_len: u8,
    /// The length of this frame's name, which stays at the front of `scratch`.
    name_len: u8,
    scratch: [u8; NAME_RECEIVED_MAX],
}

impl Assembler {
    pub(crate) const fn new() -> Self {
        Self {
            phase: Phase::Head,
            frame: 0,
            rest: 0,
            have: 0,
            head: PayloadHead::new(Flags::NONE),
            fixed: [0; FIXED_MAX],
            fixed_len: 0,
            name_len: 0,
            scratch: [0; NAME_RECEIVED_MAX],
        }
    }

    /// True between two frames.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Head) && self.have == 0
    }

    /// The name of the frame of which a piece was found last; empty if it has none.
    pub(crate) fn name(&self) -> &[u8] {
        self.scratch.get(..usize::from(self.name_len)).unwrap_or(&[])
    }

    /// Takes bytes off the input until something is found or the input is empty.
    pub(crate) fn next<'d, 'i: 'd>(
        &'d mut self,
        input: &mut &'i [u8],
        layout_of: fn(frame: u8, rest: u16) -> Result<Layout, FrameFault>,
    ) -> Result<Option<Found<'d>>, FrameError> {
        loop {
            match self.phase {
                Phase::Failed(error) => return Err(error),
                Phase::Head => {
                    let Some(head) = self.gather(input, FRAME_HEAD as u8, false) else {
                        return Ok(None);
                    };
                    let (frame, rest) = (u8_at(head, 0), u16_at(head, 1));
                    self.frame = frame;
                    self.rest = rest;
                    self.fixed_len = 0;
                    self.name_len = 0;
                    let layout = self.check(layout_of(frame, rest))?;
                    self.phase = match layout {
                        Layout::Fixed(n) | Layout::FixedName(n) | Layout::FixedTail(n) => {
                            self.check(fits(layout, n, rest))?;
                            Phase::Fixed(n, layout)
                        }
                        Layout::Payload => {
                            self.check(fits(layout, PAYLOAD_FIXED as u8, rest))?;
                            Phase::Fixed(PAYLOAD_FIXED as u8, layout)
                        }
                        Layout::NameValue => Phase::NameLength,
                    };
                }
                Phase::Fixed(n, layout) => {
                    let Some(fixed) = self.gather(input, n, true) else { return Ok(None) };
                    if let Layout::Payload = layout {
                        self.head = PayloadHead {
                            flags: Flags::from_bits(u32_at(fixed, 0)),
                            held_us: u32_at(fixed, 4),
                            written_us: u64_at(fixed, 8),
                        };
                        self.phase = if self.head.flags.contains(Flags::RIDESHARE) {
                            Phase::NameLength
                        } else {
                            Phase::Tail { total: self.rest, done: 0 }
                        };
                        continue;
                    }
                    self.keep_fixed(n);
                    match layout {
                        Layout::FixedName(_) => {
                            let length = self.rest;
                            let n = self.check(name_length(length, NAME_RECEIVED_MAX as u16))?;
                            self.phase = Phase::Name(n);
                        }
                        Layout::FixedTail(_) => {
                            self.phase = Phase::Tail { total: self.rest, done: 0 };
                        }
                        _ => {
                            self.phase = Phase::Head;
                            let fixed = self.fixed.get(..usize::from(n)).unwrap_or(&[]);
                            return Ok(Some(Found::Fixed { frame: self.frame, fixed }));
                        }
                    }
                }
                Phase::NameLength => {
                    if self.rest == 0 {
                        let rest = self.taken_before_name();
                        return Err(self.fail(FrameFault::Length { rest }));
                    }
                    let Some(length) = self.gather(input, 1, true) else { return Ok(None) };
                    let length = u16::from(u8_at(length, 0));
                    let n = self.check(name_length(length, self.rest))?;
                    self.phase = Phase::Name(n);
                }
                Phase::Name(n) => {
                    let Some(name) = self.gather(input, n, true) else { return Ok(None) };
                    if name.contains(&0) {
                        return Err(self.fail(FrameFault::NameByte));
                    }
                    if self.fixed_len > 0 {
                        self.phase = Phase::Head;
                        let name = self.scratch.get(..usize::from(n)).unwrap_or(&[]);
                        let fixed = self.fixed.get(..usize::from(self.fixed_len)).unwrap_or(&[]);
                        return Ok(Some(Found::Name { fixed, name }));
                    }
                    self.name_len = n;
                    self.phase = Phase::Tail { total: self.rest, done: 0 };
                }
                Phase::Tail { total, done } => return Ok(self.tail(input, total, done)),
            }
        }
    }

    /// The next piece of the tail.
    fn tail<'d, 'i: 'd>(
        &'d mut self,
        input: &mut &'i [u8],
        total: u16,
        done: u16,
    ) -> Option<Found<'d>> {
        if input.is_empty() && self.rest > 0 {
            return None;
        }
        let data = split(input, usize::from(self.rest));
        let taken = data.len() as u16;
        self.rest -= taken;
        if self.rest == 0 {
            self.phase = Phase::Head;
        } else {
            self.phase = Phase::Tail { total, done: done + taken };
        }
        let piece = Piece { data, offset: done, total };
        let name = self.name();
        Some(match self.frame {
            METADATA_TO_CLIENT | METADATA_TO_PROXY => Found::Value { name, piece },
            frame if self.fixed_len > 0 || frame == crate::to_client::PERF => {
                let fixed = self.fixed.get(..usize::from(self.fixed_len)).unwrap_or(&[]);
                Found::Tail { frame, fixed, piece }
            }
            _ => {
                let rideshare = self.head.flags.contains(Flags::RIDESHARE).then_some(name);
                Found::Payload { head: self.head, rideshare, piece }
            }
        })
    }

    /// Gathers `n` bytes in scratch; `None` while some are missing. Counts them against the frame
    /// if they are part of its body.
    fn gather(&mut self, input: &mut &[u8], n: u8, of_body: bool) -> Option<&[u8]> {
        let have = usize::from(self.have);
        let missing = usize::from(n).saturating_sub(have);
        let bytes = split(input, missing);
        if let Some(room) = self.scratch.get_mut(have..have + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.have += bytes.len() as u8;
        if of_body {
            self.rest = self.rest.saturating_sub(bytes.len() as u16);
        }
        if self.have < n {
            return None;
        }
        self.have = 0;
        self.scratch.get(..usize::from(n))
    }

    /// The bytes of a frame's body in front of a name's length byte.
    const fn taken_before_name(&self) -> u16 {
        match self.frame {
            METADATA_TO_CLIENT | METADATA_TO_PROXY => 0,
            _ => PAYLOAD_FIXED as u16,
        }
    }

    fn keep_fixed(&mut self, n: u8) {
        self.fixed_len = n;
        for (kept, byte) in self.fixed.iter_mut().zip(self.scratch.iter().take(usize::from(n))) {
            *kept = *byte;
        }
    }

    fn check<T>(&mut self, result: Result<T, FrameFault>) -> Result<T, FrameError> {
        result.map_err(|fault| self.fail(fault))
    }

    pub(crate) fn fail(&mut self, fault: FrameFault) -> FrameError {
        let error = FrameError { frame: self.frame, fault };
        self.phase = Phase::Failed(error);
        error
    }
}

/// Checks `rest` against a fixed part of `n` bytes.
fn fits(layout: Layout, n: u8, rest: u16) -> Result<(), FrameFault> {
    let fits = match layout {
        Layout::Fixed(_) => rest == u16::from(n),
        _ => rest >= u16::from(n),
    };
    if fits { Ok(()) } else { Err(FrameFault::Length { rest }) }
}

fn name_length(length: u16, room: u16) -> Result<u8, FrameFault> {
    if length == 0 || length > room || usize::from(length) > NAME_RECEIVED_MAX {
        return Err(FrameFault::NameLength { length });
    }
    Ok(length as u8)
}

/// Takes up to `n` bytes off the front.
pub(crate) fn split<'i>(input: &mut &'i [u8], n: usize) -> &'i [u8] {
    let (front, back) = input.split_at_checked(n).unwrap_or((input, &[]));
    *input = back;
    front
}

pub(crate) fn u8_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or_default()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array_at(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|b| b.first_chunk::<N>()).copied().unwrap_or([0; N])
}
