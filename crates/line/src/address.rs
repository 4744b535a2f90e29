//! Which serial port, and how: `serial:/dev/ttyUSB0?baud=2000000&rtscts=1&profile=fast`.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use sspc_mux::Config;

const BAUD_DEFAULT: u32 = 115_200;
/// Below this the fast profile would take a busy line for a dead one.
const BAUD_FAST_MIN: u32 = 1_000_000;
const WRITE: &str = "write serial:/dev/ttyUSB0?baud=2000000&rtscts=1&profile=fast";

/// Which serial port, and how it is used: 8N1, raw, both ends at the same rate.
///
/// ```
/// use sspc_line::{Profile, SerialAddress};
/// let address: SerialAddress = "serial:/dev/ttyUSB0?baud=2000000&profile=fast".parse()?;
/// assert_eq!((address.baud, address.rtscts, address.profile), (2_000_000, false, Profile::Fast));
/// assert_eq!(address.to_string(), "serial:/dev/ttyUSB0?baud=2000000&profile=fast");
/// # Ok::<(), sspc_line::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SerialAddress {
    /// The device.
    pub path: PathBuf,
    /// Bits per second; 115,200 if nothing is said. Any that the driver takes.
    pub baud: u32,
    /// Flow control by the RTS and CTS wires.
    pub rtscts: bool,
    /// How the link is supervised.
    pub profile: Profile,
}

/// How the link is supervised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// As deployed peers do it: PING every 10 s, PONG within 2 s.
    #[default]
    Default,
    /// Finds a dead link within 300 ms. For lines of 1 Mbaud or more.
    Fast,
}

impl SerialAddress {
    /// A port with every setting at its default.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), baud: BAUD_DEFAULT, rtscts: false, profile: Profile::Default }
    }

    /// The mux's configuration for this line.
    pub const fn mux_config(&self) -> Config {
        match self.profile {
            Profile::Default => Config::DEFAULT.for_line(self.baud),
            Profile::Fast => Config::FAST.for_line(self.baud),
        }
    }
}

impl FromStr for SerialAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse(text).map_err(|problem| AddressError { text: text.into(), problem })
    }
}

fn parse(text: &str) -> Result<SerialAddress, Problem> {
    let rest = text.strip_prefix("serial:").ok_or(Problem::Kind)?;
    let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') {
        return Err(Problem::Path);
    }
    if path.contains('\0') {
        return Err(Problem::Nul);
    }
    let mut address = SerialAddress::new(path);
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match (key, value) {
            ("baud", digits) => match digits.parse() {
                Ok(baud) if baud > 0 => address.baud = baud,
                _ => return Err(Problem::Baud),
            },
            ("rtscts", "1") => address.rtscts = true,
            ("rtscts", "0") => address.rtscts = false,
            ("rtscts", _) => return Err(Problem::RtsCts),
            ("profile", "default") => address.profile = Profile::Default,
            ("profile", "fast") => address.profile = Profile::Fast,
            ("profile", _) => return Err(Problem::Profile),
            _ => return Err(Problem::Option { option: option.into() }),
        }
    }
    if address.profile == Profile::Fast && address.baud < BAUD_FAST_MIN {
        return Err(Problem::TooSlow { baud: address.baud });
    }
    Ok(address)
}

impl fmt::Display for SerialAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "serial:{}?baud={}", self.path.display(), self.baud)?;
        if self.rtscts {
            f.write_str("&rtscts=1")?;
        }
        match self.profile {
            Profile::Default => Ok(()),
            Profile::Fast => f.write_str("&profile=fast"),
        }
    }
}

/// A text that is no address of a serial line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Kind,
    Path,
    Nul,
    Baud,
    RtsCts,
    Profile,
    Option { option: String },
    TooSlow { baud: u32 },
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is no serial line: ", self.text.escape_debug())?;
        match &self.problem {
            Problem::Kind => f.write_str(WRITE),
            Problem::Path => write!(f, "the device needs its whole path; {WRITE}"),
            Problem::Nul => f.write_str("it holds a NUL byte"),
            Problem::Baud => f.write_str("baud must be a number of bits per second"),
            Problem::RtsCts => f.write_str("rtscts is 0 or 1"),
            Problem::Profile => f.write_str("profile is default or fast"),
            Problem::Option { option } => write!(
                f,
                "\"{}\" is none of the options baud=, rtscts= and profile=",
                option.escape_debug()
            ),
            Problem::TooSlow { baud } => write!(
                f,
                "profile=fast needs {BAUD_FAST_MIN} baud or more, this line has {baud}; add \
                 baud=2000000 if it can, or leave the profile out"
            ),
        }
    }
}

impl std::error::Error for AddressError {}

impl From<AddressError> for io::Error {
    fn from(error: AddressError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "serial:/dev/ttyUSB0?baud=115200",
            "serial:/dev/serial/by-id/a b?baud=9600&rtscts=1",
            "serial:/dev/ttyS1?baud=3000000&rtscts=1&profile=fast",
        ] {
            let address: SerialAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        let plain: SerialAddress = "serial:/dev/ttyS0".parse().unwrap();
        assert_eq!(plain, SerialAddress::new("/dev/ttyS0"));
    }

    #[test]
    fn mistakes_are_told_with_what_to_write() {
        for (text, told) in [
            ("uds:/x", "write serial:/dev/ttyUSB0"),
            ("serial:ttyUSB0", "whole path"),
            ("serial:/dev/x?baud=fast", "bits per second"),
            ("serial:/dev/x?baud=0", "bits per second"),
            ("serial:/dev/x?rtscts=yes", "0 or 1"),
            ("serial:/dev/x?profile=quick", "default or fast"),
            ("serial:/dev/x?parity=even", "none of the options"),
            ("serial:/dev/x?profile=fast", "needs 1000000 baud"),
        ] {
            let error = text.parse::<SerialAddress>().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
