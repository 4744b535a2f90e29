//! Where a stream connects to and which path it asks for: pure functions of policy and metadata.

use std::fmt;

use crate::template::{ExpandError, Template};
use crate::types::StreamType;

/// Where to connect, as an endpoint and its stream's metadata give it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// The host or the socket.
    pub address: Address,
    /// Whether to encrypt: the policy's `tls`, unless the endpoint's scheme is a clear one.
    pub tls: bool,
    /// Path and query of an endpoint that is a URL, with its leading slash; it replaces
    /// `http_url` even when it is only `/`.
    pub path: Option<String>,
}

/// The address part of a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A TCP endpoint.
    Tcp {
        /// Name or address; IPv6 addresses without brackets. For connect, Host and SNI.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// A Unix socket by its path in the file system.
    UnixPath(String),
    /// A Unix socket by its abstract name, without the `@`.
    UnixAbstract(String),
}

impl Address {
    /// The text for a `Host` header or an `:authority`: with the port unless it is the default
    /// of the scheme, IPv6 in brackets, `localhost` for Unix sockets.
    pub fn authority(&self, tls: bool) -> String {
        match self {
            Address::Tcp { host, port } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                let default = if tls { 443 } else { 80 };
                if *port == default { host } else { format!("{host}:{port}") }
            }
            Address::UnixPath(_) | Address::UnixAbstract(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::UnixPath(path) => write!(f, "+{path}"),
            Address::UnixAbstract(name) => write!(f, "+@{name}"),
        }
    }
}

/// Why an endpoint gives no target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointError {
    /// The streamtype has no endpoint.
    Missing,
    /// The text could not be expanded.
    Expand(ExpandError),
    /// The expanded endpoint is empty, or a URL without a host.
    NoHost,
    /// The host contains something that no host contains.
    BadHost(String),
    /// The text after the host's colon is not a port of 1..=65535.
    BadPort(String),
    /// Neither the policy nor the endpoint gives a port.
    NoPort,
    /// A `file:` URL: the proxy does not hand out its files.
    File,
    /// A Unix socket that came from metadata: only the policy itself may name one.
    UnixFromMetadata,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointError::Missing => f.write_str("the streamtype has no endpoint"),
            EndpointError::Expand(error) => error.fmt(f),
            EndpointError::NoHost => f.write_str("the endpoint has no host"),
            EndpointError::BadHost(host) => write!(f, "`{}` is not a host", host.escape_debug()),
            EndpointError::BadPort(port) => write!(f, "`{}` is not a port", port.escape_debug()),
            EndpointError::NoPort => f.write_str("neither `port` nor the endpoint gives a port"),
            EndpointError::File => f.write_str("file: endpoints are refused"),
            EndpointError::UnixFromMetadata => {
                f.write_str("metadata may not choose a Unix socket; only the policy may")
            }
        }
    }
}

impl std::error::Error for EndpointError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EndpointError::Expand(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ExpandError> for EndpointError {
    fn from(error: ExpandError) -> Self {
        EndpointError::Expand(error)
    }
}

/// Longest host in bytes: what DNS allows, with room for a zone.
const HOST_MAX: usize = 255;

impl Target {
    /// The target of a streamtype with these metadata values; `lookup` as in
    /// [`Template::expand`].
    ///
    /// # Errors
    /// See [`EndpointError`]; each of them means that no connection can be made.
    pub fn resolve<'v>(
        streamtype: &StreamType,
        lookup: impl Fn(&str) -> Option<&'v [u8]>,
    ) -> Result<Target, EndpointError> {
        let template = streamtype.endpoint.as_ref().ok_or(EndpointError::Missing)?;
        // Whole only for the name of a socket: there is no fragment in one.
        let is_socket = names_socket(template);
        let bytes = if is_socket {
            template.expand(&lookup)?
        } else {
            template.expand_without_fragment(&lookup)?
        };
        if let Some(&byte) = bytes.iter().find(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(ExpandError::Forbidden(byte).into());
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| EndpointError::BadHost(String::from_utf8_lossy(&bytes).into_owned()))?;
        if let Some(socket) = text.strip_prefix('+') {
            // A client that fills in the whole endpoint could otherwise talk to any local daemon.
            if !is_socket {
                return Err(EndpointError::UnixFromMetadata);
            }
            return unix(socket, streamtype.tls);
        }
        parse(text, streamtype, lookup)
    }
}

/// Whether an endpoint, as the policy writes it, is a Unix socket.
pub(crate) fn names_socket(endpoint: &Template) -> bool {
    endpoint.as_str().starts_with('+')
}

fn unix(socket: &str, tls: bool) -> Result<Target, EndpointError> {
    let address = match socket.strip_prefix('@') {
        Some("") => return Err(EndpointError::NoHost),
        Some(name) => Address::UnixAbstract(name.to_owned()),
        None if socket.is_empty() => return Err(EndpointError::NoHost),
        None => Address::UnixPath(socket.to_owned()),
    };
    Ok(Target { address, tls, path: None })
}

