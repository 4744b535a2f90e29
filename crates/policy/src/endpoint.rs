//! Where a stream connects to and which path it asks for: pure functions of policy and metadata.

use std::fmt;
use std::net::Ipv6Addr;
use std::ops::Range;

use crate::template::{ExpandError, Template};
use crate::types::StreamType;

/// Where to connect, as an endpoint and its stream's metadata give it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// The host or the socket.
    pub address: Address,
    /// Whether to encrypt: the policy's `tls`, unless the endpoint's scheme says otherwise.
    pub tls: bool,
    /// Path and query of an endpoint that is a URL, with its leading slash; it replaces
    /// `http_url` even when it is only `/`.
    pub path: Option<String>,
    /// Whether the client chose the host, and not the policy: whether less than the last two labels
    /// of its name are text of the policy. False for Unix sockets.
    pub host_from_client: bool,
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
    /// A value that is only a part of the endpoint contains something that would not stay in its
    /// place.
    Value {
        /// The name of the metadata item.
        name: String,
        /// The first byte that is not allowed there.
        byte: u8,
    },
    /// The scheme of a larger endpoint comes from metadata.
    SchemeFromMetadata,
    /// This scheme, from metadata, would turn off the policy's `tls`.
    LowersTls(String),
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
            EndpointError::Value { name, byte } => write!(
                f,
                "the value of `{}` contains `{}`; only letters, digits, `-`, `.` and `_` may be put \
                 into an endpoint",
                name.escape_debug(),
                byte.escape_ascii()
            ),
            EndpointError::SchemeFromMetadata => {
                f.write_str("metadata may not choose the scheme of an endpoint, only all of it")
            }
            EndpointError::LowersTls(scheme) => write!(
                f,
                "metadata may not choose `{scheme}:`, which turns `tls` off, without `allow_clear`"
            ),
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
    /// Whether it is on this machine, as its name or its address says.
    pub fn is_loopback(&self) -> bool {
        match &self.address {
            Address::Tcp { host, .. } => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                host == "localhost"
                    || host.ends_with(".localhost")
                    || host
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|ip| ip.to_canonical().is_loopback())
            }
            _ => true,
        }
    }

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
        if names_socket(template) {
            socket(template, streamtype.tls, lookup)
        } else if let Some(name) = template.whole_name() {
            let value = lookup(name).ok_or_else(|| ExpandError::Undeclared(name.to_owned()))?;
            from_client(value, streamtype, lookup)
        } else {
            from_policy(template, streamtype, lookup)
        }
    }
}

/// Whether an endpoint, as the policy writes it, is a Unix socket.
pub(crate) fn names_socket(endpoint: &Template) -> bool {
    endpoint.as_str().starts_with('+')
}

/// The names in an endpoint whose values are a part of its host, its port or its socket.
pub(crate) fn names_in_authority(endpoint: &Template) -> Vec<(&str, Range<usize>)> {
    let end = match names_socket(endpoint) {
        true => endpoint.as_str().len(),
        false => authority(endpoint).end,
    };
    endpoint.names().into_iter().filter(|(_, range)| range.start < end).collect()
}

/// A Unix socket. A value stays in its part of the path.
fn socket<'v>(
    template: &Template,
    tls: bool,
    lookup: impl Fn(&str) -> Option<&'v [u8]>,
) -> Result<Target, EndpointError> {
    let (bytes, _) = template.expand_checked(lookup, host_characters)?;
    let text = utf8(&bytes)?.strip_prefix('+').unwrap_or_default();
    // A value that is empty does not make a name of what the policy writes as a path.
    let is_name = template.as_str().starts_with("+@");
    let address = match text.strip_prefix('@').filter(|_| is_name) {
        Some("") => return Err(EndpointError::NoHost),
        Some(name) => Address::UnixAbstract(name.to_owned()),
        None if text.is_empty() => return Err(EndpointError::NoHost),
        None => {
            let written = template.as_str().get(1..).unwrap_or_default();
            if Template::new(written).gains_dot_segments(text.as_bytes())? {
                return Err(ExpandError::DotSegment.into());
            }
            Address::UnixPath(text.to_owned())
        }
    };
    Ok(Target { address, tls, path: None, host_from_client: false })
}

/// An endpoint that is one value: all of it is the client's choice, but for what the policy's `tls`
/// says, and sockets and files of the proxy's host.
fn from_client<'v>(
    value: &[u8],
    streamtype: &StreamType,
    lookup: impl Fn(&str) -> Option<&'v [u8]>,
) -> Result<Target, EndpointError> {
    let end = value.iter().position(|byte| *byte == b'#').unwrap_or(value.len());
    let text = utf8(value.get(..end).unwrap_or_default())?;
    if text.starts_with('+') {
        return Err(EndpointError::UnixFromMetadata);
    }
    let url = Url::split(text)?;
    let tls = match url.scheme.as_deref() {
        Some(scheme) if streamtype.tls && is_clear(scheme) && !streamtype.allow_clear => {
            return Err(EndpointError::LowersTls(scheme.to_owned()));
        }
        Some(scheme) => !is_clear(scheme) && (streamtype.tls || is_encrypted(scheme)),
        None => streamtype.tls,
    };
    Ok(Target { tls, host_from_client: true, ..url.target(streamtype, lookup)? })
}

