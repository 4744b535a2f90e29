//! What a session needs of the link to its client.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sspc_line::Priority;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::unread;

/// How often a link that is not being read is asked whether its peer is still there.
const GONE_POLL: Duration = Duration::from_millis(500);

/// The half of a link that brings the client's bytes.
pub(crate) trait LinkReader: AsyncRead + Send + Unpin + 'static {
    /// Ready once the client has closed the link, whether or not bytes of it are left to read.
    ///
    /// A session that takes no bytes, because the remote peer takes none either, would else not
    /// notice that its client is gone.
    fn gone(&self) -> impl Future<Output = ()> + Send;
}

/// The half of a link that takes bytes for the client.
pub(crate) trait LinkWriter: AsyncWrite + Send + Unpin + 'static {
    /// True if frames must be small for every client: the link may be slow, or others wait for it.
    const IS_NARROW: bool;

    /// True if [`LinkWriter::poll_all_read`] tells the truth.
    fn tells_when_read(&self) -> bool {
        false
    }

    /// Closes the link, whose other half this is.
    fn close_with(self, reader: impl LinkReader)
    where
        Self: Sized,
    {
        drop((self, reader));
    }

    /// Ready once the client has read all that was written, if the link tells.
    fn poll_all_read(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// How urgent the stream's frames are beside those of others on the same line; a higher level
    /// is more urgent.
    fn set_priority(&self, _level: u8) {}

    /// From here on the client is sent no more than so many bytes ahead of what it has read, if the
    /// link can tell how much that is, and its peer could not stop the proxy otherwise.
    fn limit_ahead(&self, _bytes: u32) {}
}

/// What matters of a link for the frames on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkKind {
    /// [`LinkWriter::IS_NARROW`]
    pub(crate) is_narrow: bool,
    /// [`LinkWriter::tells_when_read`]
    pub(crate) tells_when_read: bool,
}

impl LinkKind {
    pub(crate) fn of<W: LinkWriter>(writer: &W) -> Self {
        Self { is_narrow: W::IS_NARROW, tells_when_read: writer.tells_when_read() }
    }
}

macro_rules! reader_by_readiness {
    ($half:ty) => {
        impl LinkReader for $half {
            async fn gone(&self) {
                loop {
                    match self.ready(Interest::READABLE).await {
                        Ok(ready) if !ready.is_read_closed() => {}
                        _ => return,
                    }
                    tokio::time::sleep(GONE_POLL).await;
                }
            }
        }
    };
}

reader_by_readiness!(tokio::net::unix::OwnedReadHalf);
reader_by_readiness!(tokio::net::tcp::OwnedReadHalf);

impl LinkWriter for tokio::net::unix::OwnedWriteHalf {
    const IS_NARROW: bool = false;

    fn tells_when_read(&self) -> bool {
        unread::is_told(self.as_ref())
    }

    fn close_with(self, reader: impl LinkReader) {
        // Closing shuts it down, too.
        self.forget();
        drop(reader);
    }

    fn poll_all_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        unread::poll_none(self.as_ref(), cx)
    }
}

impl LinkWriter for tokio::net::tcp::OwnedWriteHalf {
    const IS_NARROW: bool = false;
}

/// A channel of a line.
impl LinkReader for sspc_line::ReadHalf {
    async fn gone(&self) {
        self.ended().await;
    }
}

impl LinkWriter for sspc_line::WriteHalf {
    const IS_NARROW: bool = true;

    fn set_priority(&self, level: u8) {
        self.set_priority(Priority::new(level));
    }

    fn limit_ahead(&self, bytes: u32) {
        self.limit_ahead(bytes);
    }
}

/// Half of a byte pipe about which nothing is known. That its client is gone is noticed when it is
/// read from or written to, not in between.
pub(crate) struct AnyPipe<T>(pub(crate) T);

impl<R: AsyncRead + Unpin> AsyncRead for AnyPipe<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, room)
    }
}

impl<R: AsyncRead + Send + Sync + Unpin + 'static> LinkReader for AnyPipe<R> {
    async fn gone(&self) {
        pending().await
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for AnyPipe<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> LinkWriter for AnyPipe<W> {
    const IS_NARROW: bool = true;
}