fn parse<'v>(
    text: &str,
    streamtype: &StreamType,
    lookup: impl Fn(&str) -> Option<&'v [u8]>,
) -> Result<Target, EndpointError> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme.to_ascii_lowercase()), rest),
        _ => (None, text),
    };
    if scheme.as_deref() == Some("file") || text.starts_with("file:") {
        return Err(EndpointError::File);
    }
    let (authority, path) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (host, port_text) = split_authority(authority)?;
    let is_url = scheme.is_some() || port_text.is_some() || !path.is_empty();
    let port = match (port_text, scheme.as_deref()) {
        (Some(text), _) => parse_port(text)?,
        (None, Some("http" | "ws")) => 80,
        (None, Some("https" | "wss")) => 443,
        (None, _) => streamtype.port,
    };
    if port == 0 {
        return Err(EndpointError::NoPort);
    }
    let clear = matches!(scheme.as_deref(), Some("http" | "ws" | "mqtt"));
    let path =
        if is_url { Some(request_path(&Template::new(path).expand_url(lookup)?)) } else { None };
    Ok(Target {
        address: Address::Tcp { host: host.to_owned(), port },
        tls: streamtype.tls && !clear,
        path,
    })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Host without brackets, and the text after its colon.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>), EndpointError> {
    let bad = || EndpointError::BadHost(authority.to_owned());
    let (host, port) = match authority.strip_prefix('[') {
        Some(after) => {
            let (host, rest) = after.split_once(']').ok_or_else(bad)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
            match (rest.is_empty(), rest.strip_prefix(':')) {
                (true, _) => (host, None),
                (false, Some(port)) => (host, Some(port)),
                (false, None) => return Err(bad()),
            }
        }
        None if authority.parse::<std::net::Ipv6Addr>().is_ok() => (authority, None),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let forbidden =
        |c: char| c.is_whitespace() || c.is_control() || "@\\/?#%<>[]^|\"'`{}".contains(c);
    if host.is_empty() {
        return Err(EndpointError::NoHost);
    }
    if host.len() > HOST_MAX || host.contains(forbidden) {
        return Err(bad());
    }
    Ok((host, port))
}

fn parse_port(text: &str) -> Result<u16, EndpointError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(EndpointError::BadPort(text.to_owned())),
    }
}

/// The path and query to ask for: `url` with exactly one leading slash.
///
/// `url` is an expanded `http_url` or the path of a [`Target`], already fit for a URL.
pub fn request_path(url: &str) -> String {
    format!("/{}", url.trim_start_matches('/'))
}

