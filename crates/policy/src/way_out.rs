//! Servers through which connections go out.

use std::fmt;
use std::str::FromStr;

/// A SOCKS5 or HTTP proxy: `[user:password@]host:port`, an IPv6 address in brackets.
///
/// ```
/// use sspc_policy::WayOut;
///
/// let way_out: WayOut = "lamp:secret@[fd00::1]:1080".parse().unwrap();
/// assert_eq!((way_out.host.as_str(), way_out.port), ("fd00::1", 1080));
/// assert_eq!(way_out.login.as_ref().unwrap().user, "lamp");
/// assert_eq!(way_out.to_string(), "[fd00::1]:1080", "without the password");
/// assert!("proxy".parse::<WayOut>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WayOut {
    /// A name, or an address without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
    /// Who asks, if the server wants to know.
    pub login: Option<Login>,
}

/// User and password, each 1 to 255 bytes long.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Login {
    /// The user's name, without a colon.
    pub user: String,
    /// May have colons.
    pub password: String,
}

/// The text is no `[user:password@]host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WayOutError;

impl FromStr for WayOut {
    type Err = WayOutError;

    fn from_str(text: &str) -> Result<Self, WayOutError> {
        let (login, place) = match text.rsplit_once('@') {
            Some((login, place)) => {
                let (user, password) = login.split_once(':').ok_or(WayOutError)?;
                let fits = |text: &str| (1..=255).contains(&text.len());
                if !fits(user) || !fits(password) {
                    return Err(WayOutError);
                }
                (Some(Login { user: user.to_owned(), password: password.to_owned() }), place)
            }
            None => (None, text),
        };
        let (host, port) = place.rsplit_once(':').ok_or(WayOutError)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(WayOutError)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // A colon outside of brackets would be that of another port, or of an address cut short.
        let is_host = match bare {
            Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                (1..=255).contains(&host.len())
                    && !host.contains(|c: char| {
                        c == ':' || c == '/' || c.is_ascii_control() || c == ' '
                    })
            }
        };
        if !is_host {
            return Err(WayOutError);
        }
        Ok(Self { host: bare.unwrap_or(host).to_owned(), port, login })
    }
}

/// Without the password.
impl fmt::Display for WayOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Without the password.
impl fmt::Debug for WayOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WayOut({self})")
    }
}

/// Without the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?})", self.user)
    }
}

impl fmt::Display for WayOutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not `[user:password@]host:port`")
    }
}

impl std::error::Error for WayOutError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "",
            "h",
            "h:",
            ":1",
            "h:0",
            "h:65536",
            "h:x",
            "a:b:1",
            "[::1]",
            "[x]:1",
            "u@h:1",
            ":p@h:1",
            "u:@h:1",
            "http://h:1",
            "h h:1",
            "h\n:1",
        ] {
            assert_eq!(text.parse::<WayOut>(), Err(WayOutError), "{text:?}");
        }
        let way_out: WayOut = "u:p:a@b@h:1".parse().unwrap();
        assert_eq!(way_out.login.as_ref().unwrap().password, "p:a@b");
        let shown = format!("{way_out:?} {:?} {way_out}", way_out.login);
        assert!(!shown.contains("p:a"), "{shown}");
    }
}
