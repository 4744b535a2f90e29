//! Binding sockets and opening serial ports. Everything here is std and blocking, so that a bad
//! address ends a program before it runs.

use std::fs;
use std::io;
use std::net::{SocketAddr as IpSocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::socket::sockopt::AcceptConn;
use nix::sys::socket::{Backlog, getsockopt, listen};
use nix::unistd::{Group, User};
use rustls::ServerConfig;
use sspc_address::{ListenAddress, Owner};
use sspc_line::{Line, LineConfig, LineEvent, Role};

use super::network::{self, NetworkSocket};
use super::tls;
use crate::config::Limits;

/// An address cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Someone answers there already, or has the serial port.
    #[error("cannot listen at {address}: another process uses it")]
    InUse {
        /// The address.
        address: ListenAddress,
    },
    /// The path of a socket is that of something else.
    #[error("cannot listen at {address}: the path exists and is not a socket")]
    NotASocket {
        /// The address.
        address: ListenAddress,
    },
    /// A socket that was passed takes no connections: it is a connection itself.
    #[error(
        "cannot listen at {address}: the socket that was passed does not listen; under systemd, \
         set Accept=no in the .socket unit"
    )]
    NotListening {
        /// The address.
        address: ListenAddress,
    },
    /// The owner of a socket file is not known here.
    #[error("cannot listen at {address}: there is no {kind} {name:?}")]
    UnknownOwner {
        /// The address.
        address: ListenAddress,
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A TCP address that other machines reach, without TLS.
    #[error(
        "cannot listen at {address}: without TLS, everyone on the network may open streams, read \
         what passes and change it; add ?cert=/path&key=/path for TLS, listen at 127.0.0.1, or, on \
         a network that you trust, add ?tls=off"
    )]
    NeedsTls {
        /// The address.
        address: ListenAddress,
    },
    /// A file of TLS is missing, or is not what it has to be.
    #[error("cannot listen at {address}: {why}")]
    Tls {
        /// The address.
        address: ListenAddress,
        /// Which file, and what is wrong with it.
        why: String,
    },
    /// The system refuses.
    #[error("cannot listen at {address}: cannot {action}: {error}")]
    System {
        /// The address.
        address: ListenAddress,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// A bound socket, whose file is removed when it is dropped, or an open serial line.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The address as it is, with the port that was free.
    pub(crate) address: ListenAddress,
    pub(crate) socket: Socket,
    /// Held for its drop.
    pub(crate) file: Option<SocketFile>,
}

/// A non-blocking socket that listens, or a line that does.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
    Tls(TcpListener, Arc<ServerConfig>),
    Line(Line),
    Network(NetworkSocket),
}

/// Binds `address`; `limits` and `observer` are for a line.
pub(crate) fn bind(
    address: &ListenAddress,
    limits: &Limits,
    observer: impl FnMut(LineEvent) + Send + 'static,
) -> Result<Bound, ListenError> {
    let failed = |action| {
        move |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::ResourceBusy => {
                ListenError::InUse { address: address.clone() }
            }
            _ => ListenError::System { address: address.clone(), action, error },
        }
    };
    match address {
        ListenAddress::Abstract { name } => {
            let socket = SocketAddr::from_abstract_name(name)
                .and_then(|name| UnixListener::bind_addr(&name))
                .map_err(failed("bind"))?;
            adopt_unix(socket, address.clone(), None)
        }
        ListenAddress::Path { path, mode, owner } => {
            let (socket, file) = bind_path(address, path, *mode, owner.as_ref())?;
            adopt_unix(socket, address.clone(), Some(file))
        }
        ListenAddress::Tcp { host, port, tls_off } => {
            let found = (host.as_str(), *port).to_socket_addrs().map_err(failed("find it"))?;
            let found: Vec<_> = found.collect();
            let is_local = |found: &IpSocketAddr| found.ip().to_canonical().is_loopback();
            if !tls_off && !found.iter().all(is_local) {
                return Err(ListenError::NeedsTls { address: address.clone() });
            }
            let mut bound = adopt_tcp(bind_tcp(&found, failed)?)?;
            if let ListenAddress::Tcp { tls_off: off, .. } = &mut bound.address {
                *off = *tls_off;
            }
            Ok(bound)
        }
        ListenAddress::Tls(tls) => {
            let config =
                tls::load(tls).map_err(|why| ListenError::Tls { address: address.clone(), why })?;
            let found = (tls.host.as_str(), tls.port).to_socket_addrs();
            let found: Vec<_> = found.map_err(failed("find it"))?.collect();
            let socket = bind_tcp(&found, failed)?;
            let local = socket.local_addr().map_err(failed("read its address"))?;
            socket.set_nonblocking(true).map_err(failed("make it non-blocking"))?;
            let mut tls = tls.clone();
            (tls.host, tls.port) = (local.ip().to_string(), local.port());
            let socket = Socket::Tls(socket, config);
            Ok(Bound { address: ListenAddress::Tls(tls), socket, file: None })
        }
        ListenAddress::Network(network) => network::bind(network),
        ListenAddress::Serial(port) => {
            let config = limits.limit_line(LineConfig::for_port(port));
            let line = Line::open_with(port, Role::Proxy, config, observer);
            let line = line.map_err(failed("open it"))?;
            Ok(Bound { address: address.clone(), socket: Socket::Line(line), file: None })
        }
    }
}

