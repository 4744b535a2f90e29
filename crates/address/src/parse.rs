//! The grammar.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::admin::parse_http;
use crate::error::{AddressError, Mistake, UNIX_NAME_MAX};
use crate::listen::Owner;
use crate::network::{Carrier, NetworkAddress};
use crate::place::{Kind, Place};
use crate::secrecy::ForwardSecrecy;
use crate::serial::{BAUD_FAST_MIN, LineFraming, Profile, SerialAddress};
use crate::tcp_options::{self, Options};
use crate::tls::{TlsAddress, TlsListenAddress};

/// Any address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Abstract(String),
    Path { path: PathBuf, mode: Option<u32>, owner: Option<Owner> },
    Tcp { host: String, port: u16, tls_off: bool },
    ListenTls(TlsListenAddress),
    ConnectTls(TlsAddress),
    Serial(SerialAddress),
    Network(NetworkAddress),
    Pty(PathBuf),
    Http(SocketAddr),
}

/// An address of a kind that the place accepts.
pub(crate) fn parse(text: &str, place: Place) -> Result<Parsed, AddressError> {
    parse_kind(text, place).map_err(|mistake| AddressError { text: text.into(), place, mistake })
}

fn parse_kind(text: &str, place: Place) -> Result<Parsed, Mistake> {
    let (kind, rest) = text.split_once(':').ok_or(Mistake::Kind)?;
    let kind = match kind {
        "uds" => Kind::Unix,
        "tcp" => Kind::Tcp,
        "udp" => Kind::Udp,
        "serial" => Kind::Serial,
        "pty" => Kind::Pty,
        "http" => Kind::Http,
        _ => return Err(Mistake::Kind),
    };
    if !place.accepts(kind) {
        return Err(Mistake::Kind);
    }
    if rest.contains('\0') {
        return Err(Mistake::Nul);
    }
    match kind {
        Kind::Unix => match rest.strip_prefix('@') {
            Some(name) => parse_abstract(name),
            None => parse_path(rest, place),
        },
        Kind::Tcp => parse_network(rest, Carrier::Tcp, place),
        Kind::Udp => parse_network(rest, Carrier::Udp, place),
        Kind::Serial => parse_serial(rest).map(Parsed::Serial),
        Kind::Pty if rest.starts_with('/') => Ok(Parsed::Pty(rest.into())),
        Kind::Pty => Err(Mistake::RelativePty),
        Kind::Http => parse_http(rest).map(Parsed::Http),
    }
}

fn parse_abstract(name: &str) -> Result<Parsed, Mistake> {
    // This is meant to keep others out, and would not.
    if name.contains("?mode=") || name.contains("?owner=") {
        return Err(Mistake::AbstractOptions);
    }
    check_length(name)?;
    Ok(Parsed::Abstract(name.into()))
}

fn parse_path(text: &str, place: Place) -> Result<Parsed, Mistake> {
    let (path, options) = text.split_once('?').unwrap_or((text, ""));
    check_length(path)?;
    if !path.starts_with('/') {
        return Err(Mistake::RelativeSocket);
    }
    let (mut mode, mut owner) = (None, None);
    for option in options.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("mode" | "owner", _)) if place == Place::Admin => {
                return Err(Mistake::AdminMode);
            }
            Some(("mode" | "owner", _)) if !place.listens() => {
                return Err(Mistake::NotTheListener);
            }
            Some(("mode", digits)) => match u32::from_str_radix(digits, 8) {
                Ok(bits) if bits <= 0o777 => mode = Some(bits),
                _ => return Err(Mistake::Mode),
            },
            Some(("owner", names)) => owner = Some(parse_owner(names)?),
            _ => return Err(Mistake::PathOption { option: option.into() }),
        }
    }
    Ok(Parsed::Path { path: path.into(), mode, owner })
}

fn check_length(name: &str) -> Result<(), Mistake> {
    match name.len() {
        0 => Err(Mistake::NoName),
        1..=UNIX_NAME_MAX => Ok(()),
        length => Err(Mistake::NameTooLong { length }),
    }
}

