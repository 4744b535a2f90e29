use core::fmt;

/// What the peer sent is no frame of this protocol. The stream's connection is to be dropped;
/// a decoder that returned it returns it again until it is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// The type byte of the offending frame.
    pub frame: u8,
    /// What is wrong with it.
    pub fault: FrameFault,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameFault {
    /// No frame has this type.
    UnknownType,
    /// The type belongs to the other direction.
    WrongDirection,
    /// `rest` disagrees with the frame's fixed part.
    Length {
        /// The length that the frame's head told.
        rest: u16,
    },
    /// A name is empty, or longer than the frame or the limit allows.
    NameLength {
        /// The length of the name.
        length: u16,
    },
    /// A name holds a NUL byte.
    NameByte,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frame = self.frame;
        match self.fault {
            FrameFault::UnknownType => write!(f, "unknown frame type {frame:#04x}"),
            FrameFault::WrongDirection => {
                write!(f, "frame type {frame:#04x} belongs to the other direction")
            }
            FrameFault::Length { rest } => {
                write!(f, "frame type {frame:#04x} cannot have a body of {rest} bytes")
            }
            FrameFault::NameLength { length } => {
                write!(f, "frame type {frame:#04x} carries a name of {length} bytes")
            }
            FrameFault::NameByte => {
                write!(f, "frame type {frame:#04x} carries a name with a NUL byte")
            }
        }
    }
}

impl core::error::Error for FrameError {}

/// A frame cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The output has too little room; nothing of use was written.
    NoRoom {
        /// The bytes that the frame or piece takes.
        needed: usize,
    },
    /// A name is empty, too long for deployed peers, or holds a NUL byte.
    Name,
    /// The body does not fit the 16-bit length of a frame, or is longer than deployed peers take.
    TooLong,
    /// A metadata value of 0 bytes; deployed peers hang up on it.
    EmptyValue,
    /// A piece reaches past the end of the body that it is part of.
    Piece,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom { needed } => write!(f, "the frame needs {needed} bytes of room"),
            Self::Name => f.write_str("the name is empty, too long, or holds a NUL byte"),
            Self::TooLong => f.write_str("the body is longer than one frame can carry"),
            Self::EmptyValue => f.write_str("the metadata value is empty"),
            Self::Piece => f.write_str("the piece reaches past the end of its body"),
        }
    }
}

impl core::error::Error for EncodeError {}
