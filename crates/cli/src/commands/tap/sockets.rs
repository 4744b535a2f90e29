//! Connections at the ends of a tap.

use std::io;
use std::os::fd::OwnedFd;

use sspc::Address;
use sspc_proxy::Accepted;
use tokio::net::{TcpStream, UnixStream};

/// A client's connection.
pub(super) fn accepted(connection: Accepted) -> io::Result<OwnedFd> {
    match connection {
        Accepted::Unix(socket) => Ok(socket.into_std()?.into()),
        Accepted::Tcp(socket) => tcp(socket),
        _ => Err(io::ErrorKind::Unsupported.into()),
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
