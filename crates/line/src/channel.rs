//! A channel of a line as a byte stream.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use sspc_mux::Priority;

use crate::channel_state::ChannelEnd;
use crate::line::Line;
use crate::state::ChannelId;

/// Opening and accepting channels.
impl Line {
    /// Opens a channel and waits for it, at most this long; for as long as the link is down, too.
    ///
    /// # Errors
    /// The time is over, the peer refused it, or all channels are in use.
    pub fn channel(&self, priority: Priority, limit: Option<Duration>) -> io::Result<Channel> {
        let channel = self.request_channel(priority);
        match wait(limit, |cx| self.shared.lock().poll_opened(channel.id(), cx)) {
            Some(Ok(())) => Ok(channel),
            Some(Err(end)) => Err(end.error()),
            None => Err(self.not_opened()),
        }
    }

    /// Opens a channel; waits for as long as the link is down. Cancel safe: a channel that nobody
    /// waits for is closed.
    ///
    /// # Errors
    /// The peer refused it, or all channels are in use.
    pub async fn open_channel(&self, priority: Priority) -> io::Result<Channel> {
        let channel = self.request_channel(priority);
        poll_fn(|cx| self.shared.lock().poll_opened(channel.id(), cx))
            .await
            .map_err(ChannelEnd::error)?;
        Ok(channel)
    }

    fn request_channel(&self, priority: Priority) -> Channel {
        let id = self.shared.command(|line| line.request_channel(priority));
        Channel::new(self.clone(), id)
    }

    /// The next channel that the peer opened; `None` when the line is closed. For
    /// [`Role::Proxy`](crate::Role::Proxy); one caller at a time. Cancel safe.
    pub async fn accept(&self) -> Option<Channel> {
        let id = poll_fn(|cx| self.poll_accept(cx)).await?;
        Some(Channel::new(self.clone(), id))
    }

    fn poll_accept(&self, cx: &Context<'_>) -> Poll<Option<ChannelId>> {
        self.shared.lock().poll_accept(cx)
    }
}

/// A byte stream over a line, both ways. Dropping it closes it once what was written is sent.
#[derive(Debug)]
pub struct Channel {
    read: ReadHalf,
    write: WriteHalf,
}

/// The half of a channel that brings bytes.
#[derive(Debug)]
pub struct ReadHalf(Half);

/// The half of a channel that takes bytes.
#[derive(Debug)]
pub struct WriteHalf(Half);

#[derive(Debug)]
struct Half {
    line: Line,
    id: ChannelId,
}

impl Drop for Half {
    fn drop(&mut self) {
        self.line.shared.command(|line| line.drop_half(self.id));
    }
}

impl Channel {
    pub(crate) fn new(line: Line, id: ChannelId) -> Self {
        let read = ReadHalf(Half { line: line.clone(), id });
        Self { read, write: WriteHalf(Half { line, id }) }
    }

    pub(crate) const fn id(&self) -> ChannelId {
        self.read.0.id
    }

    /// The two halves, to be used apart. The channel is closed when both are dropped.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }

    #[cfg(feature = "tokio")]
    pub(crate) const fn halves(&mut self) -> (&mut ReadHalf, &mut WriteHalf) {
        (&mut self.read, &mut self.write)
    }

    /// The line that it is on.
    pub const fn line(&self) -> &Line {
        &self.read.0.line
    }

    /// Its index on the wire, for logs; `None` until the peer is asked for it. Another channel may
    /// have it after this one's end.
    pub fn index(&self) -> Option<u8> {
        self.line().shared.lock().index(self.id())
    }

    /// Changes the channel's priority from the next frame on.
    pub fn set_priority(&self, priority: Priority) {
        self.write.set_priority(priority);
    }

    /// Reads what there is, waiting at most this long for it; `None` if nothing came, 0 at the
    /// channel's end.
    ///
    /// # Errors
    /// The link was lost, or the reader was too far behind.
    pub fn read_within(
        &self,
        buf: &mut [u8],
        limit: Option<Duration>,
    ) -> io::Result<Option<usize>> {
        done(wait(limit, |cx| self.poll_read(cx, buf)))
    }

    /// Writes what goes, waiting at most this long for room; `None` if there was none.
    ///
    /// # Errors
    /// The channel is closed, or the link was lost.
    pub fn write_within(&self, bytes: &[u8], limit: Option<Duration>) -> io::Result<Option<usize>> {
        done(wait(limit, |cx| self.poll_write(cx, bytes)))
    }

    /// For async code: bytes as far as there are some; 0 at the end.
    pub fn poll_read(&self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.read.poll_read(cx, buf)
    }

    /// For async code: takes as many bytes as there is room for.
    pub fn poll_write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write.poll_write(cx, bytes)
    }
}

impl ReadHalf {
    /// Bytes as far as there are some; 0 at the channel's end.
    pub fn poll_read(&self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let Half { line, id } = &self.0;
        line.shared.lock().poll_read(*id, cx, buf).map_err(ChannelEnd::error)
    }

    /// Ready once the channel is over, whether or not bytes of it are left to read. One caller at
    /// a time.
    pub async fn ended(&self) {
        let Half { line, id } = &self.0;
        poll_fn(|cx| line.shared.lock().poll_ended(*id, cx)).await;
    }
}

impl WriteHalf {
    /// Takes as many bytes as there is room for.
    pub fn poll_write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Half { line, id } = &self.0;
        line.shared.command(|line| line.poll_write(*id, cx, bytes)).map_err(ChannelEnd::error)
    }

    /// Ready when all that was written is with the line.
    pub fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Half { line, id } = &self.0;
        line.shared.lock().poll_flush(*id, cx).map_err(ChannelEnd::error)
    }

    /// Closes the channel once what was written to it is sent: a channel has no half that could
    /// stay open.
    pub fn close(&self) {
        self.0.line.shared.command(|line| line.close_channel(self.0.id));
    }

    /// From here on no more than so many bytes of the channel are on the line that the peer is not
    /// known to have read, with the heads of the mux; what is written beyond that waits. PINGs find
    /// out what was read, so that the limit costs one for each half of it at the most. For peers that
    /// read into a small ring.
    pub fn limit_ahead(&self, bytes: u32) {
        self.0.line.shared.command(|line| line.limit_ahead(self.0.id, bytes));
    }

    /// Changes the channel's priority from the next frame on.
    pub fn set_priority(&self, priority: Priority) {
        self.0.line.shared.command(|line| line.set_priority(self.0.id, priority));
    }
}

fn done(result: Option<io::Result<usize>>) -> io::Result<Option<usize>> {
    result.transpose()
}

/// Blocks until `poll` is ready, or the time is over.
pub(crate) fn wait<T>(
    limit: Option<Duration>,
    mut poll: impl FnMut(&Context<'_>) -> Poll<T>,
) -> Option<T> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let cx = Context::from_waker(&waker);
    let until = limit.and_then(|limit| Instant::now().checked_add(limit));
    loop {
        if let Poll::Ready(done) = poll(&cx) {
            return Some(done);
        }
        let Some(until) = until else {
            std::thread::park();
            continue;
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}
