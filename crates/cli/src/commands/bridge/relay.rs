//! One program's connection, joined to a channel of the line.

use std::fmt;
use std::io;
use std::ops::Range;
use std::time::Duration;

use sspc_line::{Channel, Line, Priority};
use sspc_wire::{FrameError, Piece, ToClient};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::time::timeout;

use super::credit::{FromProgram, FromProxy};

/// How long a program's connection waits for its channel. Deployed clients wait 3 s for the proxy's
/// first bytes, and make no use of later ones.
const OPEN_LIMIT: Duration = Duration::from_millis(2500);
/// How long a program that is refused may take to hear of it.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);
/// How often a program that is not being read is asked whether it is still there.
const PRESENCE_CHECK: Duration = Duration::from_millis(500);
/// The most that is read in one go.
const READ_MAX: usize = 4096;

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum CloseReason {
    /// The program closed it.
    Program,
    /// The proxy closed the channel.
    Proxy,
    /// The program's socket failed.
    Socket(io::Error),
    /// There was no channel for it.
    NoChannel(io::Error),
    /// The channel was lost.
    Channel(io::Error),
    /// What the proxy sent is no frame.
    Garbage(FrameError),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => f.write_str("closed by the program"),
            Self::Proxy => f.write_str("closed by the proxy"),
            Self::Socket(error) => write!(f, "the program's connection failed: {error}"),
            Self::NoChannel(error) | Self::Channel(error) => error.fmt(f),
            Self::Garbage(error) => write!(f, "the proxy sent bytes that are not a frame: {error}"),
        }
    }
}

/// The half of a program's connection that brings its bytes.
pub(crate) trait Reader: AsyncRead + Unpin {
    /// Ready once the program has closed it, whether or not bytes of it are left to read.
    fn gone(&self) -> impl Future<Output = ()> + Send;
}

macro_rules! reader_by_readiness {
    ($half:ty) => {
        impl Reader for $half {
            async fn gone(&self) {
                loop {
                    match self.ready(Interest::READABLE).await {
                        Ok(ready) if !ready.is_read_closed() => {
                            tokio::time::sleep(PRESENCE_CHECK).await
                        }
                        _ => return,
                    }
                }
            }
        }
    };
}

reader_by_readiness!(tokio::net::unix::OwnedReadHalf);
reader_by_readiness!(tokio::net::tcp::OwnedReadHalf);

/// The half of a program's connection that takes what the proxy sends.
pub(crate) trait Writer: AsyncWrite + Unpin {
    /// Waits until the program has read everything, where that can be known. A deployed client
    /// hands on a frame that comes in two reads as two.
    async fn all_read(&self) -> io::Result<()>;
}

impl Writer for tokio::net::unix::OwnedWriteHalf {
    async fn all_read(&self) -> io::Result<()> {
        sspc_proxy::all_read(self.as_ref()).await
    }
}

