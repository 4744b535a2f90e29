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
use tokio::time::{Instant as TokioInstant, sleep_until, timeout};

use crate::channel::{Channel, ReadHalf, WriteHalf};
use crate::core::Core;
use crate::event::LineEvent;
use crate::line::{Line, LineConfig, Shared, Wake};

/// How long what was written last may take to be sent when the line is closed.
const LINGER: Duration = Duration::from_secs(1);

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
    /// let (device, running) = Line::over(reader, writer, Role::Client, config, |_| {});
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
        let bell = Arc::new(Bell { changed: Notify::new(), clock: TokioInstant::now() });
        let shared = Arc::new(Shared::new(Core::new(role, &config), Box::new(Arc::clone(&bell))));
        let driver = Driver {
            shared: Arc::clone(&shared),
            bell,
            observer: Box::new(observer),
            output: vec![0; usize::from(config.mux.frame_max) + 128],
            output_at: 0,
            output_end: 0,
        };
        (Self::new(shared), driver.run(reader, writer))
    }
}

#[derive(Debug)]
struct Bell {
    changed: Notify,
    clock: TokioInstant,
}

impl Wake for Arc<Bell> {
    fn wake(&self) {
        self.changed.notify_one();
    }

    fn now(&self) -> Instant {
        let since = self.clock.elapsed().as_micros();
        Instant::from_micros(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

struct Driver {
    shared: Arc<Shared>,
    bell: Arc<Bell>,
    observer: Box<dyn FnMut(LineEvent) + Send>,
    /// What is to be written: the bytes from `output_at` to `output_end`.
    output: Vec<u8>,
    output_at: usize,
    output_end: usize,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.lock().abort();
    }
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
        loop {
            self.observe();
            if self.shared.lock().is_deserted() {
                return timeout(LINGER, self.part(&mut writer)).await.unwrap_or(Ok(()));
            }
            self.fill_output();
            let output = self.output.get(self.output_at..self.output_end).unwrap_or_default();
            let deadline = self.shared.lock().deadline();
            let due = async {
                match deadline {
                    Some(at) => {
                        sleep_until(self.bell.clock + Duration::from_micros(at.as_micros())).await;
                    }
                    None => std::future::pending().await,
                }
            };
            let length = tokio::select! {
                read = reader.read(&mut input) => match read? {
                    0 => return Ok(()),
                    length => length,
                },
                written = writer.write(output), if !output.is_empty() => {
                    match written? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        length => self.output_at += length,
                    }
                    0
                }
                () = self.bell.changed.notified() => 0,
                () = due => 0,
            };
            if self.output_at == self.output_end {
                writer.flush().await?;
            }
            let now = self.bell.now();
            let mut core = self.shared.lock();
            core.receive(now, input.get(..length).unwrap_or_default());
            core.handle_timeout(now);
        }
    }

    fn observe(&mut self) {
        loop {
            let event = self.shared.lock().pop_event();
            let Some(event) = event else { return };
            (self.observer)(event);
        }
    }

    /// Fills the output if it is empty.
    fn fill_output(&mut self) {
        if self.output_at == self.output_end {
            let now = self.bell.now();
            let length = self.shared.lock().transmit(now, &mut self.output);
            (self.output_at, self.output_end) = (0, length);
        }
    }

    /// Sends the last bytes and the ends of channels.
    async fn part<W: AsyncWrite + Send + Unpin>(&mut self, writer: &mut W) -> io::Result<()> {
        loop {
            self.fill_output();
            let output = self.output.get(self.output_at..self.output_end).unwrap_or_default();
            if output.is_empty() {
                return writer.flush().await;
            }
            writer.write_all(output).await?;
            self.output_at = self.output_end;
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Self::poll_read(&self, cx, room.initialize_unfilled());
        read.map_ok(|length| room.advance(length))
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
        self.shut();
        Self::poll_flush(&self, cx)
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(self.halves().0), cx, room)
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