/// An endpoint that the policy writes, perhaps with values in it, which stay in their places.
fn from_policy<'v>(
    template: &Template,
    streamtype: &StreamType,
    lookup: impl Fn(&str) -> Option<&'v [u8]>,
) -> Result<Target, EndpointError> {
    let place = authority(template);
    let text = |range: Range<usize>| template.as_str().get(range).unwrap_or_default();
    let (before, after) = (text(0..place.end), text(place.end..template.as_str().len()));
    if before.contains("${") && before.ends_with(':') && after.starts_with("//") {
        return Err(EndpointError::SchemeFromMetadata);
    }
    let (bytes, values) = Template::new(before).expand_checked(&lookup, host_characters)?;
    let expanded = format!("{}{after}", utf8(&bytes)?);
    let url = Url::split(&expanded)?;
    let tls = streamtype.tls && !url.scheme.as_deref().is_some_and(is_clear);
    let host_end = place.start + url.host.len();
    let last = values.iter().rfind(|value| value.start <= host_end);
    let host_from_client = last.is_some_and(|value| {
        url.host.parse::<Ipv6Addr>().is_ok()
            || !names_owner(expanded.get(value.end..host_end).unwrap_or_default())
    });
    Ok(Target { tls, host_from_client, ..url.target(streamtype, lookup)? })
}

/// Whether a host that ends in this is its owner's, whatever stands before it: names are registered
/// by two labels or more, and an address is another one if any part of it is.
fn names_owner(end: &str) -> bool {
    let whole_labels = || end.trim_end_matches('.').split('.').skip(1);
    let is_number = |label: &str| label.starts_with(|c: char| c.is_ascii_digit());
    whole_labels().count() >= 2 && !whole_labels().last().is_some_and(is_number)
}

/// Where an endpoint that the policy writes has its host and its port.
fn authority(template: &Template) -> Range<usize> {
    let text = template.as_str();
    let start = match text.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => scheme.len() + 3,
        _ => 0,
    };
    let rest = Template::new(text.get(start..).unwrap_or_default());
    let length = rest.find_literal(&['/', '?', '#']).unwrap_or(rest.as_str().len());
    start..start + length
}

/// Refuses a value that is a part of a host, a port or a socket's name, and would reach beyond it.
fn host_characters(name: &str, value: &[u8]) -> Result<(), EndpointError> {
    let stays = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    match value.iter().find(|byte| !stays(byte)) {
        None => Ok(()),
        Some(&byte) => Err(EndpointError::Value { name: name.to_owned(), byte }),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, EndpointError> {
    if let Some(&byte) = bytes.iter().find(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(ExpandError::Forbidden(byte).into());
    }
    std::str::from_utf8(bytes)
        .map_err(|_| EndpointError::BadHost(String::from_utf8_lossy(bytes).into_owned()))
}

fn is_clear(scheme: &str) -> bool {
    matches!(scheme, "http" | "ws" | "mqtt")
}

fn is_encrypted(scheme: &str) -> bool {
    matches!(scheme, "https" | "wss" | "mqtts")
}

/// The parts of an endpoint that is no socket.
struct Url<'t> {
    /// In lower case.
    scheme: Option<String>,
    /// Without brackets.
    host: &'t str,
    /// What follows the host's colon.
    port: Option<&'t str>,
    /// Path, query and fragment, as they are written.
    path: &'t str,
}

impl<'t> Url<'t> {
    fn split(text: &'t str) -> Result<Self, EndpointError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme.to_ascii_lowercase()), rest),
            _ => (None, text),
        };
        if scheme.as_deref() == Some("file") || text.starts_with("file:") {
            return Err(EndpointError::File);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = split_authority(authority)?;
        Ok(Self { scheme, host, port, path })
    }

    /// The target, as far as the text alone says.
    fn target<'v>(
        &self,
        streamtype: &StreamType,
        lookup: impl Fn(&str) -> Option<&'v [u8]>,
    ) -> Result<Target, EndpointError> {
        let port = match (self.port, self.scheme.as_deref()) {
            (Some(text), _) => parse_port(text)?,
            (None, Some("http" | "ws")) => 80,
            (None, Some("https" | "wss")) => 443,
            (None, _) => streamtype.port,
        };
        if port == 0 {
            return Err(EndpointError::NoPort);
        }
        let asks = !self.path.is_empty() && !self.path.starts_with('#');
        let is_url = self.scheme.is_some() || self.port.is_some() || asks;
        let path = match is_url {
            true => Some(request_path(&Template::new(self.path).expand_url(lookup)?)),
            false => None,
        };
        let address = Address::Tcp { host: self.host.to_owned(), port };
        Ok(Target { address, tls: streamtype.tls, path, host_from_client: false })
    }
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
            host.parse::<Ipv6Addr>().map_err(|_| bad())?;
            match (rest.is_empty(), rest.strip_prefix(':')) {
                (true, _) => (host, None),
                (false, Some(port)) => (host, Some(port)),
                (false, None) => return Err(bad()),
            }
        }
        None if authority.parse::<Ipv6Addr>().is_ok() => (authority, None),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    // The colons are those of an address, which has been read as one.
    let allowed = |c: char| c.is_alphanumeric() || "-._:".contains(c);
    if host.is_empty() {
        return Err(EndpointError::NoHost);
    }
    let empty_label = host.starts_with('.') || host.contains("..");
    if host.len() > HOST_MAX || empty_label || !host.chars().all(allowed) {
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
mod tests;
