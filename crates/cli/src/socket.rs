//! Connections to and from sockets, as descriptors.

use std::io;
use std::os::fd::OwnedFd;

use sspc_address::Address;
use sspc_proxy::Accepted;
use tokio::net::{TcpStream, UnixStream};

/// A client's connection.
pub(crate) fn accepted(connection: Accepted) -> io::Result<OwnedFd> {
    match connection {
        Accepted::Unix(socket) => Ok(socket.into_std()?.into()),
        Accepted::Tcp(socket) => tcp(socket),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Connects to a proxy at a socket.
pub(crate) async fn connect(address: &Address) -> io::Result<OwnedFd> {
    match address {
        Address::Abstract(name) => {
            let socket = UnixStream::connect(format!("\0{name}")).await?;
            Ok(socket.into_std()?.into())
        }
        Address::Path(path) => Ok(UnixStream::connect(path).await?.into_std()?.into()),
        Address::Tcp { host, port } => tcp(TcpStream::connect((host.as_str(), *port)).await?),
        // One that has to do with TLS is more than a descriptor.
        Address::Tls(_) | Address::Serial(_) | Address::Network(_) | Address::Own { .. } => {
            let text = format!("{address} is not a plain socket");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}

/// Bytes are sent as soon as they are there.
fn tcp(socket: TcpStream) -> io::Result<OwnedFd> {
    socket.set_nodelay(true)?;
    Ok(socket.into_std()?.into())
}
