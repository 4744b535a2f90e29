//! TLS over a TCP socket of tokio.

use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::tokio::net::TcpStream;
use ::tokio::task::spawn_blocking;
use sspc_address::TlsAddress;

use crate::host::tls::Tls;

#[derive(Debug)]
pub(super) struct TlsConn {
    socket: TcpStream,
    tls: Mutex<Tls>,
}

/// A socket whose calls never wait.
struct Now<'s>(&'s TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsConn {
    /// Connects, and is ready when the handshake is over.
    pub(super) async fn open(address: &TlsAddress) -> io::Result<Self> {
        let of_files = address.clone();
        let tls = spawn_blocking(move || Tls::new(&of_files)).await;
        let tls = tls.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))?;
        let socket = TcpStream::connect((address.host.as_str(), address.port)).await?;
        socket.set_nodelay(true)?;
        let conn = Self { socket, tls: Mutex::new(tls) };
        conn.when_ready(|tls, socket| {
            while tls.is_handshaking() {
                tls.step(socket)?;
            }
            Ok(())
        })
        .await?;
        Ok(conn)
    }

    /// Waits until there is something to read, and reads it.
    pub(super) async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.when_ready(|tls, socket| tls.read(socket, buf)).await
    }

    /// Waits until something can be written, and writes it. If this is cancelled, the next write has
    /// to begin with the same bytes.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.writable().await?;
                }
                done => return done,
            }
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.tls().write(&mut Now(&self.socket), bytes)
    }

    /// Tries each time that the socket may be ready for what TLS waits for.
    async fn when_ready<T>(
        &self,
        mut attempt: impl FnMut(&mut Tls, &mut Now<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let sends_too = {
                let mut tls = self.tls();
                match attempt(&mut tls, &mut Now(&self.socket)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => tls.wants_write(),
                    done => return done,
                }
            };
            ::tokio::select! {
                ready = self.socket.readable() => ready?,
                ready = self.socket.writable(), if sends_too => ready?,
            }
        }
    }

    fn tls(&self) -> MutexGuard<'_, Tls> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
