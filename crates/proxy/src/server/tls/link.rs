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
