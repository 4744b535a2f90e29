//! From the socket to the session.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use sspc_policy::Validity;
use sspc_wire::Flags;
use sspc_ws::{CloseFrame, DecodeError, Decoder, Event};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{sleep, timeout};

use crate::onward::{CLOSE_WAIT, Failure, FailureKind};

use super::control::Control;
use super::{BUFFER_IDLE, BUFFER_MAX, when_spare};
use crate::onward::attempt::queue::{EventSender, SessionGone};

/// Pieces below this are copied out of the read buffer, so that a few bytes that wait in a queue
/// do not keep all of it in memory.
const SHARE_MIN: usize = 1024;

/// Reading goes on in the same buffer while at least this much of it is left.
const SPARE_MIN: usize = 256;

/// The receiving half of a connection.
#[derive(Debug)]
pub(super) struct Reader<R> {
    io: R,
    decoder: Decoder,
    validity: Option<Validity>,
    /// What came with the answer to the upgrade.
    early: Bytes,
    buffer: BytesMut,
    /// The last read filled the buffer: more is waiting.
    filled: bool,
    /// Where data is inflated; empty until there is any.
    scratch: Vec<u8>,
    /// A piece that may turn out to be the last one of its message.
    held: Option<(Bytes, Flags)>,
}

/// Why nothing more is read.
#[derive(Debug)]
pub(super) enum Stop {
    /// The peer's close frame came.
    Closed(Option<CloseFrame>),
    /// The peer broke a rule.
    Violation(DecodeError),
    /// The transport ended without a close frame.
    Eof,
    Io(io::Error),
    /// Nothing came for so long.
    Silent(Duration),
    /// The session does not listen any more.
    SessionGone,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Closed(None) => f.write_str("the server closed, without a code"),
            Stop::Closed(Some(frame)) => {
                write!(f, "the server closed with code {}", frame.code())?;
                match frame.reason() {
                    "" => Ok(()),
                    reason => write!(f, ": {}", reason.escape_debug()),
                }
            }
            Stop::Violation(error) => write!(
                f,
                "the server broke the protocol: {error}; closed with code {}",
                error.close_code()
            ),
            Stop::Eof => f.write_str("the server ended the connection without a close frame"),
            Stop::Io(error) => write!(f, "cannot receive: {error}"),
            Stop::Silent(time) => write!(f, "the server was silent for {time:?}"),
            Stop::SessionGone => f.write_str("the session ended"),
        }
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        let kind = match stop {
            Stop::Closed(_) | Stop::Eof | Stop::Io(_) => FailureKind::Closed,
            Stop::Violation(_) => FailureKind::Protocol,
            Stop::Silent(_) => FailureKind::Silent,
            Stop::SessionGone => return Failure::session_gone(),
        };
        Failure::new(kind, stop.to_string())
    }
}

