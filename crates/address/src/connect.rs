use std::fmt;
use std::path::PathBuf;

use crate::tls::write_host;
use crate::{NetworkAddress, SerialAddress, TlsAddress, WELL_KNOWN_NAME};

/// Where a client finds its proxy.
///
/// ```
/// use sspc_address::Address;
/// let address: Address = "tcp:localhost:7681".parse()?;
/// assert_eq!(address, Address::Tcp { host: "localhost".into(), port: 7681 });
/// assert_eq!(Address::default().to_string(), "uds:@proxy.ss.lws");
/// # Ok::<(), sspc_address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `uds:@name`: a Unix socket with an abstract name (Linux).
    Abstract(String),
    /// `uds:/path`: a Unix socket in the file system.
    Path(PathBuf),
    /// `tcp:host:port`: a connection for each stream, without TLS.
    Tcp {
        /// A name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `tcp:host:port?ca=/path[&cert=/path&key=/path]`: the same with TLS.
    Tls(Box<TlsAddress>),
    /// `serial:/dev/ttyUSB0?baud=2000000&rtscts=1&profile=fast`: a serial line, which all streams
    /// of the process that use it share.
    Serial(SerialAddress),
    /// `udp:host:port?keys=/path` or `tcp:host:port?keys=/path`: a line over a network, which all
    /// streams of the process that use it share.
    Network(NetworkAddress),
    /// A link that the program made itself; no text gives one.
    Own {
        /// What messages call it.
        name: String,
    },
}

/// `uds:@proxy.ss.lws`
impl Default for Address {
    fn default() -> Self {
        Self::Abstract(WELL_KNOWN_NAME.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abstract(name) => write!(f, "uds:@{name}"),
            Self::Path(path) => write!(f, "uds:{}", path.display()),
            Self::Tcp { host, port } => write_host(f, host, *port),
            Self::Tls(address) => address.fmt(f),
            Self::Serial(serial) => serial.fmt(f),
            Self::Network(network) => network.fmt(f),
            Self::Own { name } => f.write_str(name),
        }
    }
}
