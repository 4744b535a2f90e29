use crate::Flags;

/// A run of bytes out of a longer body whose total length the frame's head told.
///
/// Decoders borrow it from the input, and never yield an empty one of a body that is not empty.
/// Encoders write the frame's head in front of a piece whose offset is 0, and the bare bytes of any
/// other, so that a body can be passed on as it comes. A piece of 0 bytes at offset 0 writes the
/// head alone, for those who write the body's bytes by other means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The bytes.
    pub data: &'a [u8],
    /// How many bytes of the body came before these.
    pub offset: u16,
    /// The length of the whole body.
    pub total: u16,
}

impl<'a> Piece<'a> {
    /// A body in one piece, or `None` if it is longer than 65,535 bytes.
    pub const fn whole(data: &'a [u8]) -> Option<Self> {
        if data.len() > u16::MAX as usize {
            return None;
        }
        Some(Self { data, offset: 0, total: data.len() as u16 })
    }

    /// True for the piece that begins the body.
    pub const fn is_first(&self) -> bool {
        self.offset == 0
    }

    /// True for the piece that ends the body.
    pub const fn is_last(&self) -> bool {
        self.offset as usize + self.data.len() >= self.total as usize
    }

    /// True if this one piece is the whole body.
    pub const fn is_whole(&self) -> bool {
        self.is_first() && self.is_last()
    }
}

/// The fixed part of RX_PAYLOAD and TX_PAYLOAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PayloadHead {
    /// The flags of the whole frame.
    pub flags: Flags,
    /// µs for which the sender held the payload.
    pub held_us: u32,
    /// µs on the sender's own clock when it wrote the payload; only differences mean something.
    pub written_us: u64,
}

impl PayloadHead {
    /// A head with flags and no times.
    pub const fn new(flags: Flags) -> Self {
        Self { flags, held_us: 0, written_us: 0 }
    }

    /// The flags that one piece of the frame carries: what marks a start on the first piece alone,
    /// what marks an end on the last alone.
    pub const fn flags_of(&self, piece: &Piece<'_>) -> Flags {
        const STARTS: u32 = Flags::SOM.bits() | Flags::POLL.bits() | Flags::RELATED_START.bits();
        const ENDS: u32 = Flags::EOM.bits() | Flags::RELATED_END.bits();
        let mut flags = self.flags.bits() & !Flags::RIDESHARE.bits();
        if !piece.is_first() {
            flags &= !STARTS;
        }
        if !piece.is_last() {
            flags &= !ENDS;
        }
        Flags::from_bits(flags)
    }
}
