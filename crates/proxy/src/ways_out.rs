//! Through which servers onward connections go out of a network that lets nothing else out.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use sspc_policy::{Address, WayOut};
use thiserror::Error;

use crate::onward::connect::Route;

/// A SOCKS5 server (RFC 1928), or an HTTP proxy that takes CONNECT (RFC 9110, section 9.3.6). Either
/// resolves the names of the servers behind it.
///
/// ```
/// use sspc_proxy::Via;
///
/// for text in ["socks5://gateway:1080", "http://user:password@10.0.0.1:3128"] {
///     text.parse::<Via>().unwrap();
/// }
/// assert!("https://gateway:443".parse::<Via>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Via {
    /// `socks5://[user:password@]host:port`
    Socks5(WayOut),
    /// `http://[user:password@]host:port`
    Http(WayOut),
}

/// The text is no such server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "not a proxy that connections can go through: socks5://[user:password@]host:port or \
     http://[user:password@]host:port"
)]
pub struct ViaError;

impl Via {
    pub(crate) const fn server(&self) -> &WayOut {
        let (Self::Socks5(server) | Self::Http(server)) = self;
        server
    }

    /// With the scheme, or as one of this kind if there is none.
    fn parse(text: &str, kind: fn(WayOut) -> Self) -> Result<Self, ViaError> {
        let (kind, rest): (fn(WayOut) -> Self, _) = match text.split_once("://") {
            Some(("socks5" | "socks5h", rest)) => (Self::Socks5, rest),
            Some(("http", rest)) => (Self::Http, rest),
            Some(_) => return Err(ViaError),
            None => (kind, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        rest.parse().map(kind).map_err(|_| ViaError)
    }
}

impl FromStr for Via {
    type Err = ViaError;

    fn from_str(text: &str) -> Result<Self, ViaError> {
        if text.contains("://") { Self::parse(text, Self::Http) } else { Err(ViaError) }
    }
}

/// Without the password.
impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socks5(server) => write!(f, "the SOCKS5 proxy {server}"),
            Self::Http(server) => write!(f, "the HTTP proxy {server}"),
        }
    }
}

/// Which server a connection goes out through, if any. A policy's `via-socks5` comes before these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaysOut {
    /// For everything but Unix sockets.
    pub all: Option<Via>,
    clear: Option<Via>,
    tls: Option<Via>,
    none: Vec<NoProxy>,
}

/// A variable of the environment that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the environment's {variable} is {why}")]
pub struct EnvironmentError {
    variable: &'static str,
    why: ViaError,
}

impl WaysOut {
    /// As the environment has it: `https_proxy` for connections with TLS, `http_proxy` for others,
    /// `socks_proxy` and then `all_proxy` for what those leave out, and `no_proxy` for what is reached
    /// without. The names in upper case count too, but for HTTP_PROXY, which a web server may have
    /// made of a request's header. This machine itself is always reached without.
    ///
    /// # Errors
    /// A variable names no proxy that connections can go through.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let text = |variable: &str| get(variable).filter(|text| !text.is_empty());
        let upper =
            |variable: &str| text(variable).or_else(|| text(&variable.to_ascii_uppercase()));
        let via = |variable, text: Option<String>, kind: fn(WayOut) -> Via| {
            text.map(|text| {
                Via::parse(&text, kind).map_err(|why| EnvironmentError { variable, why })
            })
            .transpose()
        };
        let others = match via("socks_proxy", upper("socks_proxy"), Via::Socks5)? {
            None => via("all_proxy", upper("all_proxy"), Via::Http)?,
            some => some,
        };
        let tls = via("https_proxy", upper("https_proxy"), Via::Http)?;
        let clear = via("http_proxy", text("http_proxy"), Via::Http)?;
        let none = upper("no_proxy").unwrap_or_default();
        Ok(Self {
            all: None,
            clear: clear.or_else(|| others.clone()),
            tls: tls.or(others),
            none: none.split(',').filter_map(NoProxy::parse).collect(),
        })
    }

    /// Through which server a route goes out.
    pub(crate) fn of(&self, route: &Route) -> Option<Via> {
        let Address::Tcp { host, port } = &route.address else { return None };
        match &route.way_out {
            Some(server) => Some(Via::Socks5(WayOut::clone(server))),
            None => self.via(host, *port, route.tls.is_some()).cloned(),
        }
    }

    /// Of a connection to this host, if the policy has no say.
    fn via(&self, host: &str, port: u16, tls: bool) -> Option<&Via> {
        if self.all.is_some() {
            return self.all.as_ref();
        }
        let via = if tls { &self.tls } else { &self.clear };
        let is_excepted = || is_here(host) || self.none.iter().any(|rule| rule.is_for(host, port));
        via.as_ref().filter(|_| !is_excepted())
    }
}

