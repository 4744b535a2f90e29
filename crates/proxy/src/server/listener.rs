//! Listening for those who do something else with a client's connection than serve it.

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::bind::{self, Bound, ListenError, Socket, SocketFile};
use super::tcp;
use crate::config::{Limits, Timeouts};
use sspc_address::ListenAddress;

/// A socket where clients connect, bound by the rules of [`Proxy::listen`](crate::Proxy::listen),
/// without a proxy behind it.
#[derive(Debug)]
pub struct Listener {
    address: ListenAddress,
    socket: AsyncSocket,
    /// Held for its drop.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum AsyncSocket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A client's connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Accepted {
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Over TCP; small frames do not wait for more, and a client that is gone without a word ends it
    /// after a minute in which nothing was on its way.
    Tcp(TcpStream),
}

impl Listener {
    /// Binds an address of a socket, at once. Its file, if it has one, is removed when the listener
    /// is dropped.
    ///
    /// # Errors
    /// See [`ListenError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn bind(address: &ListenAddress) -> Result<Self, ListenError> {
        match address {
            ListenAddress::Serial(_) | ListenAddress::Network(_) => {
                return Err(not_a_socket(address.clone()));
            }
            ListenAddress::Tls(_) => return Err(no_tls(address.clone())),
            _ => {}
        }
        Self::new(bind::bind(address, &Limits::default(), |_| {})?)
    }

    /// Takes over a Unix socket that listens already, for instance one that systemd passed on.
    ///
    /// # Errors
    /// The system refuses.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn adopt_unix(socket: StdUnixListener) -> Result<Self, ListenError> {
        let address = bind::unix_address(&socket);
        Self::new(bind::adopt_unix(socket, address, None)?)
    }

    /// Takes over a TCP socket that listens already, for instance one that systemd passed on.
    ///
    /// # Errors
    /// The system refuses.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn adopt_tcp(socket: StdTcpListener) -> Result<Self, ListenError> {
        Self::new(bind::adopt_tcp(socket)?)
    }

    fn new(bound: Bound) -> Result<Self, ListenError> {
        let Bound { address, socket, file } = bound;
        let socket = match socket {
            Socket::Unix(socket) => UnixListener::from_std(socket).map(AsyncSocket::Unix),
            Socket::Tcp(socket) => TcpListener::from_std(socket).map(AsyncSocket::Tcp),
            Socket::Line(_) | Socket::Network(_) => return Err(not_a_socket(address)),
            Socket::Tls(..) => return Err(no_tls(address)),
        };
        match socket {
            Ok(socket) => Ok(Self { address, socket, _file: file }),
            Err(error) => Err(ListenError::System { address, action: "watch it", error }),
        }
    }

    /// Where it listens, with the port that was free if it asked for any.
    pub const fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The next client. Cancel safe.
    ///
    /// # Errors
    /// The system's. Most concern one client or pass; go on after a moment.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            AsyncSocket::Unix(socket) => Ok(Accepted::Unix(socket.accept().await?.0)),
            AsyncSocket::Tcp(socket) => {
                let (stream, _) = socket.accept().await?;
                tcp::set_up(&stream, Timeouts::default().client_gone)?;
                Ok(Accepted::Tcp(stream))
            }
        }
    }
}

fn no_tls(address: ListenAddress) -> ListenError {
    ListenError::Tls { address, why: "only a proxy itself serves TLS".to_owned() }
}

fn not_a_socket(address: ListenAddress) -> ListenError {
    let error = io::Error::new(io::ErrorKind::Unsupported, "it is a line");
    ListenError::System { address, action: "accept connections", error }
}
