//! How far an address reaches, and how far a stream may.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads, the most public first (the registries of RFC 6890).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scope {
    /// The Internet.
    Global,
    /// A private network: RFC 1918, a carrier's (RFC 6598), unique local addresses (RFC 4193).
    Private,
    /// This link: routers, and the metadata services of clouds.
    LinkLocal,
    /// This machine.
    Loopback,
    /// No host, or none that should be connected to: unspecified, multicast, broadcast,
    /// documentation, benchmarks, reserved.
    Special,
}

impl Scope {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            [0 | 224.., ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _] => Self::Special,
            _ => Self::Global,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let v4 = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // IPv4 in IPv6: mapped, compatible, translated (RFC 6052, RFC 2765), 6to4.
            [0, 0, 0, 0, 0, 0xffff, high, low]
            | [0, 0, 0, 0, 0xffff, 0, high, low]
            | [0, 0, 0, 0, 0, 0, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
            | [0x2002, high, low, ..] => v4(high, low),
            // Translated by a network's own prefix (RFC 8215): to whatever that network has.
            [0x64, 0xff9b, 1, ..] | [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Self::Private,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            // Protocol assignments with Teredo, documentation.
            [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Special,
            [0x2000..=0x3fff, ..] => Self::Global,
            _ => Self::Special,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "a public address",
            Self::Private => "an address of a private network",
            Self::LinkLocal => "a link-local address",
            Self::Loopback => "an address of this machine",
            Self::Special => "an address that is no host's",
        })
    }
}

/// How far a stream may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// Anywhere: the policy says where.
    Policy,
    /// To the Internet: the client says where.
    Client,
    /// As far as the server that redirects it is itself: the server says where.
    Redirect(Scope),
}

impl Reach {
    /// The reach of what a server with an address of this scope redirects to.
    pub(crate) fn redirected_from(self, server: Scope) -> Self {
        match self {
            Self::Policy => Self::Redirect(server),
            Self::Client => Self::Client,
            Self::Redirect(scope) => Self::Redirect(scope.min(server)),
        }
    }

    pub(crate) fn covers(self, address: IpAddr) -> bool {
        match self {
            Self::Policy => true,
            Self::Client => Scope::of(address) == Scope::Global,
            Self::Redirect(scope) => Scope::of(address) <= scope,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_the_registries_say() {
        for (scope, addresses) in [
            (
                Scope::Global,
                "1.1.1.1 8.8.8.8 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 192.0.1.1 \
              223.255.255.255 2606:4700::1111 2a00:1450::1 2001:4860::8888 ::ffff:8.8.8.8 64:ff9b::808:808 \
              2002:808:808::1",
            ),
            (
                Scope::Private,
                "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.1.1 \
              fc00::1 fd12::1 fec0::1 ::ffff:10.0.0.1 ::10.0.0.1 64:ff9b::a00:1 64:ff9b:1::1 \
              2002:c0a8:101::1 ::ffff:0:10.0.0.1",
            ),
            (
                Scope::LinkLocal,
                "169.254.169.254 fe80::1 febf::1 ::ffff:169.254.1.1 64:ff9b::a9fe:a9fe",
            ),
            (
                Scope::Loopback,
                "127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1 ::127.0.0.1 \
              64:ff9b::7f00:1 2002:7f00:1::",
            ),
            (
                Scope::Special,
                "0.0.0.0 0.1.2.3 224.0.0.1 239.1.1.1 255.255.255.255 240.0.0.1 192.0.0.1 \
              192.0.2.1 198.18.0.1 198.19.1.1 198.51.100.1 203.0.113.1 192.88.99.1 :: ff02::1 \
              2001:db8::1 2001::1 3fff::1 100::1 5f00::1 ::ffff:0.0.0.0 ::2",
            ),
        ] {
            for address in addresses.split_whitespace() {
                assert_eq!(Scope::of(address.parse().unwrap()), scope, "{address}");
            }
        }
    }

    #[test]
    fn a_server_leads_no_further_than_it_is_itself() {
        let covers = |reach: Reach, address: &str| reach.covers(address.parse().unwrap());
        let own = Reach::Policy.redirected_from(Scope::Private);
        assert!(covers(own, "10.0.0.1") && covers(own, "1.1.1.1"));
        assert!(!covers(own, "127.0.0.1") && !covers(own, "169.254.169.254"));
        let on = own.redirected_from(Scope::Global);
        assert!(!covers(on, "10.0.0.1") && !covers(on.redirected_from(Scope::Private), "10.0.0.1"));
        let client = Reach::Client.redirected_from(Scope::Loopback);
        assert!(!covers(client, "127.0.0.1") && covers(client, "1.1.1.1"));
        assert!(covers(Reach::Policy, "0.0.0.0"));
    }
}
