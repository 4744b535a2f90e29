//! The two halves of a client's link with TLS.

use std::future::{pending, poll_fn};
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::server::TlsStream;

use crate::server::shared::lock;
use crate::server::tcp::Vigil;
use crate::session::{LinkReader, LinkWriter};

/// How often a link that is not being read is asked whether its peer is still there.
const GONE_POLL: Duration = Duration::from_millis(500);

/// A TCP socket that can move to another runtime.
pub(super) enum Socket {
    Here(TcpStream),
    /// On its way.
    Parked(StdTcpStream),
    Gone,
}

impl Socket {
    /// Takes it out of the runtime.
    pub(super) fn park(&mut self) -> io::Result<()> {
        if let Self::Here(socket) = std::mem::replace(self, Self::Gone) {
            *self = Self::Parked(socket.into_std()?);
        }
        Ok(())
    }

    /// Puts it into the caller's runtime.
    pub(super) fn unpark(&mut self) -> io::Result<()> {
        if let Self::Parked(socket) = std::mem::replace(self, Self::Gone) {
            *self = Self::Here(TcpStream::from_std(socket)?);
        }
        Ok(())
    }

    fn here(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match self {
            Self::Here(socket) => Ok(Pin::new(socket)),
            Self::Parked(_) | Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn has_hung_up(&self) -> bool {
        match self {
            Self::Here(socket) => match socket.ready(Interest::READABLE).now_or_never() {
                Some(Ok(ready)) => ready.is_read_closed(),
                Some(Err(_)) => true,
                None => false,
            },
            Self::Parked(_) | Self::Gone => true,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.here()?.poll_read(cx, room)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.here()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_shutdown(cx)
    }
}

/// Both halves belong to one session's task, so that neither waits for the other.
type Stream = Arc<Mutex<TlsStream<Socket>>>;

pub(super) fn split(stream: TlsStream<Socket>, gone: Duration) -> (TlsReader, TlsWriter) {
    let stream = Arc::new(Mutex::new(stream));
    (TlsReader { stream: Arc::clone(&stream), vigil: Vigil::new(gone) }, TlsWriter { stream })
}

/// The reading half, which fails once the client is gone.
pub(super) struct TlsReader {
    stream: Stream,
    vigil: Vigil,
}

impl TlsReader {
    /// Sends what the last write has left to TLS: a session that has nothing more to write does not
    /// come back for it, but it reads, or waits for the client to go. The next write says what failed.
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut *lock(&self.stream)).poll_flush(cx).map(|_| ())
    }

    fn is_gone(&self) -> bool {
        match lock(&self.stream).get_ref().0 {
            socket if socket.has_hung_up() => true,
            Socket::Here(socket) => self.vigil.is_gone(socket),
            Socket::Parked(_) | Socket::Gone => true,
        }
    }
}

impl AsyncRead for TlsReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let _ = this.poll_flush(cx);
        let mut stream = lock(&this.stream);
        match Pin::new(&mut *stream).poll_read(cx, room) {
            // Frames say by themselves whether they are whole.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => match stream.get_ref().0 {
                Socket::Here(socket) => this.vigil.poll(cx, socket).map(Err),
                Socket::Parked(_) | Socket::Gone => Poll::Pending,
            },
        }
    }
}

impl LinkReader for TlsReader {
    async fn gone(&self) {
        let lost = async {
            loop {
                sleep(GONE_POLL).await;
                if self.is_gone() {
                    return;
                }
            }
        };
        let flushing = async {
            poll_fn(|cx| self.poll_flush(cx)).await;
            pending::<()>().await;
        };
        tokio::select! {
            () = lost => {}
            () = flushing => {}
        }
    }
}

/// The writing half.
pub(super) struct TlsWriter {
    stream: Stream,
}

impl AsyncWrite for TlsWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.stream)).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.stream)).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.stream)).poll_shutdown(cx)
    }
}

impl LinkWriter for TlsWriter {
    const IS_NARROW: bool = false;

    fn close_with(self, reader: impl LinkReader) {
        {
            let mut stream = lock(&self.stream);
            stream.get_mut().1.send_close_notify();
            // What does not go at once is not waited for.
            let _ = Pin::new(&mut *stream).poll_flush(&mut Context::from_waker(Waker::noop()));
        }
        drop((self, reader));
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn pair() -> (TlsStream<Socket>, tokio_rustls::client::TlsStream<TcpStream>) {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let cert = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.clone()], key)
            .unwrap();
        let mut anchors = RootCertStore::empty();
        anchors.add(cert).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(anchors)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let host = ServerName::try_from("localhost").unwrap();
        let accepted = Socket::Here(listener.accept().await.unwrap().0);
        let (server, client) = tokio::join!(
            TlsAcceptor::from(Arc::new(server)).accept(accepted),
            TlsConnector::from(Arc::new(client)).connect(host, link)
        );
        (server.unwrap(), client.unwrap())
    }

    /// A session that has nothing more to write does not come back to the writer.
    #[tokio::test]
    async fn what_was_written_arrives_while_the_session_only_reads_or_waits() {
        for reads in [true, false] {
            let (server, mut client) = pair().await;
            let (mut reader, mut writer) = split(server, Duration::from_secs(60));
            let mut written = 0;
            // Until neither the socket nor TLS takes more.
            while let Some(length) = writer.write(&[7; 4096]).now_or_never() {
                written += length.unwrap();
            }
            let mut room = [0; 8];
            let serving = async {
                if reads {
                    assert_eq!(reader.read(&mut room).await.unwrap(), 2);
                } else {
                    reader.gone().await;
                }
            };
            let receiving = async {
                let mut all = vec![0; written];
                client.read_exact(&mut all).await.unwrap();
                client.write_all(b"ok").await.unwrap();
                client.flush().await.unwrap();
                drop(client);
            };
            let both = async { tokio::join!(serving, receiving) };
            timeout(PATIENCE, both).await.unwrap_or_else(|_| panic!("reads: {reads}"));
        }
    }
}