impl From<SessionGone> for Stop {
    fn from(_: SessionGone) -> Self {
        Stop::SessionGone
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// `early` are bytes of the peer that were received already.
    pub(super) fn new(io: R, decoder: Decoder, validity: Option<Validity>, early: Bytes) -> Self {
        Self {
            io,
            decoder,
            validity,
            early,
            buffer: BytesMut::new(),
            filled: false,
            scratch: Vec::new(),
            held: None,
        }
    }

    /// Hands all that the peer sends to `output` until there is a reason to stop. While `output`
    /// is full nothing is read.
    pub(super) async fn run(&mut self, output: &EventSender, control: &Control) -> Stop {
        loop {
            output.memory().await;
            let received = match self.receive(control).await {
                Ok(received) => received,
                Err(stop) => return stop,
            };
            match self.hand_on(&received, output, control).await {
                Ok(()) => {}
                Err(Stop::Violation(error)) => {
                    control.close(Some(error.close_code()));
                    self.drain().await;
                    return Stop::Violation(error);
                }
                Err(stop) => return stop,
            }
        }
    }

    /// Hands on what `received` holds.
    async fn hand_on(
        &mut self,
        received: &Bytes,
        output: &EventSender,
        control: &Control,
    ) -> Result<(), Stop> {
        let mut input: &[u8] = received;
        let stop = loop {
            match self.decoder.decode(&mut input, &mut self.scratch) {
                Ok(None) => break None,
                Ok(Some(Event::Data(piece))) => {
                    let end = if piece.last { Flags::EOM } else { Flags::NONE };
                    match &mut self.held {
                        // Some clients lose data after empty payload, so the end of a message
                        // rides on its last bytes if it is known by now.
                        Some((_, flags)) if piece.bytes.is_empty() && !piece.first => {
                            *flags |= end;
                        }
                        _ => {
                            let flags = if piece.first { end | Flags::SOM } else { end };
                            let next = (share(received, piece.bytes), flags);
                            if let Some((bytes, flags)) = self.held.replace(next) {
                                output.payload(bytes, flags).await?;
                            }
                        }
                    }
                }
                Ok(Some(Event::Ping(payload))) => control.pong(payload),
                Ok(Some(Event::Close(frame))) => {
                    control.close(frame.as_ref().map(CloseFrame::code));
                    break Some(Stop::Closed(frame));
                }
                // A pong has shown that the peer is there just by coming.
                Ok(Some(_)) => {}
                Err(DecodeError::NoScratch) => self.scratch.resize(BUFFER_MAX, 0),
                Err(error) => break Some(Stop::Violation(error)),
            }
        };
        if let Some((bytes, flags)) = self.held.take() {
            output.payload(bytes, flags).await?;
        }
        stop.map_or(Ok(()), Err)
    }

    /// The next bytes of the peer, at least one.
    ///
    /// Silence is measured in here alone: time in which nobody reads says nothing about the peer.
    async fn receive(&mut self, control: &Control) -> Result<Bytes, Stop> {
        if !self.early.is_empty() {
            return Ok(std::mem::take(&mut self.early));
        }
        if self.buffer.capacity() < SPARE_MIN {
            self.buffer.reserve(if self.filled { BUFFER_MAX } else { BUFFER_IDLE });
        }
        let read = match self.io.read_buf(&mut self.buffer).now_or_never() {
            Some(read) => read,
            None => {
                if self.buffer.capacity() > BUFFER_IDLE {
                    self.buffer = BytesMut::with_capacity(BUFFER_IDLE);
                }
                self.scratch = Vec::new();
                let validity = self.validity;
                let (io, buffer, decoder) = (&mut self.io, &mut self.buffer, &mut self.decoder);
                let silent = silence(validity, control);
                tokio::select! {
                    read = io.read_buf(buffer) => read,
                    silent = silent => return Err(Stop::Silent(silent)),
                    never = when_spare(decoder.has_spare(), || decoder.release()) => match never {},
                }
            }
        };
        match read {
            Ok(0) => Err(Stop::Eof),
            Ok(_) => {
                self.filled = self.buffer.len() == self.buffer.capacity();
                Ok(self.buffer.split().freeze())
            }
            Err(error) => Err(Stop::Io(error)),
        }
    }

    /// Reads and drops what comes until the peer closes, or for [`CLOSE_WAIT`]: a socket that is
    /// closed with bytes unread resets the connection, and the close frame could be lost.
    async fn drain(&mut self) {
        self.buffer = BytesMut::new();
        let mut sink = [0; BUFFER_IDLE];
        // However it ends, there is nothing else to be done.
        let _ = timeout(CLOSE_WAIT, async {
            while matches!(self.io.read(&mut sink).await, Ok(1..)) {}
        })
        .await;
    }
}

/// Returns how long it waited once the connection is to be given up. Asks for a ping when it is
/// time for one.
async fn silence(validity: Option<Validity>, control: &Control) -> Duration {
    let invalid = async {
        let Some(Validity { ping, hangup }) = validity else {
            return std::future::pending().await;
        };
        let ping = ping.filter(|ping| *ping < hangup);
        if let Some(ping) = ping {
            sleep(ping).await;
            control.ping();
        }
        sleep(hangup - ping.unwrap_or_default()).await;
        hangup
    };
    let leaving = async {
        control.leaving.cancelled().await;
        sleep(CLOSE_WAIT).await;
        CLOSE_WAIT
    };
    tokio::select! {
        time = invalid => time,
        time = leaving => time,
    }
}

/// `piece` as a part of `received` if it lies there, else a copy.
fn share(received: &Bytes, piece: &[u8]) -> Bytes {
    let (whole, part) = (received.as_ptr_range(), piece.as_ptr_range());
    if piece.len() >= SHARE_MIN && whole.start <= part.start && part.end <= whole.end {
        received.slice_ref(piece)
    } else {
        Bytes::copy_from_slice(piece)
    }
}
