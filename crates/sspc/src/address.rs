//! Where a proxy listens.

use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;
use std::string::{String, ToString};

use sspc_line::SerialAddress;

/// The abstract name at which proxies listen when nothing else is said.
const DEFAULT_NAME: &str = "proxy.ss.lws";
/// The longest path or name of a Unix socket, in bytes.
const UNIX_MAX: usize = 107;

/// Where a proxy listens.
///
/// ```
/// use sspc::Address;
/// let address: Address = "tcp:localhost:7681".parse()?;
/// assert_eq!(address, Address::Tcp { host: "localhost".into(), port: 7681 });
/// assert_eq!(Address::default().to_string(), "uds:@proxy.ss.lws");
/// # Ok::<(), sspc::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// `uds:@name`: a Unix socket with an abstract name (Linux).
    Abstract(String),
    /// `uds:/path`: a Unix socket in the file system.
    Path(PathBuf),
    /// `tcp:host:port`.
    Tcp {
        /// A name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `serial:/dev/ttyUSB0?baud=2000000&rtscts=1&profile=fast`: a serial line, which all streams
    /// of the process that use it share.
    Serial(SerialAddress),
    /// A link that the program made itself; no text gives one.
    Own {
        /// By which name it is told of.
        name: String,
    },
}

/// `uds:@proxy.ss.lws`
impl Default for Address {
    fn default() -> Self {
        Self::Abstract(DEFAULT_NAME.into())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError { text: text.into(), problem };
        let (kind, rest) = text.split_once(':').ok_or_else(|| wrong(Problem::NoKind))?;
        match kind {
            "uds" => {
                let name = rest.strip_prefix('@');
                let length = name.unwrap_or(rest).len();
                if length == 0 {
                    return Err(wrong(Problem::NoName));
                }
                if length > UNIX_MAX || name.is_none() && !rest.starts_with('/') {
                    return Err(wrong(match length > UNIX_MAX {
                        true => Problem::TooLong { length },
                        false => Problem::Relative,
                    }));
                }
                if rest.contains('\0') {
                    return Err(wrong(Problem::Nul));
                }
                Ok(match name {
                    Some(name) => Self::Abstract(name.into()),
                    None => Self::Path(rest.into()),
                })
            }
            "tcp" => {
                let (host, port) = rest.rsplit_once(':').ok_or_else(|| wrong(Problem::NoPort))?;
                let port = match port.parse::<u16>() {
                    Ok(port) if port > 0 => port,
                    _ => return Err(wrong(Problem::Port)),
                };
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                if bare.is_none() && host.contains(':') {
                    return Err(wrong(Problem::Brackets));
                }
                match bare.unwrap_or(host) {
                    "" => Err(wrong(Problem::NoHost)),
                    host => Ok(Self::Tcp { host: host.into(), port }),
                }
            }
            "serial" => match text.parse() {
                Ok(serial) => Ok(Self::Serial(serial)),
                Err(error) => Err(wrong(Problem::Serial(error))),
            },
            _ => Err(wrong(Problem::Kind)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abstract(name) => write!(f, "uds:@{name}"),
            Self::Path(path) => write!(f, "uds:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
            Self::Serial(serial) => serial.fmt(f),
            Self::Own { name } => f.write_str(name),
        }
    }
}

/// A text that is no address of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    NoKind,
    Kind,
    NoName,
    Relative,
    TooLong { length: usize },
    Nul,
    NoPort,
    Port,
    Brackets,
    NoHost,
    Serial(sspc_line::AddressError),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Problem::Serial(error) = &self.problem {
            return error.fmt(f);
        }
        write!(f, "\"{}\" is no address: ", self.text.escape_debug())?;
        match &self.problem {
            Problem::NoKind | Problem::Kind => {
                f.write_str("write uds:@name, uds:/path, tcp:host:port or serial:/dev/name")
            }
            Problem::NoName => f.write_str("a name or path is missing after uds:"),
            Problem::Relative => f.write_str(
                "write uds:/path with an absolute path, or uds:@name for an abstract name",
            ),
            Problem::TooLong { length } => {
                write!(f, "a Unix socket's name has at most {UNIX_MAX} bytes, this one {length}")
            }
            Problem::Nul => f.write_str("it holds a NUL byte"),
            Problem::NoPort => f.write_str("the port is missing; write tcp:host:port"),
            Problem::Port => f.write_str("the port must be a number from 1 to 65535"),
            Problem::Brackets => f.write_str("write an IPv6 address in brackets: tcp:[::1]:7681"),
            Problem::NoHost => f.write_str("the host is missing; write tcp:host:port"),
            Problem::Serial(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for AddressError {}

impl From<AddressError> for std::io::Error {
    fn from(error: AddressError) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error.to_string())
    }
}