fn parse_owner(names: &str) -> Result<Owner, Mistake> {
    let (user, group) = names.split_once(':').unwrap_or((names, ""));
    let given = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    match (given(user), given(group)) {
        (None, None) => Err(Mistake::Owner),
        (user, group) => Ok(Owner { user, group }),
    }
}

fn parse_network(text: &str, carrier: Carrier, place: Place) -> Result<Parsed, Mistake> {
    let (text, options) = text.split_once('?').unwrap_or((text, ""));
    let (host, port) = text.rsplit_once(':').ok_or(Mistake::NoPort { carrier })?;
    // Port 0 is any that is free.
    let least = if place.listens() { 0 } else { 1 };
    let port = match port.parse() {
        Ok(port) if port >= least => port,
        _ => return Err(Mistake::Port { least }),
    };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or(Mistake::Brackets { carrier })?,
        None if host.contains(':') => return Err(Mistake::Brackets { carrier }),
        None => host,
    };
    if host.is_empty() {
        return Err(Mistake::NoHost { carrier });
    }
    let host = host.to_owned();
    Ok(match tcp_options::parse(options, carrier, place)? {
        Options::Keys { keys, forward_secrecy } => {
            let keys = Some(keys);
            Parsed::Network(NetworkAddress { carrier, host, port, keys, forward_secrecy })
        }
        Options::ListenTls { identity, client_ca } => {
            Parsed::ListenTls(TlsListenAddress { host, port, identity, client_ca })
        }
        Options::ConnectTls { ca, identity } => {
            Parsed::ConnectTls(TlsAddress { host, port, ca, identity })
        }
        Options::Plain { .. } if carrier == Carrier::Udp => {
            Parsed::Network(NetworkAddress::new(carrier, host, port))
        }
        Options::Plain { .. } if place == Place::Line => return Err(Mistake::PlainTcp),
        Options::Plain { tls_off } => Parsed::Tcp { host, port, tls_off },
    })
}

fn parse_secrecy(word: &str) -> Result<ForwardSecrecy, Mistake> {
    ForwardSecrecy::parse(word).ok_or(Mistake::Secrecy)
}

fn parse_serial(text: &str) -> Result<SerialAddress, Mistake> {
    let (path, options) = text.split_once('?').unwrap_or((text, ""));
    if !path.starts_with('/') {
        return Err(Mistake::RelativeDevice);
    }
    let (mut address, mut forward_secrecy) = (SerialAddress::new(path), None);
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match (key, value) {
            ("baud", digits) => match digits.parse() {
                Ok(baud) if baud > 0 => address.baud = baud,
                _ => return Err(Mistake::Baud),
            },
            ("rtscts", "1") => address.rtscts = true,
            ("rtscts", "0") => address.rtscts = false,
            ("rtscts", _) => return Err(Mistake::RtsCts),
            ("profile", "default") => address.profile = Profile::Default,
            ("profile", "fast") => address.profile = Profile::Fast,
            ("profile", _) => return Err(Mistake::Profile),
            ("framing", "auto") => address.framing = LineFraming::Auto,
            ("framing", "plain") => address.framing = LineFraming::Plain,
            ("framing", "reliable") => address.framing = LineFraming::Reliable,
            ("framing", _) => return Err(Mistake::Framing),
            ("keys", path) if path.starts_with('/') => address.keys = Some(path.into()),
            ("keys", _) => return Err(Mistake::FilePath { option: "keys" }),
            ("forward_secrecy", word) => forward_secrecy = Some(parse_secrecy(word)?),
            _ => return Err(Mistake::SerialOption { option: option.into() }),
        }
    }
    if address.keys.is_none() && forward_secrecy.is_some() {
        return Err(Mistake::SecrecyWithoutKeys);
    }
    address.forward_secrecy = forward_secrecy.unwrap_or_default();
    if address.keys.is_some() && address.framing == LineFraming::Plain {
        return Err(Mistake::PlainKeys);
    }
    if address.profile == Profile::Fast && address.baud < BAUD_FAST_MIN {
        return Err(Mistake::TooSlow { baud: address.baud });
    }
    Ok(address)
}
