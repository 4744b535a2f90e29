//! A link to the proxy: a socket, or a channel of a line.

use std::format;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::tokio::net::{TcpStream, UnixStream};
use ::tokio::task::spawn_blocking;
use ::tokio::time::{sleep, timeout};
use sspc_line::{Channel, Line, Priority, client_line};

use crate::host::Options;
#[cfg(feature = "tls")]
use crate::tokio::tls::TlsConn;
use sspc_address::Address;

/// How long to wait where the proxy's queue of new connections is full.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(10);

/// Where the proxy is.
#[derive(Clone, Debug, Default)]
pub(super) struct ProxyTarget {
    pub(super) address: Address,
    /// The line, once it is open; kept so that streams that come and go share it.
    line: Arc<OnceLock<Line>>,
}

impl ProxyTarget {
    pub(super) fn new(address: Address) -> Self {
        Self { address, line: Arc::default() }
    }

    pub(super) fn on_line(line: Line, name: &str) -> Self {
        Self { address: Address::Own { name: name.into() }, line: Arc::new(OnceLock::from(line)) }
    }

    async fn line(&self) -> io::Result<Line> {
        if let Some(line) = self.line.get() {
            return Ok(line.clone());
        }
        let Some(address) = self.address.line() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let opened = spawn_blocking(move || client_line(address)).await;
        let line = opened.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))?;
        Ok(self.line.get_or_init(|| line).clone())
    }
}

#[derive(Debug)]
pub(super) enum Conn {
    Unix(UnixStream),
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(std::boxed::Box<TlsConn>),
    Channel(Channel),
}

impl Conn {
    pub(super) async fn open(target: ProxyTarget, options: Options) -> io::Result<Self> {
        match timeout(options.connect_timeout, Self::connect(&target, options.priority)).await {
            Ok(conn) => conn,
            Err(_) => match target.line.get() {
                Some(line) => Err(line.not_opened()),
                None => Err(io::ErrorKind::TimedOut.into()),
            },
        }
    }

    async fn connect(target: &ProxyTarget, priority: Priority) -> io::Result<Self> {
        match &target.address {
            Address::Serial(_) | Address::Network(_) | Address::Own { .. } => {
                let line = target.line().await?;
                Ok(Self::Channel(line.open_channel(priority).await?))
            }
            Address::Abstract(name) => {
                if !cfg!(any(target_os = "linux", target_os = "android")) {
                    let text = "this system has no abstract socket names; write uds:/path";
                    return Err(io::Error::new(io::ErrorKind::Unsupported, text));
                }
                Self::connect_unix(format!("\0{name}").as_ref()).await
            }
            Address::Path(path) => Self::connect_unix(path).await,
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            #[cfg(feature = "tls")]
            Address::Tls(address) => Ok(Self::Tls(TlsConn::open(address).await?.into())),
            #[cfg(not(feature = "tls"))]
            Address::Tls(_) => Err(crate::host::no_tls()),
        }
    }

    async fn connect_unix(path: &std::path::Path) -> io::Result<Self> {
        loop {
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sleep(QUEUE_FULL_WAIT).await;
                }
                done => return done.map(Self::Unix),
            }
        }
    }

    /// Waits until there is something to read, and reads it.
    pub(super) async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let done = match self {
                Self::Unix(stream) => {
                    stream.readable().await?;
                    stream.try_read(buf)
                }
                Self::Tcp(stream) => {
                    stream.readable().await?;
                    stream.try_read(buf)
                }
                #[cfg(feature = "tls")]
                Self::Tls(conn) => return conn.read(buf).await,
                Self::Channel(channel) => poll_fn(|cx| channel.poll_read(cx, buf)).await,
            };
            match done {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// Waits until something can be written, and writes it.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self {
                Self::Unix(stream) => stream.writable().await?,
                Self::Tcp(stream) => stream.writable().await?,
                #[cfg(feature = "tls")]
                Self::Tls(conn) => return conn.write(bytes).await,
                Self::Channel(channel) => return poll_fn(|cx| channel.poll_write(cx, bytes)).await,
            }
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Tcp(stream) => stream.try_write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(conn) => conn.try_write(bytes),
            Self::Channel(channel) => {
                match channel.poll_write(&Context::from_waker(Waker::noop()), bytes) {
                    Poll::Ready(done) => done,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }
}