fn bind_tcp<F: FnOnce(io::Error) -> ListenError>(
    found: &[IpSocketAddr],
    failed: impl Fn(&'static str) -> F,
) -> Result<TcpListener, ListenError> {
    let socket = TcpListener::bind(found).map_err(failed("bind"))?;
    // The standard library lets 128 clients wait. After a restart all come at once, and one
    // too many would not hear of it and wait a second before it tries again.
    listen(&socket, Backlog::MAXCONN).map_err(|error| failed("listen")(error.into()))?;
    Ok(socket)
}

/// Takes over a Unix socket that listens already.
pub(crate) fn adopt_unix(
    socket: UnixListener,
    address: ListenAddress,
    file: Option<SocketFile>,
) -> Result<Bound, ListenError> {
    refuse_connection(&socket, &address)?;
    match socket.set_nonblocking(true) {
        Ok(()) => Ok(Bound { address, socket: Socket::Unix(socket), file }),
        Err(error) => Err(ListenError::System { address, action: "make it non-blocking", error }),
    }
}

/// Takes over a TCP socket that listens already.
pub(crate) fn adopt_tcp(socket: TcpListener) -> Result<Bound, ListenError> {
    let unknown = || ListenAddress::Tcp { host: "?".to_owned(), port: 0, tls_off: true };
    let failed = |action| move |error| ListenError::System { address: unknown(), action, error };
    let local = socket.local_addr().map_err(failed("read its address"))?;
    socket.set_nonblocking(true).map_err(failed("make it non-blocking"))?;
    let (host, port) = (local.ip().to_string(), local.port());
    let address = ListenAddress::Tcp { host, port, tls_off: false };
    refuse_connection(&socket, &address)?;
    Ok(Bound { address, socket: Socket::Tcp(socket), file: None })
}

/// With Accept=yes systemd accepts by itself and passes the connection.
fn refuse_connection(socket: &impl AsFd, address: &ListenAddress) -> Result<(), ListenError> {
    match getsockopt(socket, AcceptConn) {
        Ok(false) => Err(ListenError::NotListening { address: address.clone() }),
        // What the system does not say shows when the first client comes.
        Ok(true) | Err(_) => Ok(()),
    }
}

/// What a Unix socket is called.
pub(crate) fn unix_address(socket: &UnixListener) -> ListenAddress {
    let local = socket.local_addr().ok();
    let name = local.as_ref().and_then(SocketAddr::as_abstract_name);
    match (name, local.as_ref().and_then(SocketAddr::as_pathname)) {
        (Some(name), _) => {
            ListenAddress::Abstract { name: String::from_utf8_lossy(name).into_owned() }
        }
        (None, Some(path)) => {
            ListenAddress::Path { path: path.to_owned(), mode: None, owner: None }
        }
        (None, None) => ListenAddress::Path { path: PathBuf::from("?"), mode: None, owner: None },
    }
}

/// Who may use a socket file unless its address says: its owner and its group.
const MODE: u32 = 0o660;

/// Binds under another name and renames once mode and owner are right: nobody can connect before,
/// and a dead process's file is replaced in one step.
fn bind_path(
    address: &ListenAddress,
    path: &Path,
    mode: Option<u32>,
    owner: Option<&Owner>,
) -> Result<(UnixListener, SocketFile), ListenError> {
    let failed =
        |action| move |error| ListenError::System { address: address.clone(), action, error };
    let ids = owner.map(|owner| owner_ids(address, owner)).transpose()?;
    refuse_occupied(address, path)?;
    let staging = path.with_file_name(format!(".{:x}.ss", std::process::id()));
    match fs::remove_file(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove what is in the way")(error));
        }
        _ => {}
    }
    let socket = UnixListener::bind(&staging).map_err(failed("bind"))?;
    let mut file = SocketFile::of(staging.clone()).map_err(failed("read its file"))?;
    if let Some((user, group)) = ids {
        chown(&staging, user, group).map_err(failed("change its owner"))?;
    }
    let permissions = fs::Permissions::from_mode(mode.unwrap_or(MODE));
    fs::set_permissions(&staging, permissions).map_err(failed("change its mode"))?;
    fs::rename(&staging, path).map_err(failed("name it"))?;
    file.path = path.to_owned();
    Ok((socket, file))
}

