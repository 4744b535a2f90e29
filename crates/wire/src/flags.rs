use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign};

/// The flags of a payload (u32 on the wire). Unknown bits are kept.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(u32);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Start of a message.
    pub const SOM: Self = Self(0x01);
    /// End of a message.
    pub const EOM: Self = Self(0x02);
    /// No real transmission; poll for rx if the protocol needs it.
    pub const POLL: Self = Self(0x04);
    /// A group of related messages begins; on a payload of 0 bytes.
    pub const RELATED_START: Self = Self(0x08);
    /// A group of related messages ends; on a payload of 0 bytes.
    pub const RELATED_END: Self = Self(0x10);
    /// The payload frame carries a rideshare name.
    pub const RIDESHARE: Self = Self(0x20);
    /// This rx is performance JSON, out of band of the normal payload.
    pub const PERF_JSON: Self = Self(0x40);
    /// One message that is whole: [`Flags::SOM`] and [`Flags::EOM`].
    pub const WHOLE: Self = Self(0x03);

    /// The flags with these bits, known or not.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits as on the wire.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// True if every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags, less those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Flags {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

const NAMES: [(Flags, &str); 7] = [
    (Flags::SOM, "SOM"),
    (Flags::EOM, "EOM"),
    (Flags::POLL, "POLL"),
    (Flags::RELATED_START, "RELATED_START"),
    (Flags::RELATED_END, "RELATED_END"),
    (Flags::RIDESHARE, "RIDESHARE"),
    (Flags::PERF_JSON, "PERF_JSON"),
];

/// The names of the flags, joined by `|`; unknown bits in hex; `0` for none.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = *self;
        let mut first = true;
        for (flag, name) in NAMES {
            if rest.contains(flag) {
                f.write_str(if first { "" } else { "|" })?;
                f.write_str(name)?;
                rest = rest.without(flag);
                first = false;
            }
        }
        match (rest.0, first) {
            (0, true) => f.write_str("0"),
            (0, false) => Ok(()),
            (bits, true) => write!(f, "{bits:#x}"),
            (bits, false) => write!(f, "|{bits:#x}"),
        }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
