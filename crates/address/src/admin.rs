use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::error::{AddressError, Mistake, UNIX_NAME_MAX};
use crate::{Address, ListenAddress, WELL_KNOWN_NAME};

/// What an admin socket's name has behind that of the proxy's.
const SUFFIX: &str = ".admin";

/// Where a proxy shows what it does: its admin side.
///
/// ```
/// use sspc_address::AdminAddress;
///
/// for text in ["uds:/run/ss.sock.admin", "uds:@proxy.ss.lws.admin", "http:127.0.0.1:9090"] {
///     let address: AdminAddress = text.parse()?;
///     assert_eq!(address.to_string(), text);
/// }
/// // Only programs of this machine may look.
/// assert!("http:0.0.0.0:9090".parse::<AdminAddress>().is_err());
/// # Ok::<(), sspc_address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AdminAddress {
    /// `uds:@name`: a Unix socket with an abstract name (Linux).
    Abstract(String),
    /// `uds:/path`: a Unix socket in the file system.
    Path(PathBuf),
    /// `http:127.0.0.1:port`: HTTP for browsers and collectors on this machine, at a loopback address.
    Http(SocketAddr),
}

impl AdminAddress {
    /// Beside the Unix socket where a proxy listens: its name with `.admin` behind it. `None` if that
    /// gets too long, and for addresses that are no Unix sockets.
    ///
    /// ```
    /// use sspc_address::{AdminAddress, ListenAddress};
    ///
    /// let beside = AdminAddress::beside(&"uds:/run/ss.sock".parse()?);
    /// assert_eq!(beside.unwrap().to_string(), "uds:/run/ss.sock.admin");
    /// # Ok::<(), sspc_address::AddressError>(())
    /// ```
    pub fn beside(listens: &ListenAddress) -> Option<Self> {
        match listens {
            ListenAddress::Abstract { name } => {
                let name = format!("{name}{SUFFIX}");
                (name.len() <= UNIX_NAME_MAX).then_some(Self::Abstract(name))
            }
            ListenAddress::Path { path, .. } => {
                let mut path = path.clone().into_os_string();
                path.push(SUFFIX);
                (path.len() <= UNIX_NAME_MAX).then(|| Self::Path(path.into()))
            }
            _ => None,
        }
    }

    /// The same for a client, which knows where it finds its proxy.
    pub fn beside_proxy(proxy: &Address) -> Option<Self> {
        let listens = match proxy {
            Address::Abstract(name) => ListenAddress::Abstract { name: name.clone() },
            Address::Path(path) => {
                ListenAddress::Path { path: path.clone(), mode: None, owner: None }
            }
            _ => return None,
        };
        Self::beside(&listens)
    }
}

/// `uds:@proxy.ss.lws.admin`
impl Default for AdminAddress {
    fn default() -> Self {
        Self::Abstract(format!("{WELL_KNOWN_NAME}{SUFFIX}"))
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abstract(name) => write!(f, "uds:@{name}"),
            Self::Path(path) => write!(f, "uds:{}", path.display()),
            Self::Http(address) => write!(f, "http:{address}"),
        }
    }
}

/// The loopback address behind `http:`.
pub(crate) fn parse_http(rest: &str) -> Result<SocketAddr, Mistake> {
    let address = match rest.strip_prefix("localhost:") {
        Some(port) => {
            port.parse().ok().map(|port| (IpAddr::from(Ipv4Addr::LOCALHOST), port).into())
        }
        None => rest.parse::<SocketAddr>().ok(),
    };
    match address {
        Some(address) if address.ip().is_loopback() => Ok(address),
        Some(_) => Err(Mistake::NotLoopback),
        None => Err(Mistake::Http),
    }
}

impl std::str::FromStr for AdminAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        use crate::parse::{Parsed, parse};
        use crate::place::Place;

        match parse(text, Place::Admin)? {
            Parsed::Abstract(name) => Ok(Self::Abstract(name)),
            Parsed::Path { path, .. } => Ok(Self::Path(path)),
            Parsed::Http(address) => Ok(Self::Http(address)),
            _ => Err(AddressError::kind(text, Place::Admin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_be_shown_anything() {
        for text in
            ["http:127.0.0.1:9090", "http:127.1.2.3:0", "http:[::1]:80", "http:localhost:80"]
        {
            assert!(text.parse::<AdminAddress>().is_ok(), "{text}");
        }
        for (text, why) in [
            ("http:0.0.0.0:80", "loopback"),
            ("http:192.0.2.1:80", "loopback"),
            ("http:[::]:80", "loopback"),
            ("http:example.com:80", "http:127.0.0.1:9090"),
            ("http:127.0.0.1", "http:127.0.0.1:9090"),
            ("tcp:127.0.0.1:80", "http:127.0.0.1:port"),
            ("uds:/run/x?mode=0666", "0600"),
        ] {
            let error = text.parse::<AdminAddress>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn it_is_beside_the_proxys_socket() {
        let beside = |text: &str| {
            let beside = AdminAddress::beside(&text.parse().unwrap());
            beside.map(|address| address.to_string())
        };
        assert_eq!(beside("uds:/run/x.sock?mode=0660").as_deref(), Some("uds:/run/x.sock.admin"));
        assert_eq!(beside("uds:@name").as_deref(), Some("uds:@name.admin"));
        assert_eq!(beside("tcp:127.0.0.1:80"), None);
        assert_eq!(beside(&format!("uds:/{}", "x".repeat(102))), None);
        assert_eq!(AdminAddress::beside_proxy(&Address::default()), Some(AdminAddress::default()));
    }
}
