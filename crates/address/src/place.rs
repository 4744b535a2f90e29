//! Who takes an address, and which kinds of it.

use crate::network::Carrier;

/// Who takes the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Connect,
    Listen,
    Serial,
    Line,
    ClientEnd,
    ProxyEnd,
    Admin,
}

impl Place {
    /// What an address for this place is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "proxy address",
            Self::Listen => "listen address",
            Self::Serial => "serial address",
            Self::Line => "line",
            Self::ClientEnd | Self::ProxyEnd => "end of a tap",
            Self::Admin => "admin address",
        }
    }

    /// What can be written here.
    pub(crate) const fn forms(self) -> &'static str {
        match self {
            Self::Connect | Self::Listen => {
                "uds:@name, uds:/path, tcp:host:port, serial:/dev/name or udp:host:port"
            }
            Self::Serial => "serial:/dev/ttyUSB0?baud=2000000&rtscts=1&profile=fast",
            Self::Line => "serial:/dev/name, udp:host:port?keys=/path or tcp:host:port?keys=/path",
            Self::Admin => "uds:@name, uds:/path or http:127.0.0.1:port",
            Self::ClientEnd | Self::ProxyEnd => {
                "pty:/path, serial:/dev/name, uds:@name, uds:/path or tcp:host:port"
            }
        }
    }

    pub(crate) const fn accepts(self, kind: Kind) -> bool {
        match kind {
            Kind::Serial => !matches!(self, Self::Admin),
            Kind::Unix => !matches!(self, Self::Serial | Self::Line),
            Kind::Tcp => !matches!(self, Self::Serial | Self::Admin),
            Kind::Http => matches!(self, Self::Admin),
            Kind::Udp => matches!(self, Self::Connect | Self::Listen | Self::Line),
            Kind::Pty => matches!(self, Self::ClientEnd | Self::ProxyEnd),
        }
    }

    /// What may stand behind a port here.
    pub(crate) const fn options(self, carrier: Carrier) -> &'static str {
        match (self, carrier) {
            (Self::ClientEnd, _) => "there is tls=off",
            (Self::ProxyEnd, _) => "there are none",
            (Self::Listen, Carrier::Tcp) => {
                "there are cert=, key= and client_ca= for TLS, tls=off, and keys= and \
                 forward_secrecy= for a line"
            }
            (Self::Connect, Carrier::Tcp) => {
                "there are ca=, cert= and key= for TLS, and keys= and forward_secrecy= for a line"
            }
            _ => "there are keys= and forward_secrecy=",
        }
    }

    /// True for the ends of a tap, which passes bytes on and has no key.
    pub(crate) const fn is_tap(self) -> bool {
        matches!(self, Self::ClientEnd | Self::ProxyEnd)
    }

    /// True where a socket is made, false where one that others made is connected to.
    pub(crate) const fn listens(self) -> bool {
        matches!(self, Self::Listen | Self::ClientEnd)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Unix,
    Tcp,
    Udp,
    Serial,
    Pty,
    Http,
}
