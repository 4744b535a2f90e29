//! From text to what each place accepts.

use std::str::FromStr;

use crate::error::AddressError;
use crate::parse::{Parsed, parse};
use crate::place::Place;
use crate::{Address, ClientEnd, LineAddress, LineEnd, ListenAddress, ProxyEnd, SerialAddress};

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = parse(text, Place::Connect)?;
        connect(parsed).ok_or_else(|| AddressError::kind(text, Place::Connect))
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = parse(text, Place::Listen)?;
        listen(parsed).ok_or_else(|| AddressError::kind(text, Place::Listen))
    }
}

impl FromStr for SerialAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match parse(text, Place::Serial)? {
            Parsed::Serial(address) => Ok(address),
            _ => Err(AddressError::kind(text, Place::Serial)),
        }
    }
}

impl FromStr for LineAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match parse(text, Place::Line)? {
            Parsed::Serial(address) => Ok(address.into()),
            Parsed::Network(address) => Ok(address.into()),
            _ => Err(AddressError::kind(text, Place::Line)),
        }
    }
}

impl FromStr for ClientEnd {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Ok(match parse(text, Place::ClientEnd)? {
            Parsed::Pty(path) => Self::Line(LineEnd::Pty(path)),
            Parsed::Serial(serial) => Self::Line(LineEnd::Serial(serial)),
            socket => match listen(socket) {
                Some(address) => Self::Listen(address),
                None => return Err(AddressError::kind(text, Place::ClientEnd)),
            },
        })
    }
}

impl FromStr for ProxyEnd {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Ok(match parse(text, Place::ProxyEnd)? {
            Parsed::Pty(path) => Self::Line(LineEnd::Pty(path)),
            Parsed::Serial(serial) => Self::Line(LineEnd::Serial(serial)),
            socket => match connect(socket) {
                Some(address) => Self::Connect(address),
                None => return Err(AddressError::kind(text, Place::ProxyEnd)),
            },
        })
    }
}

/// `None` for an address that cannot be connected to.
fn connect(parsed: Parsed) -> Option<Address> {
    Some(match parsed {
        Parsed::Abstract(name) => Address::Abstract(name),
        Parsed::Path { path, .. } => Address::Path(path),
        Parsed::Tcp { host, port, .. } => Address::Tcp { host, port },
        Parsed::ConnectTls(address) => Address::Tls(address.into()),
        Parsed::Serial(serial) => Address::Serial(serial),
        Parsed::Network(network) => Address::Network(network),
        Parsed::ListenTls(_) | Parsed::Pty(_) | Parsed::Http(_) => return None,
    })
}

/// `None` for an address that cannot be listened at.
fn listen(parsed: Parsed) -> Option<ListenAddress> {
    Some(match parsed {
        Parsed::Abstract(name) => ListenAddress::Abstract { name },
        Parsed::Path { path, mode, owner } => ListenAddress::Path { path, mode, owner },
        Parsed::Tcp { host, port, tls_off } => ListenAddress::Tcp { host, port, tls_off },
        Parsed::ListenTls(address) => ListenAddress::Tls(address.into()),
        Parsed::Serial(serial) => ListenAddress::Serial(serial),
        Parsed::Network(network) => ListenAddress::Network(network),
        Parsed::ConnectTls(_) | Parsed::Pty(_) | Parsed::Http(_) => return None,
    })
}
