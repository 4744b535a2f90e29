use std::fmt;
use std::path::Path;

use crate::{Address, ForwardSecrecy, NetworkAddress, SerialAddress};

/// What a line, on which many streams share a mux, runs over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LineAddress {
    /// `serial:/dev/ttyUSB0?baud=2000000`: a serial port.
    Serial(SerialAddress),
    /// `udp:host:port?keys=/path` or `tcp:host:port?keys=/path`.
    Network(NetworkAddress),
}

impl From<SerialAddress> for LineAddress {
    fn from(address: SerialAddress) -> Self {
        Self::Serial(address)
    }
}

impl From<&SerialAddress> for LineAddress {
    fn from(address: &SerialAddress) -> Self {
        Self::Serial(address.clone())
    }
}

impl From<NetworkAddress> for LineAddress {
    fn from(address: NetworkAddress) -> Self {
        Self::Network(address)
    }
}

impl From<&LineAddress> for LineAddress {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

impl LineAddress {
    /// Whether keys alone open what was recorded.
    pub fn forward_secrecy(&self) -> ForwardSecrecy {
        match self {
            Self::Serial(address) => address.forward_secrecy,
            Self::Network(address) => address.forward_secrecy,
        }
    }

    /// The file of keys, if packets are to be encrypted.
    pub fn keys(&self) -> Option<&Path> {
        match self {
            Self::Serial(address) => address.keys.as_deref(),
            Self::Network(address) => address.keys.as_deref(),
        }
    }
}

impl Address {
    /// The line that streams share, if it is one.
    pub fn line(&self) -> Option<LineAddress> {
        match self {
            Self::Serial(address) => Some(address.into()),
            Self::Network(address) => Some(address.clone().into()),
            Self::Abstract(_)
            | Self::Path(_)
            | Self::Tcp { .. }
            | Self::Tls(_)
            | Self::Own { .. } => None,
        }
    }
}

impl fmt::Display for LineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(address) => address.fmt(f),
            Self::Network(address) => address.fmt(f),
        }
    }
}
