//! A socket to the proxy.

use std::format;
use std::io;
use std::time::Duration;

use ::tokio::net::{TcpStream, UnixStream};
use ::tokio::time::{sleep, timeout};

use crate::address::Address;

/// How long to wait where the proxy's queue of new connections is full.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) enum Conn {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Conn {
    pub(super) async fn open(address: Address, limit: Duration) -> io::Result<Self> {
        match timeout(limit, Self::connect(&address)).await {
            Ok(conn) => conn,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn connect(address: &Address) -> io::Result<Self> {
        match address {
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
    pub(super) async fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let done = match self {
                Self::Unix(stream) => {
                    stream.readable().await?;
                    stream.try_read(room)
                }
                Self::Tcp(stream) => {
                    stream.readable().await?;
                    stream.try_read(room)
                }
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
        }
    }
}
