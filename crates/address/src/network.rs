use std::fmt;
use std::path::PathBuf;

use crate::ForwardSecrecy;

/// A line over a network: packets on which many streams share a mux, as on a serial line.
///
/// ```
/// use sspc_address::{Carrier, LineAddress};
/// let address: LineAddress = "udp:gateway:7682?keys=/etc/sspc.keys".parse()?;
/// let LineAddress::Network(network) = &address else { panic!() };
/// assert_eq!((network.carrier, network.port), (Carrier::Udp, 7682));
/// assert_eq!(address.to_string(), "udp:gateway:7682?keys=/etc/sspc.keys");
/// # Ok::<(), sspc_address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NetworkAddress {
    /// What carries the packets.
    pub carrier: Carrier,
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port; 0 takes any free one where a proxy listens.
    pub port: u16,
    /// A file of keys: packets are encrypted, and no other peer is spoken to. Needed unless the host
    /// is this machine itself.
    pub keys: Option<PathBuf>,
    /// With keys: whether they alone open what was recorded.
    pub forward_secrecy: ForwardSecrecy,
}

/// What carries the packets of a line over a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// One connection for each line.
    Tcp,
    /// Datagrams; a peer's address is a line.
    Udp,
}

impl NetworkAddress {
    /// An address without keys.
    pub fn new(carrier: Carrier, host: impl Into<String>, port: u16) -> Self {
        Self { carrier, host: host.into(), port, keys: None, forward_secrecy: ForwardSecrecy::Auto }
    }
}

impl Carrier {
    /// What an address begins with, without the colon.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for NetworkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { carrier, host, port, keys, forward_secrecy } = self;
        let word = carrier.word();
        match host.contains(':') {
            true => write!(f, "{word}:[{host}]:{port}")?,
            false => write!(f, "{word}:{host}:{port}")?,
        }
        match keys {
            Some(path) => write!(f, "?keys={}{forward_secrecy}", path.display()),
            None => Ok(()),
        }
    }
}
