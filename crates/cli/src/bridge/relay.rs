//! One program's connection, joined to a channel of the line.

use std::fmt;
use std::io;
use std::time::Duration;

use sspc_line::{Channel, Line, Priority};
use sspc_wire::FrameError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::credit::{Downward, Upward};

/// How long a program's connection waits for its channel. Deployed clients wait 3 s for the proxy's
/// first word: what comes later is of no use to them.
const OPEN_LIMIT: Duration = Duration::from_millis(2500);
/// The most that is read in one go.
const ROOM: usize = 4096;

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The program closed it.
    Program,
    /// The proxy closed the channel.
    Proxy,
    /// The program's socket failed.
    Socket(io::Error),
    /// The channel could not be had, or was lost.
    Channel(io::Error),
    /// What the proxy sent is no frame.
    Garbage(FrameError),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => f.write_str("closed by the program"),
            Self::Proxy => f.write_str("closed by the proxy"),
            Self::Socket(error) => write!(f, "the program's connection failed: {error}"),
            Self::Channel(error) => error.fmt(f),
            Self::Garbage(error) => write!(f, "the proxy sent what is no frame: {error}"),
        }
    }
}

/// Joins a program's connection to a channel of its own, until one of the two ends.
pub(crate) async fn run<R, W>(line: &Line, mut reader: R, writer: W) -> Ending
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut relay = Relay {
        upward: Upward::default(),
        to_proxy: Vec::new(),
        downward: Downward::default(),
        room: vec![0; ROOM],
    };
    let opened = tokio::select! {
        opened = timeout(OPEN_LIMIT, line.open_channel(Priority::default())) => opened,
        ending = relay.wait_for_end(&mut reader) => return ending,
    };
    match opened {
        Ok(Ok(channel)) => relay.join(reader, writer, channel).await,
        Ok(Err(error)) => Ending::Channel(error),
        Err(_) => Ending::Channel(line.not_opened()),
    }
}

struct Relay {
    upward: Upward,
    /// What is to be sent to the proxy.
    to_proxy: Vec<u8>,
    downward: Downward,
    room: Vec<u8>,
}

impl Relay {
    /// Ready when the program goes away; keeps the little that it sends before. Cancel safe.
    async fn wait_for_end<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> Ending {
        while self.to_proxy.len() < ROOM {
            match reader.read(&mut self.room).await {
                Ok(0) => return Ending::Program,
                Ok(length) => self.take(length),
                Err(error) => return Ending::Socket(error),
            }
        }
        std::future::pending().await
    }

    /// Takes what was read from the program.
    fn take(&mut self, length: usize) {
        let read = self.room.get(..length).unwrap_or_default();
        self.upward.pass(read, &mut self.to_proxy);
    }

    async fn join<R, W>(mut self, mut reader: R, mut writer: W, channel: Channel) -> Ending
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (mut from_proxy, mut channel) = channel.into_split();
        let mut came = vec![0; ROOM];
        let mut sent = 0;
        // The proxy's last words are still handed on when the channel is over.
        let mut over = None;
        loop {
            if sent == self.to_proxy.len() {
                self.to_proxy.clear();
                sent = 0;
            }
            self.upward.update(&mut self.to_proxy);
            let for_program = self.downward.next();
            if for_program.is_empty()
                && let Some(ending) = over.take()
            {
                return ending;
            }
            let for_proxy = self.to_proxy.get(sent..).unwrap_or_default();
            let is_open = over.is_none();
            tokio::select! {
                read = reader.read(&mut self.room), if is_open && for_proxy.is_empty() => {
                    match read {
                        Ok(0) => return Ending::Program,
                        Ok(length) => self.take(length),
                        Err(error) => return Ending::Socket(error),
                    }
                }
                written = channel.write(for_proxy), if is_open && !for_proxy.is_empty() => {
                    match written {
                        Ok(length) => sent += length,
                        // What came before this is still to be read.
                        Err(_) => sent = self.to_proxy.len(),
                    }
                }
                read = from_proxy.read(&mut came), if is_open && self.downward.has_room() => {
                    match read {
                        Ok(0) => over = Some(Ending::Proxy),
                        Ok(length) => self.downward.push(came.get(..length).unwrap_or_default()),
                        Err(error) => over = Some(Ending::Channel(error)),
                    }
                }
                written = writer.write(for_program), if !for_program.is_empty() => {
                    match written.map(|length| self.downward.written(length)) {
                        Ok(Ok(payload)) => self.upward.handed_on(payload),
                        Ok(Err(error)) => return Ending::Garbage(error),
                        Err(error) => return Ending::Socket(error),
                    }
                }
            }
        }
    }
}
