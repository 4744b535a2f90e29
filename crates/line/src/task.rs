//! Runs a line over any async byte pipe, as a future; channels as tokio's streams.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sspc_mux::{Instant, Role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant as TokioInstant, sleep_until};

use crate::channel::{Channel, ReadHalf, WriteHalf};
use crate::config::LineConfig;
use crate::event::LineEvent;
use crate::keys::LineKeys;
use crate::line::{Line, Shared, Wake};
use crate::state::LineState;

/// How long what was written last may take to be sent when the line is closed.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

impl Line {
    /// A line over a byte pipe of one's own, and the future that runs it: until the pipe ends, or
    /// the last [`Line`] and [`Channel`] of it are dropped. Nothing moves unless the future is
    /// polled. `observer` is called for each event and must not block.
    ///
    /// ```
    /// use sspc_line::{Line, LineConfig, Priority, Role};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let (here, there) = duplex(1024);
    /// let ((reader, writer), config) = (split(here), LineConfig::default());
    /// let (device, running) = Line::over(reader, writer, Role::Client, config.clone(), |_| {});
    /// tokio::spawn(running);
    /// let (reader, writer) = split(there);
    /// let (gateway, running) = Line::over(reader, writer, Role::Proxy, config, |_| {});
    /// tokio::spawn(running);
    ///
    /// let mut ours = device.open_channel(Priority::default()).await?;
    /// let mut theirs = gateway.accept().await.ok_or("closed")?;
    /// ours.write_all(b"hello").await?;
    /// let mut heard = [0; 5];
    /// theirs.read_exact(&mut heard).await?;
    /// assert_eq!(&heard, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The future ends with the error that reading or writing ended with; a broken pipe is no error
    /// but the pipe's end.
    ///
    /// # Panics
    /// The future, outside of a tokio runtime with its timer.
    pub fn over<R, W>(
        reader: R,
        writer: W,
        role: Role,
        config: LineConfig,
        observer: impl FnMut(LineEvent) + Send + 'static,
    ) -> (Self, impl Future<Output = io::Result<()>> + Send)
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        let (line, end) = LineEnd::new(role, &config, Box::new(observer));
        let running = async move {
            let driver = Driver {
                end: end?,
                output: vec![0; config.output_size()],
                output_at: 0,
                output_end: 0,
            };
            driver.run(reader, writer).await
        };
        (line, running)
    }
}

/// What those have in common that drive a line as a future. When it is dropped the line has ended.
pub(crate) struct LineEnd {
    pub(crate) alarm: Alarm,
    observer: Box<dyn FnMut(LineEvent) + Send>,
}

/// A line's state, the time, and when there is something to do about it.
#[derive(Clone, Debug)]
pub(crate) struct Alarm {
    pub(crate) shared: Arc<Shared>,
    notifier: Arc<Notifier>,
}

impl LineEnd {
    /// With the line's users' side.
    ///
    /// # Errors
    /// The system has no random numbers for keys. The line has ended then.
    pub(crate) fn new(
        role: Role,
        config: &LineConfig,
        observer: Box<dyn FnMut(LineEvent) + Send>,
    ) -> (Line, io::Result<Self>) {
        let keys = config.keys.as_ref().map(LineKeys::seeded).transpose();
        let (keys, failed) = match keys {
            Ok(keys) => (keys, None),
            Err(error) => (None, Some(error)),
        };
        let notifier = Arc::new(Notifier { changed: Notify::new(), clock: TokioInstant::now() });
        let state = LineState::new(role, config, keys);
        let shared = Arc::new(Shared::new(state, Box::new(Arc::clone(&notifier))));
        let alarm = Alarm { shared: Arc::clone(&shared), notifier };
        let end = Self { alarm, observer };
        (Line::new(shared), failed.map_or(Ok(end), Err))
    }

    /// Calls the observer with what happened.
    pub(crate) fn observe(&mut self) {
        loop {
            let event = self.alarm.shared.lock().pop_event();
            let Some(event) = event else { return };
            (self.observer)(event);
        }
    }
}

impl Alarm {
    pub(crate) fn now(&self) -> Instant {
        self.notifier.now()
    }

    /// Ready when a user of the line has done something.
    pub(crate) async fn changed(&self) {
        self.notifier.changed.notified().await;
    }