impl Writer for tokio::net::tcp::OwnedWriteHalf {
    async fn all_read(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Joins a program's connection to a channel of its own, until one of the two ends.
pub(crate) async fn run<R: Reader, W: Writer>(
    line: &Line,
    mut reader: R,
    writer: W,
) -> CloseReason {
    let mut relay = Relay {
        from_program: FromProgram::default(),
        from_proxy: FromProxy::default(),
        buf: vec![0; READ_MAX],
        unread: 0..0,
        to_proxy: Vec::new(),
    };
    let opened = tokio::select! {
        opened = timeout(OPEN_LIMIT, line.open_channel(Priority::default())) => opened,
        reason = relay.wait_for_end(&mut reader) => return reason,
    };
    match opened {
        Ok(Ok(channel)) => relay.join(reader, writer, channel).await,
        Ok(Err(error)) => {
            if error.kind() == io::ErrorKind::ResourceBusy {
                let _ = timeout(REFUSAL_LIMIT, refuse(reader, writer)).await;
            }
            CloseReason::NoChannel(error)
        }
        Err(_) => CloseReason::NoChannel(line.not_opened()),
    }
}

/// Says to a program for which there is no channel what a proxy says that has no room for it, and
/// waits until the program has read it: closing first with bytes of it unread would take that back.
async fn refuse<R: Reader, W: Writer>(mut reader: R, mut writer: W) -> io::Result<()> {
    let list = Piece { data: &[], offset: 0, total: 0 };
    let mut frame = [0; 16];
    let refusal = ToClient::CreateResult { result: 1, client_buflen: 0, list };
    let length = refusal.encode(&mut frame).map_err(io::Error::other)?;
    writer.write_all(frame.get(..length).unwrap_or_default()).await?;
    writer.shutdown().await?;
    let mut unheard = [0; 1024];
    while reader.read(&mut unheard).await? > 0 {}
    Ok(())
}

struct Relay {
    from_program: FromProgram,
    from_proxy: FromProxy,
    /// What the program sent, at `unread` as far as it waits for credit.
    buf: Vec<u8>,
    unread: Range<usize>,
    /// What is to be sent to the proxy.
    to_proxy: Vec<u8>,
}

impl Relay {
    /// Ready when the program goes away; keeps the little that it sends before. Cancel safe.
    async fn wait_for_end<R: Reader>(&mut self, reader: &mut R) -> CloseReason {
        while self.to_proxy.len() < READ_MAX {
            match reader.read(&mut self.buf).await {
                Ok(0) => return CloseReason::Program,
                Ok(length) => {
                    self.unread = 0..length;
                    self.settle();
                }
                Err(error) => return CloseReason::Socket(error),
            }
        }
        std::future::pending().await
    }

    /// Does all that needs no waiting.
    fn settle(&mut self) {
        while let Some((more, is_first)) = self.from_proxy.credit()
            && self.from_program.take_credit(more, is_first)
        {
            self.from_proxy.skip_credit();
        }
        let unread = self.buf.get(self.unread.clone()).unwrap_or_default();
        self.unread.start += self.from_program.pass(unread, &mut self.to_proxy);
        self.from_program.update(&mut self.to_proxy);
    }

    async fn join<R, W>(mut self, mut reader: R, mut writer: W, channel: Channel) -> CloseReason
    where
        R: Reader,
        W: Writer,
    {
        let (mut channel_reader, mut channel) = channel.into_split();
        let mut came = vec![0; READ_MAX];
        let mut sent = 0;
        // The proxy's last words are still handed on when the channel is over.
        let mut over = None;
        loop {
            if sent == self.to_proxy.len() {
                self.to_proxy.clear();
                sent = 0;
            }
            self.settle();
            let for_program = self.from_proxy.next();
            if for_program.is_empty()
                && let Some(reason) = over.take()
            {
                return reason;
            }
            let for_proxy = self.to_proxy.get(sent..).unwrap_or_default();
            let is_open = over.is_none();
            let waits = self.from_program.waits();
            let may_read = waits || for_proxy.is_empty();
            let read_program = async {
                if waits {
                    reader.gone().await;
                    return Ok(0);
                }
                reader.read(&mut self.buf).await
            };
            let to_program = async {
                writer.all_read().await?;
                writer.write(for_program).await
            };
            tokio::select! {
                read = read_program, if is_open && may_read => match read {
                    Ok(0) => return CloseReason::Program,
                    Ok(length) => self.unread = 0..length,
                    Err(error) => return CloseReason::Socket(error),
                },
                written = channel.write(for_proxy), if is_open && !for_proxy.is_empty() => {
                    match written {
                        Ok(length) => sent += length,
                        // What came before this is still to be read.
                        Err(_) => sent = self.to_proxy.len(),
                    }
                }
                read = channel_reader.read(&mut came), if is_open && self.from_proxy.has_room() => {
                    match read {
                        Ok(0) => over = Some(CloseReason::Proxy),
                        Ok(length) => self.from_proxy.push(came.get(..length).unwrap_or_default()),
                        Err(error) => over = Some(CloseReason::Channel(error)),
                    }
                }
                written = to_program, if !for_program.is_empty() => {
                    match written.map(|length| self.from_proxy.written(length)) {
                        Ok(Ok(delivered)) => self.from_program.delivered(&delivered),
                        Ok(Err(error)) => return CloseReason::Garbage(error),
                        Err(error) => return CloseReason::Socket(error),
                    }
                }
            }
        }
    }
}
