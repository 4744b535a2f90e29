//! Where a proxy listens, as text: `uds:@name`, `uds:/path`, `tcp:host:port`, `serial:/dev/ttyX`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sspc_line::SerialAddress;

/// The longest path or name of a Unix socket, in bytes.
const UNIX_MAX: usize = 107;

/// An address that a proxy can listen at.
///
/// ```
/// use sspc_proxy::ListenAddress;
///
/// for text in [
///     "uds:@proxy.ss.lws",
///     "uds:/run/ss?mode=0660&owner=root:ss",
///     "tcp:[::1]:7681",
///     "serial:/dev/ttyUSB0?baud=2000000&profile=fast",
/// ] {
///     let address: ListenAddress = text.parse()?;
///     assert_eq!(address.to_string(), text);
/// }
/// # Ok::<(), sspc_proxy::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenAddress {
    /// `uds:@name`: a socket of Linux' abstract namespace; gone with its process.
    Abstract {
        /// The name behind the `@`.
        name: String,
    },
    /// `uds:/path[?mode=0660&owner=user[:group]]`: a socket file.
    Path {
        /// Where it is.
        path: PathBuf,
        /// Its permission bits; what the process's umask leaves if `None`.
        mode: Option<u32>,
        /// Whose it is, as names or numbers; the process's own if `None`.
        owner: Option<Owner>,
    },
    /// `tcp:host:port`: port 0 takes any free one.
    Tcp {
        /// A name or an address, without the brackets of IPv6.
        host: String,
        /// The port.
        port: u16,
    },
    /// `serial:/dev/ttyUSB0?baud=2000000&rtscts=1&profile=fast`: a serial port, where the streams
    /// of a client share one line.
    Serial(SerialAddress),
}

/// The owner of a socket file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Name or number of the user; unchanged if `None`.
    pub user: Option<String>,
    /// Name or number of the group; unchanged if `None`.
    pub group: Option<String>,
}

/// A text is no address to listen at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct AddressError(#[from] Problem);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("{text:?} is no address to listen at: {reason}")]
    Socket { text: String, reason: &'static str },
    #[error(transparent)]
    Line(#[from] sspc_line::AddressError),
}

impl ListenAddress {
    /// Where deployed clients look for their proxy on Linux: `uds:@proxy.ss.lws`.
    pub fn well_known() -> Self {
        Self::Abstract { name: "proxy.ss.lws".to_owned() }
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = match text.split_once(':') {
            Some(("serial", _)) => {
                return Ok(Self::Serial(text.parse().map_err(Problem::Line)?));
            }
            Some(("uds", rest)) => match rest.strip_prefix('@') {
                Some(name) => parse_abstract(name),
                None => parse_path(rest),
            },
            Some(("tcp", rest)) => parse_tcp(rest),
            _ => Err("it begins with none of uds:, tcp: and serial:"),
        };
        parsed.map_err(|reason| Problem::Socket { text: text.to_owned(), reason }.into())
    }
}

fn parse_abstract(name: &str) -> Result<ListenAddress, &'static str> {
    // Whoever writes these means to keep others out, and would not.
    if name.contains("?mode=") || name.contains("?owner=") {
        return Err("an abstract socket has neither mode nor owner: everybody may use it");
    }
    match name.len() {
        0 => Err("the name behind @ is empty"),
        1..=UNIX_MAX => Ok(ListenAddress::Abstract { name: name.to_owned() }),
        _ => Err("the name is longer than 107 bytes"),
    }
}

fn parse_path(text: &str) -> Result<ListenAddress, &'static str> {
    let (path, options) = text.split_once('?').unwrap_or((text, ""));
    match path.len() {
        0 => return Err("the path is empty"),
        1..=UNIX_MAX => {}
        _ => return Err("the path is longer than 107 bytes"),
    }
    if !path.starts_with('/') {
        return Err("a path begins with a slash, an abstract name with @");
    }
    if path.contains('\0') {
        return Err("the path holds a NUL byte");
    }
    let mut mode = None;
    let mut owner = None;
    for option in options.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("mode", digits)) => match u32::from_str_radix(digits, 8) {
                Ok(bits) if bits <= 0o777 => mode = Some(bits),
                _ => return Err("mode is not an octal number up to 0777"),
            },
            Some(("owner", names)) => owner = Some(parse_owner(names)?),
            _ => return Err("the options of a path are mode=0660 and owner=user:group"),
        }
    }
    Ok(ListenAddress::Path { path: path.into(), mode, owner })
}

