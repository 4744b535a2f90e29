//! Reading what a peer said before it hung up.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio::time::{Sleep, sleep};

/// A stream that is read to its end though nothing can be written to it any more.
///
/// A peer that answers and hangs up makes writes fail while its answer waits to be read. So writes
/// do not fail here: they wait, and reads say how the stream ended.
#[derive(Debug)]
pub(crate) struct ReadOut<S> {
    stream: Take<S>,
    /// Set once the peer takes no more: how long it may still speak.
    speaking: Option<Pin<Box<Sleep>>>,
}

/// How long a peer that takes no more may go on speaking. What TCP keeps of a connection that was
/// reset is there at once; a Unix socket's peer can stop listening and stay.
const SPEAKING_MAX: Duration = Duration::from_secs(5);

/// Most bytes of one read. hyper makes its buffer larger when reads fill it, up to what it may hold
/// of a response's headers, and that is more than a body needs.
const READ_MAX: u64 = 64 * 1024 - 1;

impl<S: AsyncRead> ReadOut<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: stream.take(READ_MAX), speaking: None }
    }

    fn writer(&mut self) -> Pin<&mut S>
    where
        S: Unpin,
    {
        Pin::new(self.stream.get_mut())
    }

    fn unless_hung_up<T>(
        &mut self,
        cx: &Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match result {
            Poll::Ready(Err(error))
                if matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset) =>
            {
                self.speaking = Some(Box::pin(sleep(SPEAKING_MAX)));
                // Nothing more wakes the writer. The reader, of the same task, has to begin to count.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            result => result,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadOut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.set_limit(READ_MAX);
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let (Poll::Pending, Some(speaking)) = (&result, &mut self.speaking) {
            std::task::ready!(speaking.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ReadOut<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.speaking.is_some() {
            return Poll::Pending;
        }
        let result = self.writer().poll_write(cx, bytes);
        self.unless_hung_up(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.speaking.is_some() {
            return Poll::Pending;
        }
        let result = self.writer().poll_write_vectored(cx, slices);
        self.unless_hung_up(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.speaking.is_some() {
            return Poll::Pending;
        }
        let result = self.writer().poll_flush(cx);
        self.unless_hung_up(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.speaking.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.writer().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A server that answers in the middle of an upload and hangs up resets the connection. The next
    /// write failed, and the answer that was there already was never read.
    #[tokio::test]
    async fn an_answer_is_read_though_writing_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"unread, which makes the end a reset").await.unwrap();
        server.readable().await.unwrap();
        server.write_all(b"answer").await.unwrap();
        drop(server);

        let mut stream = ReadOut::new(client);
        while stream.speaking.is_none() {
            let written =
                poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_write(cx, b"more"))).await;
            assert!(!matches!(written, Poll::Ready(Err(_))), "{written:?}");
            tokio::task::yield_now().await;
        }
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        // Then the end, or what ended it.
        assert!(!matches!(stream.read(&mut answer).await, Ok(1..)));
    }

    /// Such a peer could hold a request for ever that waits for it to take more.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_neither_listens_nor_speaks_is_no_peer() {
        let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        server.shutdown(std::net::Shutdown::Read).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut stream = ReadOut::new(tokio::net::UnixStream::from_std(client).unwrap());
        let (mut reader, mut writer) = tokio::io::split(&mut stream);
        let end = tokio::select! {
            end = reader.read_u8() => end,
            never = writer.write_all(b"lost") => panic!("{never:?}"),
        };
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        drop(server);
    }
}
