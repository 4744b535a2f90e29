//! Lines over a network: where to, and with which sockets.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use rustix::io::Errno;
use sspc_address::NetworkAddress;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// The addresses of a line over a network, at least one. To be called by those who listen, too: here
/// stands who must have keys.
///
/// # Errors
/// The name is not known, or packets would go over a network without keys.
pub fn resolve(address: &NetworkAddress) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = (address.host.as_str(), address.port).to_socket_addrs()?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    let is_here = found.iter().all(|address| address.ip().to_canonical().is_loopback());
    if address.keys.is_none() && !is_here {
        let text = format!(
            "a line over a network needs keys; write {address}?keys=/path, with a file of keys at \
             both ends, or use an address of this machine itself, such as 127.0.0.1"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(found)
}

pub(crate) fn connect_tcp(address: &NetworkAddress) -> io::Result<TcpStream> {
    let mut failed = io::ErrorKind::NotFound.into();
    for address in resolve(address)? {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A socket that hears the proxy alone, at the first address that there is a way to.
pub(crate) fn connect_udp(address: &NetworkAddress) -> io::Result<UdpSocket> {
    let mut failed = io::ErrorKind::NotFound.into();
    for address in resolve(address)? {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0; 4], 0).into(),
            SocketAddr::V6(_) => ([0; 16], 0).into(),
        };
        match UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                return Ok(socket);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Whether a datagram was lost, no more: such an error may come from anybody, and the
/// next one may find its way.
pub(crate) const fn is_lost_datagram(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NOBUFS | Errno::MSGSIZE | Errno::PERM
    )
}
