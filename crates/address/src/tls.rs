use std::fmt;
use std::path::PathBuf;

/// Where a proxy listens with TLS: `tcp:host:port?cert=/path&key=/path[&client_ca=/path]`.
///
/// ```
/// use sspc_address::ListenAddress;
/// let text = "tcp:[::]:7681?cert=/etc/sspc/proxy.crt&key=/etc/sspc/proxy.key";
/// let ListenAddress::Tls(address) = text.parse()? else { panic!() };
/// assert_eq!((address.port, &address.client_ca), (7681, &None));
/// # Ok::<(), sspc_address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsListenAddress {
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// The port; 0 takes any free one.
    pub port: u16,
    /// What the proxy shows its clients.
    pub identity: TlsIdentity,
    /// A file of certificates: a client has to show a certificate that one of these has issued.
    /// `None` serves clients without one.
    pub client_ca: Option<PathBuf>,
}

/// Where a client finds a proxy that listens with TLS: `tcp:host:port?ca=/path[&cert=/path&key=/path]`.
///
/// ```
/// use sspc_address::Address;
/// let Address::Tls(address) = "tcp:gateway:7681?ca=/etc/ca.crt".parse()? else { panic!() };
/// assert_eq!((address.host.as_str(), &address.identity), ("gateway", &None));
/// # Ok::<(), sspc_address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsAddress {
    /// A name, an IPv4 address, or an IPv6 address without brackets. The proxy's certificate has to
    /// be for it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// A file of certificates, one of which has issued the proxy's.
    pub ca: PathBuf,
    /// What the client shows a proxy that asks for a certificate.
    pub identity: Option<TlsIdentity>,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsIdentity {
    /// The certificate, and behind it those that lead to its issuer.
    pub cert: PathBuf,
    /// The private key, which is not encrypted.
    pub key: PathBuf,
}

/// A host and a port, with the brackets of IPv6.
pub(crate) fn write_host(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    match host.contains(':') {
        true => write!(f, "tcp:[{host}]:{port}"),
        false => write!(f, "tcp:{host}:{port}"),
    }
}

impl fmt::Display for TlsListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(f, &self.host, self.port)?;
        write!(f, "?{}", self.identity)?;
        match &self.client_ca {
            Some(path) => write!(f, "&client_ca={}", path.display()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for TlsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(f, &self.host, self.port)?;
        write!(f, "?ca={}", self.ca.display())?;
        match &self.identity {
            Some(identity) => write!(f, "&{identity}"),
            None => Ok(()),
        }
    }
}

/// The two options of an address.
impl fmt::Display for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cert={}&key={}", self.cert.display(), self.key.display())
    }
}
