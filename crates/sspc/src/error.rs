use core::fmt;

use crate::name::NameError;

/// A metadata value that cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataError {
    /// No proxy takes the name.
    Name(NameError),
    /// The value is empty; deployed proxies hang up on that.
    EmptyValue,
    /// The value does not fit a frame.
    TooLong {
        /// The length of the value.
        length: usize,
        /// The most that fits.
        max: usize,
    },
    /// The stream's storage cannot keep it.
    NoRoom {
        /// The size of storage that could, in bytes.
        needed: usize,
        /// The size of the storage.
        size: usize,
    },
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => write!(f, "metadata cannot be set: {error}"),
            Self::EmptyValue => f.write_str("metadata cannot be set: the value is empty"),
            Self::TooLong { length, max } => {
                write!(f, "metadata cannot be set: the value has {length} bytes, of {max} at most")
            }
            Self::NoRoom { needed, size } => write!(
                f,
                "metadata cannot be set: the stream's storage has {size} bytes, {needed} are needed"
            ),
        }
    }
}

impl core::error::Error for MetadataError {}

/// The room given to `transmit` is too small; nothing was written and nothing is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// The least bytes that do.
    pub needed: usize,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to transmit takes {} bytes of room", self.needed)
    }
}

impl core::error::Error for NoRoom {}

/// Each slot of a client has a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSlot;

impl fmt::Display for NoSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no slot is free for another stream")
    }
}

impl core::error::Error for NoSlot {}
