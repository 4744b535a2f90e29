//! Sockets at the ends of a tap.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use sspc::Address;
use sspc_proxy::ListenAddress;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Where clients connect.
pub(super) enum Listener {
    Unix { socket: UnixListener, _file: Option<SocketFile> },
    Tcp(TcpListener),
}

impl Listener {
    /// Listens, and says where.
    pub(super) async fn bind(address: &ListenAddress) -> io::Result<(Self, String)> {
        let shown = address.to_string();
        Ok(match address {
            ListenAddress::Abstract { name } => {
                let name = SocketAddr::from_abstract_name(name)?;
                (Self::unix(StdUnixListener::bind_addr(&name)?, None)?, shown)
            }
            ListenAddress::Path { path, mode: None, owner: None } => {
                remove_dead_socket(path)?;
                let socket = StdUnixListener::bind(path)?;
                (Self::unix(socket, Some(SocketFile(path.clone())))?, shown)
            }
            ListenAddress::Tcp { host, port } => {
                let socket = TcpListener::bind((host.as_str(), *port)).await?;
                let shown = format!("tcp:{}", socket.local_addr()?);
                (Self::Tcp(socket), shown)
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "a tap takes no options")),
        })
    }

    fn unix(socket: StdUnixListener, file: Option<SocketFile>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::Unix { socket: UnixListener::from_std(socket)?, _file: file })
    }

    /// The next client.
    pub(super) async fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix { socket, .. } => Ok(socket.accept().await?.0.into_std()?.into()),
            Self::Tcp(socket) => tcp(socket.accept().await?.0),
        }
    }
}

/// Connects to the proxy.
pub(super) async fn connect(address: &Address) -> io::Result<OwnedFd> {
    match address {
        Address::Abstract(name) => {
            let socket = UnixStream::connect(format!("\0{name}")).await?;
            Ok(socket.into_std()?.into())
        }
        Address::Path(path) => Ok(UnixStream::connect(path).await?.into_std()?.into()),
        Address::Tcp { host, port } => tcp(TcpStream::connect((host.as_str(), *port)).await?),
        other => {
            let text = format!("{other} is no socket");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}

/// A connection whose bytes are sent as soon as they are there: what passes is delayed by what was
/// asked for alone.
fn tcp(socket: TcpStream) -> io::Result<OwnedFd> {
    socket.set_nodelay(true)?;
    Ok(socket.into_std()?.into())
}

/// Removed when dropped.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing is left to be done about a file that cannot be removed.
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes the file of a socket at which nobody listens: its process died.
fn remove_dead_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the path exists and is no socket; choose one that is free",
        )),
        Ok(_) => match StdUnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            _ => Err(io::Error::from(io::ErrorKind::AddrInUse)),
        },
    }
}
