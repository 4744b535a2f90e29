//! Where clients may lead streams to, beyond the Internet.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use thiserror::Error;

/// Addresses that a client may choose although they are not public: a network, an address or a name,
/// perhaps at one port only.
///
/// ```
/// use sspc_proxy::AllowTo;
///
/// for text in ["127.0.0.0/8", "10.1.2.3:8080", "[fd00::1]:443", "fd00::/8", "printer.lan:631"] {
///     assert_eq!(text.parse::<AllowTo>().unwrap().to_string(), text);
/// }
/// assert!("10.0.0.0/33".parse::<AllowTo>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowTo {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Net(IpNet),
    /// In lower case.
    Name(String),
}

/// The text is neither a network nor a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{}` is neither a network (10.0.0.0/8), an address ([fd00::1]:443) nor a name (printer.lan:631)",
    .0.escape_debug()
)]
pub struct AllowToError(String);

impl AllowTo {
    /// Whether it is for this address, which `host` of the endpoint stands for.
    pub(crate) fn allows(&self, host: &str, address: IpAddr, port: u16) -> bool {
        let is_host = match &self.host {
            Host::Net(net) => net.contains(&address.to_canonical()),
            Host::Name(_) => return self.allows_name(host, port),
        };
        is_host && self.port.is_none_or(|own| own == port)
    }

    /// Whether it is for this name, whatever its addresses are.
    pub(crate) fn allows_name(&self, host: &str, port: u16) -> bool {
        matches!(&self.host, Host::Name(name) if host.trim_end_matches('.').eq_ignore_ascii_case(name))
            && self.port.is_none_or(|own| own == port)
    }
}

impl FromStr for AllowTo {
    type Err = AllowToError;

    fn from_str(text: &str) -> Result<Self, AllowToError> {
        let bad = || AllowToError(text.to_owned());
        if let Some(net) = net(text) {
            return Ok(Self { host: Host::Net(net), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
                (host, Some(port))
            }
            _ => (text, None),
        };
        let plain = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Some(net) = net(plain.unwrap_or(host)) {
            return Ok(Self { host: Host::Net(net), port });
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        // A name's last label is no number: that would be a part of an address.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
        if is_number || !name.bytes().all(is_name) {
            return Err(bad());
        }
        Ok(Self { host: Host::Name(name), port })
    }
}

fn net(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().ok().map(IpNet::from);
    address.or_else(|| text.parse::<IpNet>().ok()).map(|net| net.trunc())
}

impl fmt::Display for AllowTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match &self.host {
            Host::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
            Host::Net(net) => net.to_string(),
            Host::Name(name) => name.clone(),
        };
        match self.port {
            None => f.write_str(&host),
            Some(port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Some(port) => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rule: &str, host: &str, address: &str, port: u16) -> bool {
        rule.parse::<AllowTo>().unwrap().allows(host, address.parse().unwrap(), port)
    }

    #[test]
    fn networks_addresses_and_names_are_compared() {
        assert!(allows("10.0.0.0/8", "x", "10.1.2.3", 80));
        assert!(allows("10.1.2.3/8", "x", "10.9.9.9", 80));
        assert!(allows("10.0.0.0/8", "x", "::ffff:10.1.2.3", 80));
        assert!(!allows("10.0.0.0/8", "x", "11.1.2.3", 80));
        assert!(allows("::1", "localhost", "::1", 1) && !allows("::1", "x", "127.0.0.1", 1));
        assert!(allows("127.0.0.1:80", "x", "127.0.0.1", 80));
        assert!(!allows("127.0.0.1:80", "x", "127.0.0.1", 81));
        assert!(allows("[fd00::/8]:443", "x", "fd12::1", 443));
        assert!(allows("Printer.lan", "printer.LAN.", "10.0.0.1", 1));
        assert!(!allows("printer.lan", "other.lan", "10.0.0.1", 1));
        assert!(allows("::/0", "x", "fe80::1", 1) && !allows("::/0", "x", "10.0.0.1", 1));
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        for text in
            ["", ":80", "10.0.0.0/33", "10.0.0", "h:0", "h:65536", "a b", "http://h", "[::1"]
        {
            assert!(text.parse::<AllowTo>().is_err(), "{text}");
        }
        let error = "10.0.0.0/33".parse::<AllowTo>().unwrap_err().to_string();
        assert!(error.starts_with("`10.0.0.0/33` is neither a network"), "{error}");
    }
}