/// The path and query that a stream with this target asks for: the target's own, else the
/// streamtype's `http_url`, expanded, encoded and with exactly one leading slash.
///
/// # Errors
/// Those of [`Template::expand_url`] for `http_url`.
pub fn path_for<'v>(
    streamtype: &StreamType,
    target: &Target,
    lookup: impl Fn(&str) -> Option<&'v [u8]>,
) -> Result<String, ExpandError> {
    match &target.path {
        Some(path) => Ok(path.clone()),
        None => Ok(request_path(&streamtype.http.url.expand_url(lookup)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streamtype(endpoint: &str, port: u16, tls: bool) -> StreamType {
        let mut streamtype = StreamType::new("s");
        streamtype.endpoint = Some(endpoint.into());
        streamtype.port = port;
        streamtype.tls = tls;
        streamtype
    }

    fn resolve(endpoint: &str) -> Result<Target, EndpointError> {
        Target::resolve(&streamtype(endpoint, 8443, true), |_| None)
    }

    fn with_metadata(value: &str) -> Result<Target, EndpointError> {
        Target::resolve(&streamtype("${endpoint}", 8443, true), |name| {
            (name == "endpoint").then_some(value.as_bytes())
        })
    }

    fn tcp(host: &str, port: u16, tls: bool, path: Option<&str>) -> Target {
        Target {
            address: Address::Tcp { host: host.into(), port },
            tls,
            path: path.map(str::to_owned),
        }
    }

    #[test]
    fn a_plain_host_takes_everything_else_from_the_policy() {
        assert_eq!(resolve("example.com").unwrap(), tcp("example.com", 8443, true, None));
        assert_eq!(resolve("::1").unwrap(), tcp("::1", 8443, true, None));
    }

    #[test]
    fn a_url_overrides_port_and_path_but_never_turns_tls_on() {
        assert_eq!(resolve("http://h").unwrap(), tcp("h", 80, false, Some("/")));
        assert_eq!(resolve("ws://h/a?b=c").unwrap(), tcp("h", 80, false, Some("/a?b=c")));
        assert_eq!(resolve("https://h:1/x").unwrap(), tcp("h", 1, true, Some("/x")));
        assert_eq!(resolve("wss://h").unwrap(), tcp("h", 443, true, Some("/")));
        assert_eq!(resolve("HTTP://h?q").unwrap(), tcp("h", 80, false, Some("/?q")));
        assert_eq!(resolve("mqtt://h").unwrap(), tcp("h", 8443, false, Some("/")));
        assert_eq!(resolve("foo://h").unwrap(), tcp("h", 8443, true, Some("/")));
        assert_eq!(resolve("localhost:5560").unwrap(), tcp("localhost", 5560, true, Some("/")));
        assert_eq!(resolve("http://[::1]:9/a").unwrap(), tcp("::1", 9, false, Some("/a")));
        let clear = Target::resolve(&streamtype("https://h", 1, false), |_| None).unwrap();
        assert_eq!(clear, tcp("h", 443, false, Some("/")));
    }

    #[test]
    fn metadata_can_be_the_whole_url() {
        let target = with_metadata("https://h/a b").unwrap();
        assert_eq!(target, tcp("h", 443, true, Some("/a%20b")));
        // The path is expanded once more, and only once.
        let again = with_metadata("h/${endpoint}x").unwrap();
        assert_eq!(again, tcp("h", 8443, true, Some("/h/${endpoint}xx")));
    }

    /// A fragment went out as `%23` and what follows (RFC 9110 §7.1: it is not sent).
    #[test]
    fn fragments_stay_here() {
        assert_eq!(resolve("http://h/a?b#c/d").unwrap(), tcp("h", 80, false, Some("/a?b")));
        assert_eq!(resolve("https://h#c").unwrap(), tcp("h", 443, true, Some("/")));
        assert_eq!(with_metadata("https://h:1/a#b?c").unwrap(), tcp("h", 1, true, Some("/a")));
        assert_eq!(with_metadata("https://h#/a").unwrap(), tcp("h", 443, true, Some("/")));
        // In a value that is not the URL itself, it is data.
        let search = streamtype("http://h/${endpoint}?x", 1, false);
        let target = Target::resolve(&search, |_| Some(b"a#${b".as_slice())).unwrap_err();
        assert_eq!(target, EndpointError::Expand(ExpandError::Unterminated));
        let target = Target::resolve(&search, |_| Some(b"a#b".as_slice())).unwrap();
        assert_eq!(target, tcp("h", 80, false, Some("/a%23b?x")));
        assert_eq!(resolve("+/run/a#b").unwrap().address, Address::UnixPath("/run/a#b".into()));
    }

    #[test]
    fn what_could_reach_beyond_the_policy_is_refused() {
        assert_eq!(with_metadata("+/run/secret"), Err(EndpointError::UnixFromMetadata));
        assert_eq!(with_metadata("file:///etc/passwd"), Err(EndpointError::File));
        assert_eq!(with_metadata("FILE:///etc/passwd"), Err(EndpointError::File));
        assert_eq!(with_metadata(""), Err(EndpointError::NoHost));
        assert_eq!(with_metadata("http://"), Err(EndpointError::NoHost));
        assert!(matches!(with_metadata("a\r\nb"), Err(EndpointError::Expand(_))));
        for host in ["a b", "user@h", "http://u:p@h/", "[::1", "[::1]x", "[h]:1", "a%00"] {
            let result = with_metadata(host);
            assert!(
                matches!(result, Err(EndpointError::BadHost(_) | EndpointError::BadPort(_))),
                "{host}: {result:?}"
            );
        }
        for port in ["h:0", "h:", "h:65536", "h:+80", "http://h:8x/"] {
            assert!(matches!(with_metadata(port), Err(EndpointError::BadPort(_))), "{port}");
        }
        let no_port = streamtype("h", 0, false);
        assert_eq!(Target::resolve(&no_port, |_| None), Err(EndpointError::NoPort));
        assert_eq!(Target::resolve(&StreamType::new("s"), |_| None), Err(EndpointError::Missing));
    }

    #[test]
    fn unix_sockets_come_from_the_policy() {
        assert_eq!(resolve("+/run/x").unwrap().address, Address::UnixPath("/run/x".into()));
        assert_eq!(resolve("+@x").unwrap().address, Address::UnixAbstract("x".into()));
        assert_eq!(resolve("+@"), Err(EndpointError::NoHost));
        assert_eq!(resolve("+"), Err(EndpointError::NoHost));
    }

    #[test]
    fn paths_have_exactly_one_leading_slash() {
        for (url, path) in
            [("", "/"), ("get", "/get"), ("/get", "/get"), ("//g", "/g"), ("?", "/?")]
        {
            assert_eq!(request_path(url), path);
        }
        let mut st = streamtype("h", 80, false);
        st.http.url = "get?q=${q}".into();
        let target = Target::resolve(&st, |_| None).unwrap();
        let path = path_for(&st, &target, |_| Some(b"a b".as_slice())).unwrap();
        assert_eq!(path, "/get?q=a%20b");
    }

    #[test]
    fn authorities_leave_the_default_port_out() {
        let tcp = |host: &str, port| Address::Tcp { host: host.into(), port };
        assert_eq!(tcp("h", 443).authority(true), "h");
        assert_eq!(tcp("h", 443).authority(false), "h:443");
        assert_eq!(tcp("::1", 80).authority(false), "[::1]");
        assert_eq!(tcp("::1", 81).to_string(), "[::1]:81");
    }
}