    /// Ready when the line has something to do though nothing happened, and at `also` at the latest.
    pub(crate) async fn due(&self, also: Option<TokioInstant>) {
        let deadline = self.shared.lock().deadline();
        let deadline =
            deadline.map(|at| self.notifier.clock + Duration::from_micros(at.as_micros()));
        match deadline.into_iter().chain(also).min() {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for LineEnd {
    fn drop(&mut self) {
        self.alarm.shared.lock().abort();
    }
}

#[derive(Debug)]
struct Notifier {
    changed: Notify,
    clock: TokioInstant,
}

impl Wake for Arc<Notifier> {
    fn wake(&self) {
        self.changed.notify_one();
    }

    fn now(&self) -> Instant {
        let since = self.clock.elapsed().as_micros();
        Instant::from_micros(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

struct Driver {
    end: LineEnd,
    /// What is to be written: the bytes from `output_at` to `output_end`.
    output: Vec<u8>,
    output_at: usize,
    output_end: usize,
}

impl Driver {
    async fn run<R, W>(self, reader: R, writer: W) -> io::Result<()>
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        match self.drive(reader, writer).await {
            // A peer that hung up is noticed by whichever comes first, reading or writing.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    async fn drive<R, W>(mut self, mut reader: R, mut writer: W) -> io::Result<()>
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        let mut input = [0; 4096];
        let mut sending = Sending::Done;
        // When to stop at the latest, once nobody uses the line.
        let mut leave_at = None;
        loop {
            self.end.observe();
            if leave_at.is_none() && self.end.alarm.shared.lock().is_unused() {
                leave_at = Some(TokioInstant::now() + LINGER);
            }
            if matches!(sending, Sending::Done) && self.fill_output() {
                sending = Sending::Writing;
            }
            let is_time_over = leave_at.is_some_and(|at| at <= TokioInstant::now());
            if is_time_over || leave_at.is_some() && matches!(sending, Sending::Done) {
                return sending.into_result();
            }
            let output = self.output.get(self.output_at..self.output_end).unwrap_or_default();
            let length = tokio::select! {
                read = reader.read(&mut input) => match read {
                    Ok(length @ 1..) => length,
                    end => return sending.into_result().and(end.map(|_| ())),
                },
                sent = sending.send(&mut writer, output) => {
                    match sent {
                        Ok(length) => self.output_at += length,
                        // What came before is still to be read.
                        Err(error) => {
                            leave_at = Some(TokioInstant::now() + LINGER);
                            sending = Sending::Failed(error);
                        }
                    }
                    if self.output_at == self.output_end {
                        sending.written();
                    }
                    0
                }
                () = self.end.alarm.changed() => 0,
                () = self.end.alarm.due(leave_at) => 0,
            };
            let now = self.end.alarm.now();
            let mut line = self.end.alarm.shared.lock();
            line.receive(now, input.get(..length).unwrap_or_default());
            line.handle_timeout(now);
        }
    }

    /// Fills the output; false if there is nothing to be sent.
    fn fill_output(&mut self) -> bool {
        let now = self.end.alarm.now();
        let length = self.end.alarm.shared.lock().transmit(now, &mut self.output);
        (self.output_at, self.output_end) = (0, length);
        length > 0
    }
}

/// What becomes of the output. None of it may be waited for alone: the peer may be waiting for this
/// end to read.
enum Sending {
    /// All of it is with the pipe.
    Done,
    /// Some is still to be written.
    Writing,
    /// All is written, and to be flushed.
    Flushing,
    /// The pipe takes no more.
    Failed(io::Error),
}

impl Sending {
    /// Writes some of the output, and returns how much, or flushes it; never ready if there is
    /// nothing to do.
    async fn send<W: AsyncWrite + Unpin>(
        &self,
        writer: &mut W,
        output: &[u8],
    ) -> io::Result<usize> {
        match self {
            Self::Writing => match writer.write(output).await? {
                0 => Err(io::ErrorKind::WriteZero.into()),
                length => Ok(length),
            },
            Self::Flushing => writer.flush().await.map(|()| 0),
            Self::Done | Self::Failed(_) => std::future::pending().await,
        }
    }

    /// The output is written to its end, or flushed.
    fn written(&mut self) {
        match self {
            Self::Writing => *self = Self::Flushing,
            Self::Flushing => *self = Self::Done,
            Self::Done | Self::Failed(_) => {}
        }
    }

    fn into_result(self) -> io::Result<()> {
        if let Self::Failed(error) = self { Err(error) } else { Ok(()) }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Self::poll_read(&self, cx, buf.initialize_unfilled());
        read.map_ok(|length| buf.advance(length))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Self::poll_write(&self, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_flush(&self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Self::poll_flush(&self, cx)
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(self.halves().0), cx, buf)
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(self.halves().1), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(self.halves().1), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(self.halves().1), cx)
    }
}