/// True if the host is this machine.
fn is_here(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// An entry of `no_proxy`, as curl and Go read it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NoProxy {
    All,
    Net(IpNet),
    /// A domain in lower case and all in it, perhaps at one port only.
    Domain(String, Option<u16>),
}

impl NoProxy {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Some(Self::All);
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Some(net) = bare.parse().ok().or_else(|| bare.parse().ok().map(IpAddr::into)) {
            return Some(Self::Net(net));
        }
        let (domain, port) = match text.rsplit_once(':') {
            Some((domain, port)) => (domain, Some(port.parse().ok()?)),
            None => (text.as_str(), None),
        };
        let domain = domain.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
        (!domain.is_empty()).then(|| Self::Domain(domain.to_owned(), port))
    }

    fn is_for(&self, host: &str, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Net(net) => {
                host.parse::<IpAddr>().is_ok_and(|ip| net.contains(&ip.to_canonical()))
            }
            Self::Domain(domain, of_port) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                let is_in = host
                    .strip_suffix(domain.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                is_in && of_port.is_none_or(|of_port| of_port == port)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<WaysOut, EnvironmentError> {
        let get = |name: &str| {
            variables.iter().find(|(own, _)| *own == name).map(|(_, text)| (*text).to_owned())
        };
        WaysOut::from_env(get)
    }

    fn way(ways: &WaysOut, host: &str, port: u16, tls: bool) -> String {
        ways.via(host, port, tls).map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn the_environment_is_read_as_others_read_it() {
        let ways = of(&[
            ("http_proxy", "http://clear:1"),
            ("HTTPS_PROXY", "tls:2"),
            (
                "no_proxy",
                "inside.example, .dot.example,10.0.0.0/8,192.0.2.1,[fd00::1],port.example:81",
            ),
        ])
        .unwrap();
        assert_eq!(way(&ways, "example.org", 80, false), "the HTTP proxy clear:1");
        assert_eq!(way(&ways, "example.org", 443, true), "the HTTP proxy tls:2");
        assert_eq!(way(&ways, "notinside.example", 80, false), "the HTTP proxy clear:1");
        assert_eq!(way(&ways, "port.example", 80, false), "the HTTP proxy clear:1");
        for host in [
            "inside.example",
            "a.INSIDE.example.",
            "dot.example",
            "a.dot.example",
            "10.1.2.3",
            "::ffff:10.1.2.3",
            "192.0.2.1",
            "fd00::1",
            "localhost",
            "a.localhost",
            "127.0.0.9",
            "::1",
        ] {
            assert_eq!(way(&ways, host, 80, false), "", "{host}");
        }
        assert_eq!(way(&ways, "port.example", 81, false), "");

        let ways = of(&[("all_proxy", "socks5h://s:1080/"), ("https_proxy", "h:1")]).unwrap();
        assert_eq!(way(&ways, "e.org", 80, false), "the SOCKS5 proxy s:1080");
        assert_eq!(way(&ways, "e.org", 443, true), "the HTTP proxy h:1");
        let ways = of(&[("socks_proxy", "u:p@s:1080"), ("no_proxy", "*")]).unwrap();
        assert_eq!(ways.tls.as_ref().unwrap().server().login.as_ref().unwrap().password, "p");
        assert_eq!(way(&ways, "e.org", 443, true), "");
        assert_eq!(of(&[("HTTP_PROXY", "h:1"), ("https_proxy", "")]).unwrap(), WaysOut::default());
        let error = of(&[("https_proxy", "https://h:1")]).unwrap_err().to_string();
        assert!(error.starts_with("the environment's https_proxy is not a proxy"), "{error}");
    }

    #[test]
    fn what_is_asked_for_is_for_everything() {
        let all = Some("socks5://u:p@s:1".parse().unwrap());
        let ways = WaysOut { all, ..of(&[("no_proxy", "*")]).unwrap() };
        assert_eq!(way(&ways, "127.0.0.1", 1, false), "the SOCKS5 proxy s:1");
        assert_eq!("s:1".parse::<Via>(), Err(ViaError), "of no kind");
    }
}
