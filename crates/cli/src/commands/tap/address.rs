//! The two ends of a tap, as text.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sspc::Address;
use sspc_line::SerialAddress;
use sspc_proxy::ListenAddress;

/// Where the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientSide {
    Line(LineAddress),
    /// Clients connect here.
    Listen(ListenAddress),
}

/// Where the proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProxySide {
    Line(LineAddress),
    /// It is connected to.
    Connect(Address),
}

/// An end of a serial line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LineAddress {
    /// A pseudo-terminal, to be opened by this name.
    Pty(PathBuf),
    /// A real port.
    Serial(SerialAddress),
}

impl LineAddress {
    /// What begins as the address of a line; `None` for all else.
    fn parse(text: &str) -> Option<Result<Self, String>> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "pty" if !rest.starts_with('/') => {
                Some(Err("write pty: with an absolute path, such as pty:/tmp/device".to_owned()))
            }
            "pty" if rest.contains('\0') => Some(Err("the path holds a NUL byte".to_owned())),
            "pty" => Some(Ok(Self::Pty(rest.into()))),
            "serial" => Some(text.parse().map(Self::Serial).map_err(|error| format!("{error}"))),
            _ => None,
        }
    }
}

/// What to write instead of something that is no kind of address at all.
fn check_kind(text: &str) -> Result<(), String> {
    match text.split_once(':') {
        Some(("uds" | "tcp", _)) => Ok(()),
        _ => Err("write pty:/path, serial:/dev/ttyX?baud=115200, uds:@name, uds:/path or \
                  tcp:host:port"
            .to_owned()),
    }
}

impl FromStr for ClientSide {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(line) = LineAddress::parse(text) {
            return line.map(Self::Line);
        }
        check_kind(text)?;
        text.parse().map(Self::Listen).map_err(|error| format!("{error}"))
    }
}

impl FromStr for ProxySide {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(line) = LineAddress::parse(text) {
            return line.map(Self::Line);
        }
        check_kind(text)?;
        text.parse().map(Self::Connect).map_err(|error| format!("{error}"))
    }
}

impl fmt::Display for LineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pty(path) => write!(f, "pty:{}", path.display()),
            Self::Serial(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for ClientSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => line.fmt(f),
            Self::Listen(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for ProxySide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => line.fmt(f),
            Self::Connect(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_they_were_written() {
        let lines = ["pty:/tmp/a", "serial:/dev/ttyUSB0?baud=115200"];
        for text in lines.into_iter().chain(["uds:@tap", "uds:/run/tap", "tcp:127.0.0.1:7681"]) {
            assert_eq!(text.parse::<ClientSide>().unwrap().to_string(), text);
            assert_eq!(text.parse::<ProxySide>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_free_port_can_be_listened_at_and_not_connected_to() {
        assert!("tcp:127.0.0.1:0".parse::<ClientSide>().is_ok());
        assert!("tcp:127.0.0.1:0".parse::<ProxySide>().is_err());
    }

    #[test]
    fn what_is_no_address_says_what_to_write() {
        for wrong in ["", "pty", "pty:", "pty:relative", "serial:ttyUSB0", "udp:x", "/dev/ttyS0"] {
            let client = wrong.parse::<ClientSide>().unwrap_err();
            assert_eq!(wrong.parse::<ProxySide>().unwrap_err(), client);
            assert!(client.contains("write "), "{client}");
        }
    }
}
