//! Who a client is, for all that is divided among clients: limits, shared connections, look-ups.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Whom a client counts as. Two clients of one identity trust each other; all others are strangers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// A user of this machine, over a Unix socket: its processes can harm each other anyway.
    User(u32),
    /// A host, over TCP or UDP. IPv6 hosts choose their last 64 bits freely, so these count as one; so do
    /// the 2^24 addresses that each program of this machine may choose from.
    Host(IpAddr),
    /// The device at the other end of a serial line or of a byte pipe, by a number that no other one
    /// has and what logs call it.
    Line { number: u64, name: Arc<str> },
    /// The device of this id, whose key proves it, at an address that the proxy listens at, by a number
    /// that no other one has and by its name: each has keys of its own.
    Device { listener: u64, address: Arc<str>, id: Arc<str> },
    /// The proxy itself, for what it needs.
    Proxy,
    /// The system does not say.
    Unknown,
}

impl Identity {
    /// The identity of the clients at this address.
    pub(crate) fn of_address(address: IpAddr) -> Self {
        Self::Host(match address.to_canonical() {
            IpAddr::V4(v4) if v4.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) if v6.is_loopback() => IpAddr::V6(v6),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}

impl Identity {
    /// What the next proxy of the same configuration would call it, too; `None` if nothing tells it from
    /// others then.
    pub(crate) fn lasting_name(&self) -> Option<String> {
        match self {
            Self::User(uid) => Some(format!("user {uid}")),
            Self::Host(address) => Some(format!("host {address}")),
            Self::Line { name, .. } => Some(format!("line {name}")),
            Self::Device { address, id, .. } => Some(format!("device {id:?} at {address}")),
            Self::Proxy => Some("proxy".to_owned()),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "user {uid}"),
            Self::Host(IpAddr::V6(prefix)) if !prefix.is_loopback() => {
                write!(f, "host {prefix}/64")
            }
            Self::Host(address) => write!(f, "host {address}"),
            Self::Line { name, .. } => f.write_str(name),
            Self::Device { id, .. } => write!(f, "device {id:?}"),
            Self::Proxy => f.write_str("the proxy"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart_by_what_they_cannot_choose() {
        let of = |text: &str| Identity::of_address(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.1"), "host 192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "host 192.0.2.1");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "host 2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::"), "host 2001:db8:1:2::/64");
        assert_eq!(of("::1"), "host ::1");
        assert_eq!(of("127.0.0.1"), "host 127.0.0.1");
        assert_eq!(of("127.9.8.7"), "host 127.0.0.1");
        assert_eq!(of("::ffff:127.0.0.2"), "host 127.0.0.1");
    }
}
