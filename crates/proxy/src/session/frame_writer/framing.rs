//! How payload is cut into frames: what each kind of client can take.
//!
//! A deployed client reads its link in pieces of up to 2048 bytes. Payload that does not come in one
//! read is handed to its application in parts, each with all the flags of its frame, so that a
//! message seems to begin or to end twice. Two ways keep it from that:
//!
//! - Where the link tells when the client has read everything, as Unix sockets do, what is written
//!   at once is so little that one read takes it: [`FramingMode::OneRead`]. A read that has just
//!   taken everything and goes on may take what is written then, too: so parts of longer messages
//!   are so short that two of them fit into one read.
//! - Where it does not, a payload that carries SOM or EOM is one byte long, because that cannot be
//!   parted, unless the message fits into one frame: [`FramingMode::OneByteEnds`]. The last byte of
//!   what came is held back until it is known whether the message ends there.
//!
//! In both the beginning of a message is held back as long as the message may fit into one frame.
//! Nothing is held back for longer than [`HOLD_MAX`].

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use sspc_wire::Flags;
use sspc_wire::limits::{PAYLOAD_LARGE, PAYLOAD_SAFE};
use tokio::time::Instant;

use crate::session::link::LinkKind;

/// How long payload is held back at the most for the rest of its message.
pub(super) const HOLD_MAX: Duration = Duration::from_millis(100);
/// What a deployed client reads at once, in bytes.
const CLIENT_READ: usize = 2048;
/// So much of a write that another one fits into the same read.
const HALF_READ: usize = CLIENT_READ / 2;

/// How frames are cut and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramingMode {
    /// For every deployed client, on a link that tells when it has read everything: little payload
    /// a frame, and not more a write than one of its reads takes.
    OneRead,
    /// For every deployed client, on any other link: little payload a frame, and one byte where a
    /// message of several frames begins and ends.
    OneByteEnds,
    /// For clients that announced that they take it, on a narrow link: little payload a frame, so
    /// that none holds the link for long.
    Small,
    /// For such clients on a wide link: large frames, many a write.
    Large,
}

impl FramingMode {
    pub(crate) const fn of(honours_credit: bool, link: LinkKind) -> Self {
        match (honours_credit, link.is_narrow, link.tells_when_read) {
            (false, _, true) => Self::OneRead,
            (false, _, false) => Self::OneByteEnds,
            (true, true, _) => Self::Small,
            (true, false, _) => Self::Large,
        }
    }

    pub(super) const fn payload_max(self) -> usize {
        match self {
            Self::OneRead | Self::OneByteEnds | Self::Small => PAYLOAD_SAFE,
            Self::Large => PAYLOAD_LARGE,
        }
    }

    /// The most payload of a frame that is part of a message.
    const fn part_max(self) -> usize {
        match self {
            Self::OneRead => HALF_READ - super::HEAD_MAX,
            mode => mode.payload_max(),
        }
    }

    /// Most frames of one write, and most bytes; a single frame may be longer.
    pub(super) const fn write_max(self) -> (usize, usize) {
        match self {
            Self::OneRead => (super::SLICES_MAX / 2, HALF_READ),
            Self::OneByteEnds => (1, usize::MAX),
            Self::Small => (4, usize::MAX),
            Self::Large => (super::SLICES_MAX / 2, usize::MAX),
        }
    }
}

pub(super) const STARTS: Flags = Flags::from_bits(Flags::SOM.bits() | Flags::RELATED_START.bits());
pub(super) const ENDS: Flags = Flags::from_bits(Flags::EOM.bits() | Flags::RELATED_END.bits());

/// True if any of `wanted` is set.
pub(super) fn has(flags: Flags, wanted: Flags) -> bool {
    flags & wanted != Flags::NONE
}

/// Payload that is in no frame yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) bytes: Bytes,
    pub(super) flags: Flags,
    /// Since when its first byte waits.
    pub(super) since: Instant,
}

impl Pending {
    /// Adds payload behind.
    pub(super) fn join(&mut self, bytes: &Bytes, flags: Flags) {
        if self.bytes.is_empty() {
            self.bytes = bytes.clone();
        } else if !bytes.is_empty() {
            let mut joined = BytesMut::with_capacity(self.bytes.len() + bytes.len());
            joined.put_slice(&self.bytes);
            joined.put_slice(bytes);
            self.bytes = joined.freeze();
        }
        self.flags |= flags;
    }
}

/// Decides where payload is cut.
#[derive(Debug)]
pub(super) struct Cutter {
    mode: FramingMode,
    /// A message has begun in an earlier frame and not ended.
    in_message: bool,
    /// The client was sent a payload of 0 bytes: it loses all but the last part of any frame that
    /// it reads in parts from here on.
    after_empty: bool,
}

/// The next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Of so many bytes, or of fewer.
    UpTo(usize),
    /// Of exactly so many, or, if the credit does not allow that, of one.
    Whole(usize),
    /// None before more comes, or time has passed.
    Hold,
}

impl Cutter {
    pub(super) const fn new(mode: FramingMode) -> Self {
        Self { mode, in_message: false, after_empty: false }
    }

    /// The next frame of what is pending. `is_due`: it was held back long enough.
    pub(super) fn next(&self, pending: &Pending, is_due: bool) -> Cut {
        let length = pending.bytes.len();
        let max = self.payload_max();
        let starts = has(pending.flags, STARTS);
        let ends = has(pending.flags, ENDS);
        let fits = length <= max;
        let is_partial = starts && !ends && fits;
        let holds = match self.mode {
            FramingMode::OneRead => is_partial && !is_due && length > 0,
            FramingMode::OneByteEnds => is_partial && (!is_due || length == 0),
            FramingMode::Small | FramingMode::Large => false,
        };
        if holds {
            // It may yet be a message of one frame.
            return Cut::Hold;
        }
        if self.mode != FramingMode::OneByteEnds || !(starts || ends || self.in_message) {
            let max = if starts && ends && fits { max } else { self.mode.part_max() };
            return Cut::UpTo(length.min(max));
        }
        match (starts, ends) {
            (true, true) if fits => Cut::Whole(length),
            (true, _) => Cut::UpTo(1),
            (false, true) if length <= 1 => Cut::UpTo(length),
            (false, true) => Cut::UpTo((length - 1).min(max)),
            (false, false) if is_due && length > 0 => Cut::UpTo(length.min(max)),
            (false, false) if length > 1 => Cut::UpTo((length - 1).min(max)),
            (false, false) => Cut::Hold,
        }
    }

    /// A frame of so many bytes with these flags is made.
    pub(super) fn made(&mut self, length: usize, flags: Flags) {
        if has(flags, STARTS) {
            self.in_message = true;
        }
        if has(flags, ENDS) {
            self.in_message = false;
        }
        self.after_empty |= length == 0;
    }

    /// A connection is gone: what it left unfinished is not gone on with.
    pub(super) fn reset(&mut self) {
        self.in_message = false;
    }

    /// The most payload of a frame to which more is joined.
    pub(super) fn join_max(&self) -> usize {
        self.payload_max().min(self.mode.part_max())
    }

    fn payload_max(&self) -> usize {
        match self.mode {
            FramingMode::OneByteEnds if self.after_empty => 1,
            mode => mode.payload_max(),
        }
    }
}
