//! The two ends of a tap, which stands between a client and a proxy.

use std::fmt;
use std::path::PathBuf;

use crate::{Address, ListenAddress, SerialAddress};

/// The end where the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEnd {
    /// The client is at a serial line.
    Line(LineEnd),
    /// Clients connect here.
    Listen(ListenAddress),
}

/// The end where the proxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyEnd {
    /// The proxy is at a serial line.
    Line(LineEnd),
    /// The proxy is connected to.
    Connect(Address),
}

/// An end of a serial line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// `pty:/path`: a pseudo-terminal, to be opened at this path.
    Pty(PathBuf),
    /// `serial:/dev/name`: a port.
    Serial(SerialAddress),
}

impl fmt::Display for LineEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pty(path) => write!(f, "pty:{}", path.display()),
            Self::Serial(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for ClientEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => line.fmt(f),
            Self::Listen(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for ProxyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => line.fmt(f),
            Self::Connect(address) => address.fmt(f),
        }
    }
}
