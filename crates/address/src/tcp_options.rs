//! What stands behind the port of a `tcp:` or `udp:` address.

use std::path::PathBuf;

use crate::error::Mistake;
use crate::network::Carrier;
use crate::place::Place;
use crate::secrecy::ForwardSecrecy;
use crate::tls::TlsIdentity;

/// The options as they are written.
#[derive(Default)]
struct Given {
    keys: Option<PathBuf>,
    forward_secrecy: Option<ForwardSecrecy>,
    ca: Option<PathBuf>,
    client_ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    tls_off: bool,
}

/// What they say.
pub(crate) enum Options {
    /// Nothing; or, where a proxy listens, `tls=off`.
    Plain { tls_off: bool },
    /// A line's keys.
    Keys { keys: PathBuf, forward_secrecy: ForwardSecrecy },
    /// The listener's side of TLS.
    ListenTls { identity: TlsIdentity, client_ca: Option<PathBuf> },
    /// The client's side of TLS.
    ConnectTls { ca: PathBuf, identity: Option<TlsIdentity> },
}

pub(crate) fn parse(text: &str, carrier: Carrier, place: Place) -> Result<Options, Mistake> {
    let has_tls = carrier == Carrier::Tcp && place != Place::Line;
    let mut given = Given::default();
    for option in text.split('&').filter(|option| !option.is_empty()) {
        let unknown = || Mistake::NetworkOption { carrier, option: option.into() };
        let (name, value) = option.split_once('=').ok_or_else(unknown)?;
        match name {
            "keys" if place.is_tap() => return Err(Mistake::KeysOfTap),
            "keys" => given.keys = Some(path("keys", value)?),
            "forward_secrecy" => {
                let parsed = ForwardSecrecy::parse(value).ok_or(Mistake::Secrecy)?;
                given.forward_secrecy = Some(parsed);
            }
            "ca" | "client_ca" | "cert" | "key" if has_tls && place.is_tap() => {
                return Err(Mistake::TlsOfTap);
            }
            "ca" if has_tls && place.listens() => return Err(Mistake::CaOfListener),
            "ca" if has_tls => given.ca = Some(path("ca", value)?),
            "client_ca" if has_tls && !place.listens() => return Err(Mistake::ClientCaOfClient),
            "client_ca" if has_tls => given.client_ca = Some(path("client_ca", value)?),
            "cert" if has_tls => given.cert = Some(path("cert", value)?),
            "key" if has_tls => given.key = Some(path("key", value)?),
            "tls" if has_tls && !place.listens() => return Err(Mistake::TlsOffOfClient),
            "tls" if has_tls && value == "off" => given.tls_off = true,
            "tls" if has_tls => return Err(Mistake::Tls),
            _ => return Err(unknown()),
        }
    }
    given.check(place)
}

/// A file, which the program may open from any folder.
fn path(option: &'static str, value: &str) -> Result<PathBuf, Mistake> {
    match value.starts_with('/') {
        true => Ok(value.into()),
        false => Err(Mistake::FilePath { option }),
    }
}

impl Given {
    fn check(self, place: Place) -> Result<Options, Mistake> {
        let Self { keys, forward_secrecy, ca, client_ca, cert, key, tls_off } = self;
        let wants_tls = [&ca, &client_ca, &cert, &key].into_iter().any(Option::is_some);
        if tls_off && (wants_tls || keys.is_some()) {
            return Err(Mistake::TlsOffAndOn);
        }
        if let Some(keys) = keys {
            return match wants_tls {
                true => Err(Mistake::KeysAndTls),
                false => {
                    Ok(Options::Keys { keys, forward_secrecy: forward_secrecy.unwrap_or_default() })
                }
            };
        }
        if forward_secrecy.is_some() {
            return Err(Mistake::SecrecyWithoutKeys);
        }
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some(TlsIdentity { cert, key }),
            (None, None) => None,
            _ => return Err(Mistake::CertAndKey),
        };
        match (identity, ca) {
            (None, None) if client_ca.is_some() => Err(Mistake::ClientCaAlone),
            (None, None) => Ok(Options::Plain { tls_off }),
            (Some(identity), _) if place.listens() => {
                Ok(Options::ListenTls { identity, client_ca })
            }
            (_, None) => Err(Mistake::CertWithoutCa),
            (identity, Some(ca)) => Ok(Options::ConnectTls { ca, identity }),
        }
    }
}
