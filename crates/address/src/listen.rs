use std::fmt;
use std::path::PathBuf;

use crate::tls::write_host;
use crate::{NetworkAddress, SerialAddress, TlsListenAddress, WELL_KNOWN_NAME};

/// An address that a proxy can listen at.
///
/// ```
/// use sspc_address::ListenAddress;
///
/// for text in [
///     "uds:@proxy.ss.lws",
///     "uds:/run/ss?mode=0660&owner=root:ss",
///     "tcp:[::1]:7681",
///     "tcp:[::]:7681?cert=/etc/sspc/proxy.crt&key=/etc/sspc/proxy.key",
///     "serial:/dev/ttyUSB0?baud=2000000&profile=fast",
///     "udp:[::]:7682?keys=/etc/sspc.keys",
/// ] {
///     let address: ListenAddress = text.parse()?;
///     assert_eq!(address.to_string(), text);
/// }
/// # Ok::<(), sspc_address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `uds:@name`: a socket of Linux' abstract namespace; gone with its process.
    Abstract {
        /// The name behind the `@`.
        name: String,
    },
    /// `uds:/path[?mode=0660&owner=user[:group]]`: a socket file.
    Path {
        /// Where it is.
        path: PathBuf,
        /// Its permission bits; 0660 if `None`.
        mode: Option<u32>,
        /// Whose it is, as names or numbers; the process's own if `None`.
        owner: Option<Owner>,
    },
    /// `tcp:host:port[?tls=off]`: port 0 takes any free one.
    Tcp {
        /// A name or an address, without the brackets of IPv6.
        host: String,
        /// The port.
        port: u16,
        /// Whether the address may be another than this machine's loopback although there is no
        /// TLS: everyone on the way reads and changes what passes.
        tls_off: bool,
    },
    /// `tcp:host:port?cert=/path&key=/path[&client_ca=/path]`: TLS over TCP.
    Tls(Box<TlsListenAddress>),
    /// `serial:/dev/ttyUSB0?baud=2000000&rtscts=1&profile=fast`: a serial port, where the streams
    /// of a client share one line.
    Serial(SerialAddress),
    /// `udp:host:port?keys=/path` or `tcp:host:port?keys=/path`: lines over a network, one for each
    /// peer, where the streams of a client share its line. Port 0 takes any free one.
    Network(NetworkAddress),
}

/// The owner of a socket file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Name or number of the user; unchanged if `None`.
    pub user: Option<String>,
    /// Name or number of the group; unchanged if `None`.
    pub group: Option<String>,
}

impl ListenAddress {
    /// Where deployed clients look for their proxy on Linux: `uds:@proxy.ss.lws`.
    pub fn well_known() -> Self {
        Self::Abstract { name: WELL_KNOWN_NAME.to_owned() }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abstract { name } => write!(f, "uds:@{name}"),
            Self::Path { path, mode, owner } => {
                write!(f, "uds:{}", path.display())?;
                let mut mark = '?';
                if let Some(mode) = mode {
                    write!(f, "{mark}mode={mode:04o}")?;
                    mark = '&';
                }
                if let Some(owner) = owner {
                    write!(f, "{mark}owner={owner}")?;
                }
                Ok(())
            }
            Self::Tcp { host, port, tls_off } => {
                write_host(f, host, *port)?;
                if *tls_off { f.write_str("?tls=off") } else { Ok(()) }
            }
            Self::Tls(address) => address.fmt(f),
            Self::Serial(address) => address.fmt(f),
            Self::Network(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.user.as_deref().unwrap_or_default())?;
        match &self.group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}