fn parse_owner(names: &str) -> Result<Owner, &'static str> {
    let (user, group) = names.split_once(':').unwrap_or((names, ""));
    let given = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    match (given(user), given(group)) {
        (None, None) => Err("owner names neither a user nor a group"),
        (user, group) => Ok(Owner { user, group }),
    }
}

fn parse_tcp(text: &str) -> Result<ListenAddress, &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("a TCP address is host:port")?;
    let port = port.parse().map_err(|_| "the port is not a number up to 65535")?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or("a bracket is not closed")?,
        None if host.contains(':') => return Err("an IPv6 address goes into brackets"),
        None => host,
    };
    if host.is_empty() {
        return Err("the host is empty");
    }
    Ok(ListenAddress::Tcp { host: host.to_owned(), port })
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abstract { name } => write!(f, "uds:@{name}"),
            Self::Path { path, mode, owner } => {
                write!(f, "uds:{}", path.display())?;
                let mut mark = '?';
                if let Some(mode) = mode {
                    write!(f, "{mark}mode={mode:04o}")?;
                    mark = '&';
                }
                if let Some(owner) = owner {
                    write!(f, "{mark}owner={owner}")?;
                }
                Ok(())
            }
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
            Self::Serial(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.user.as_deref().unwrap_or_default())?;
        match &self.group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> &'static str {
        match text.parse::<ListenAddress>().unwrap_err().0 {
            Problem::Socket { reason, .. } => reason,
            Problem::Line(error) => panic!("{error}"),
        }
    }

    #[test]
    fn every_form_survives_a_round_trip() {
        for text in [
            "uds:@proxy.ss.lws",
            "uds:/run/ss.sock",
            "uds:/run/ss.sock?mode=0600",
            "uds:/run/ss.sock?owner=root",
            "uds:/run/ss.sock?mode=0660&owner=root:users",
            "uds:/run/ss.sock?owner=:users",
            "tcp:localhost:0",
            "tcp:127.0.0.1:7681",
            "tcp:[::1]:7681",
            "serial:/dev/ttyUSB0?baud=3000000&rtscts=1&profile=fast",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(refusal("/run/ss.sock"), "it begins with none of uds:, tcp: and serial:");
        assert_eq!(refusal("uds:@"), "the name behind @ is empty");
        assert_eq!(
            refusal(&format!("uds:@{}", "x".repeat(108))),
            "the name is longer than 107 bytes"
        );
        assert_eq!(
            refusal("uds:@name?mode=0600"),
            "an abstract socket has neither mode nor owner: everybody may use it"
        );
        assert_eq!(refusal("uds:"), "the path is empty");
        assert_eq!(refusal("uds:ss.sock"), "a path begins with a slash, an abstract name with @");
        assert_eq!(
            refusal(&format!("uds:/{}", "x".repeat(107))),
            "the path is longer than 107 bytes"
        );
        assert_eq!(refusal("uds:/a?mode=999"), "mode is not an octal number up to 0777");
        assert_eq!(refusal("uds:/a?owner=:"), "owner names neither a user nor a group");
        assert_eq!(
            refusal("uds:/a?colour=red"),
            "the options of a path are mode=0660 and owner=user:group"
        );
        assert_eq!(refusal("tcp:localhost"), "a TCP address is host:port");
        assert_eq!(refusal("tcp:localhost:http"), "the port is not a number up to 65535");
        assert_eq!(refusal("tcp:::1:80"), "an IPv6 address goes into brackets");
        assert_eq!(refusal("tcp:[::1:80"), "a bracket is not closed");
        assert_eq!(refusal("tcp::80"), "the host is empty");
    }

    #[test]
    fn what_is_wrong_about_a_line_is_named_too() {
        let error = "serial:ttyUSB0".parse::<ListenAddress>().unwrap_err().to_string();
        assert!(error.contains("serial:ttyUSB0") && error.contains("whole path"), "{error}");
    }
}
