//! A link to the proxy, a socket or a channel of a line, with limits on how long it may block.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use sspc_line::{Channel, Line, client_line};

use crate::host::Options;
#[cfg(feature = "tls")]
use crate::host::tls::Tls;
use sspc_address::Address;

#[derive(Debug)]
pub(super) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(TcpStream, std::boxed::Box<Tls>),
    Channel(Channel),
}

impl Socket {
    /// Opens the link; `line` is the line that is open already, or then is.
    pub(super) fn open(
        address: &Address,
        options: &Options,
        line: &mut Option<Line>,
    ) -> io::Result<Self> {
        let limit = options.connect_timeout;
        match address {
            Address::Serial(_) | Address::Network(_) | Address::Own { .. } => {
                let line = match (line, address.line()) {
                    (Some(line), _) => line,
                    (line, Some(address)) => line.insert(client_line(address)?),
                    (None, None) => return Err(io::ErrorKind::NotFound.into()),
                };
                line.channel(options.priority, Some(limit)).map(Self::Channel)
            }
            Address::Abstract(name) => abstract_socket(name).map(Self::Unix),
            Address::Path(path) => UnixStream::connect(path).map(Self::Unix),
            Address::Tcp { host, port } => tcp(host, *port, limit).map(Self::Tcp),
            #[cfg(feature = "tls")]
            Address::Tls(address) => {
                let mut tls = std::boxed::Box::new(Tls::new(address)?);
                let mut stream = tcp(&address.host, address.port, limit)?;
                limit_both(&stream, Some(limit.max(SHORTEST)))?;
                let start = std::time::Instant::now();
                while tls.is_handshaking() {
                    tls.step(&mut stream)?;
                    if start.elapsed() > limit {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Ok(Self::Tls(stream, tls))
            }
            #[cfg(not(feature = "tls"))]
            Address::Tls(_) => Err(crate::host::no_tls()),
        }
    }

    /// Reads what there is, waiting at most this long for it; `None` if nothing came.
    pub(super) fn read(
        &mut self,
        buf: &mut [u8],
        limit: Option<Duration>,
    ) -> io::Result<Option<usize>> {
        let limit = limit.map(|limit| limit.max(SHORTEST));
        done(match self {
            Self::Unix(stream) => {
                stream.set_read_timeout(limit)?;
                stream.read(buf)
            }
            Self::Tcp(stream) => {
                stream.set_read_timeout(limit)?;
                stream.read(buf)
            }
            #[cfg(feature = "tls")]
            Self::Tls(stream, tls) => {
                limit_both(stream, limit)?;
                tls.read(stream, buf)
            }
            Self::Channel(channel) => return channel.read_within(buf, limit),
        })
    }

    /// Writes what goes, waiting at most this long for room; `None` if there was none.
    pub(super) fn write(&mut self, bytes: &[u8], limit: Duration) -> io::Result<Option<usize>> {
        let limit = Some(limit.max(SHORTEST));
        done(match self {
            Self::Unix(stream) => {
                stream.set_write_timeout(limit)?;
                stream.write(bytes)
            }
            Self::Tcp(stream) => {
                stream.set_write_timeout(limit)?;
                stream.write(bytes)
            }
            #[cfg(feature = "tls")]
            Self::Tls(stream, tls) => {
                limit_both(stream, limit)?;
                tls.write(stream, bytes)
            }
            Self::Channel(channel) => return channel.write_within(bytes, limit),
        })
    }
}

/// A limit of 0 would mean none.
const SHORTEST: Duration = Duration::from_millis(1);

fn tcp(host: &str, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let mut failed = io::ErrorKind::NotFound.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit.max(SHORTEST)) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// TLS may have to send before it can read, and to read before it can send.
#[cfg(feature = "tls")]
fn limit_both(stream: &TcpStream, limit: Option<Duration>) -> io::Result<()> {
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)
}

fn done(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_socket(name: &str) -> io::Result<UnixStream> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_socket(_name: &str) -> io::Result<UnixStream> {
    let text = "this system has no abstract socket names; write uds:/path";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}