/// Refuses a path where someone answers or where something else lies; a socket file that nobody
/// listens at is the leftover of a dead process.
fn refuse_occupied(address: &ListenAddress, path: &Path) -> Result<(), ListenError> {
    let address = || address.clone();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(ListenError::System { address: address(), action: "look at it", error });
        }
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket { address: address() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ListenError::InUse { address: address() }),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                tracing::info!(path = %path.display(), "replacing the socket of a dead process");
                Ok(())
            }
            // A full backlog: someone listens.
            io::ErrorKind::WouldBlock => Err(ListenError::InUse { address: address() }),
            _ => Err(ListenError::System { address: address(), action: "probe it", error }),
        },
    }
}

type Ids = (Option<u32>, Option<u32>);

fn owner_ids(address: &ListenAddress, owner: &Owner) -> Result<Ids, ListenError> {
    let unknown = |kind, name: &str| ListenError::UnknownOwner {
        address: address.clone(),
        kind,
        name: name.to_owned(),
    };
    let user = owner.user.as_deref().map(|name| match name.parse() {
        Ok(number) => Ok(number),
        Err(_) => match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            _ => Err(unknown("user", name)),
        },
    });
    let group = owner.group.as_deref().map(|name| match name.parse() {
        Ok(number) => Ok(number),
        Err(_) => match Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            _ => Err(unknown("group", name)),
        },
    });
    Ok((user.transpose()?, group.transpose()?))
}

/// A socket's file; removed when dropped, unless another one has taken its path.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Nothing is left to be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(address: &ListenAddress) -> Result<Bound, ListenError> {
        super::bind(address, &Limits::default(), |_| {})
    }

    fn at(path: &Path, options: &str) -> ListenAddress {
        format!("uds:{}{options}", path.display()).parse().unwrap()
    }

    #[test]
    fn a_socket_file_has_its_mode_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ss.sock");
        let bound = bind(&at(&path, "?mode=0640")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        drop(bound);
        let bound = bind(&at(&path, "")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ss.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
        let _first = bind(&at(&path, "")).unwrap();
        let second = bind(&at(&path, "")).unwrap_err();
        assert!(matches!(second, ListenError::InUse { .. }), "{second}");
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        fs::write(&path, "keep me").unwrap();
        let refused = bind(&at(&path, "")).unwrap_err();
        assert!(matches!(refused, ListenError::NotASocket { .. }), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "keep me");
    }

    #[test]
    fn a_successor_keeps_its_file_when_its_predecessor_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ss.sock");
        let first = bind(&at(&path, "")).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = bind(&at(&path, "")).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn an_unknown_owner_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused =
            bind(&at(&folder.path().join("s"), "?owner=nobody-of-this-name")).unwrap_err();
        let text = refused.to_string();
        assert!(text.ends_with("there is no user \"nobody-of-this-name\""), "{text}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_abstract_name_is_taken_once() {
        let address: ListenAddress =
            format!("uds:@sspc-listen-test-{}", std::process::id()).parse().unwrap();
        let _first = bind(&address).unwrap();
        assert!(matches!(bind(&address).unwrap_err(), ListenError::InUse { .. }));
    }

    #[test]
    fn port_0_tells_which_port_it_got() {
        let bound = bind(&"tcp:127.0.0.1:0".parse().unwrap()).unwrap();
        let ListenAddress::Tcp { host, port, .. } = bound.address else { panic!() };
        assert_eq!(host, "127.0.0.1");
        assert_ne!(port, 0);
    }
}
