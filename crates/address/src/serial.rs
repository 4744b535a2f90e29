use std::fmt;
use std::path::PathBuf;

use crate::ForwardSecrecy;

const BAUD_DEFAULT: u32 = 115_200;
/// Below this the fast profile would take a busy line for a dead one.
pub(crate) const BAUD_FAST_MIN: u32 = 1_000_000;

/// Which serial port, and how it is used: 8N1, raw, both ends at the same rate.
///
/// ```
/// use sspc_address::{Profile, SerialAddress};
/// let address: SerialAddress = "serial:/dev/ttyUSB0?baud=2000000&profile=fast".parse()?;
/// assert_eq!((address.baud, address.rtscts, address.profile), (2_000_000, false, Profile::Fast));
/// assert_eq!(address.to_string(), "serial:/dev/ttyUSB0?baud=2000000&profile=fast");
/// # Ok::<(), sspc_address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SerialAddress {
    /// The device.
    pub path: PathBuf,
    /// Bits per second; 115,200 by default. Any that the driver takes.
    pub baud: u32,
    /// Flow control by the RTS and CTS wires.
    pub rtscts: bool,
    /// How the link is supervised.
    pub profile: Profile,
    /// How bytes are put on the line.
    pub framing: LineFraming,
    /// A file of keys: packets are encrypted, and no other peer is spoken to.
    pub keys: Option<PathBuf>,
    /// With keys: whether they alone open what was recorded.
    pub forward_secrecy: ForwardSecrecy,
}

/// How the link is supervised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// As deployed peers do it: PING every 10 s, PONG within 2 s.
    #[default]
    Default,
    /// Finds a dead link within 300 ms. For lines of 1 Mbaud or more.
    Fast,
}

/// How bytes are put on a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LineFraming {
    /// In packets that lose nothing with a peer that knows them, plain with any other.
    #[default]
    Auto,
    /// Plain, as deployed peers do it: what the line does to a byte is not noticed.
    Plain,
    /// In packets alone: a peer that does not know them is refused.
    Reliable,
}

impl SerialAddress {
    /// A port with every setting at its default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            baud: BAUD_DEFAULT,
            rtscts: false,
            profile: Profile::Default,
            framing: LineFraming::Auto,
            keys: None,
            forward_secrecy: ForwardSecrecy::Auto,
        }
    }
}

impl fmt::Display for SerialAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "serial:{}?baud={}", self.path.display(), self.baud)?;
        if self.rtscts {
            f.write_str("&rtscts=1")?;
        }
        match self.profile {
            Profile::Default => {}
            Profile::Fast => f.write_str("&profile=fast")?,
        }
        match self.framing {
            LineFraming::Auto => {}
            LineFraming::Plain => f.write_str("&framing=plain")?,
            LineFraming::Reliable => f.write_str("&framing=reliable")?,
        }
        match &self.keys {
            Some(path) => write!(f, "&keys={}{}", path.display(), self.forward_secrecy),
            None => Ok(()),
        }
    }
}
