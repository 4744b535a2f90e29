//! From the session to the socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use sspc_wire::Flags;
use sspc_ws::{CloseCode, EncodeError, Encoder, MessageKind, Piece};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::control::{Control, Wanted};
use super::{BUFFER_IDLE, BUFFER_MAX, when_spare};
use crate::onward::{CLOSE_WAIT, TxChunk};

/// The sending half of a connection. Dropped before its close frame was sent, it tries to send one
/// without waiting.
#[derive(Debug)]
pub(super) struct Writer<W: AsyncWrite + Unpin> {
    io: W,
    encoder: Encoder,
    kind: MessageKind,
    /// Frames, of which the first `sent` bytes are gone.
    out: Vec<u8>,
    sent: usize,
    /// The rest of the chunk that was taken last.
    rest: Option<TxChunk>,
    /// The flags of the client's messages made no sense, and it was logged.
    complained: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// All messages will be of this kind.
    pub(super) fn new(io: W, encoder: Encoder, kind: MessageKind) -> Self {
        Self { io, encoder, kind, out: Vec::new(), sent: 0, rest: None, complained: false }
    }

    /// Sends what comes out of `chunks`, and the control frames that `control` wants between them,
    /// until a close frame is out: one that was wanted, or one with code 1001 at the end of
    /// `chunks`.
    ///
    /// # Errors
    /// The socket's.
    pub(super) async fn run(
        &mut self,
        mut chunks: mpsc::Receiver<TxChunk>,
        control: &Control,
    ) -> io::Result<()> {
        loop {
            self.append_control(control.take())?;
            while !self.encoder.is_closed() && self.out.len() < BUFFER_MAX {
                let Some(chunk) = self.rest.take().or_else(|| chunks.try_recv().ok()) else {
                    break;
                };
                self.frame(chunk)?;
            }
            if !self.out.is_empty() {
                self.flush().await?;
                if !self.encoder.is_closed() {
                    continue;
                }
                return Ok(());
            }
            if self.out.capacity() > BUFFER_IDLE {
                self.out = Vec::new();
            }
            let encoder = &mut self.encoder;
            tokio::select! {
                () = control.changed() => {}
                never = when_spare(encoder.has_spare(), || encoder.release()) => match never {},
                chunk = chunks.recv() => match chunk {
                    Some(chunk) => self.rest = Some(chunk),
                    None => control.close(Some(CloseCode::GOING_AWAY)),
                }
            }
        }
    }

    /// Ends the transport in our direction if the close frame is out.
    pub(super) async fn shutdown(&mut self) {
        if self.encoder.is_closed() && self.out.is_empty() {
            // Both sides have said all; whether the transport takes its end well matters no more.
            let _ = timeout(CLOSE_WAIT, self.io.shutdown()).await;
        }
    }

    /// Appends the control frames that are wanted.
    fn append_control(&mut self, wanted: Wanted) -> io::Result<()> {
        for payload in wanted.pongs {
            self.encoder.pong(payload.as_bytes(), mask_key(), &mut self.out).map_err(refused)?;
        }
        if wanted.ping {
            self.encoder.ping(&[], mask_key(), &mut self.out).map_err(refused)?;
        }
        if let Some(code) = wanted.close {
            let reason = code.map(|code| (code, ""));
            self.encoder.close(reason, mask_key(), &mut self.out).map_err(refused)?;
        }
        Ok(())
    }

    /// Appends a frame with the first bytes of `chunk`, and keeps the rest: control frames shall
    /// not have to wait for more than [`BUFFER_MAX`].
    fn frame(&mut self, mut chunk: TxChunk) -> io::Result<()> {
        let in_message = self.encoder.in_message();
        let start = chunk.flags.contains(Flags::SOM);
        if chunk.bytes.is_empty() && chunk.flags & Flags::WHOLE == Flags::NONE {
            return Ok(());
        }
        if start && in_message {
            self.complain("a message begins inside a message; taken for its continuation");
        } else if !start && !in_message {
            // The end of a message is not a message.
            self.complain("payload continues no message; dropped");
            return Ok(());
        }
        let bytes = chunk.bytes.split_to(chunk.bytes.len().min(BUFFER_MAX));
        let complete = chunk.bytes.is_empty();
        let piece = Piece {
            kind: self.kind,
            first: !in_message,
            last: complete && chunk.flags.contains(Flags::EOM),
            bytes: &bytes,
        };
        self.encoder.piece(piece, mask_key(), &mut self.out).map_err(refused)?;
        if !complete {
            chunk.flags = chunk.flags.without(Flags::SOM);
            self.rest = Some(chunk);
        }
        Ok(())
    }

    /// Sends all that was appended.
    async fn flush(&mut self) -> io::Result<()> {
        while let Some(unsent @ [_, ..]) = self.out.get(self.sent..) {
            match self.io.write(unsent).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => self.sent += n,
            }
        }
        self.out.clear();
        self.sent = 0;
        self.io.flush().await
    }

    fn complain(&mut self, about: &str) {
        if !self.complained {
            self.complained = true;
            tracing::warn!("the client's flags: {about}; told once");
        }
    }
}

/// Says goodbye to the peer if that can be done on the spot: between two frames, on a socket that
/// has room. An attempt that is dropped has no time for more.
impl<W: AsyncWrite + Unpin> Drop for Writer<W> {
    fn drop(&mut self) {
        if !self.out.is_empty() || self.encoder.is_closed() {
            return;
        }
        let code = Some((CloseCode::NORMAL, ""));
        if self.encoder.close(code, mask_key(), &mut self.out).is_err() {
            return;
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut io = Pin::new(&mut self.io);
        if let Poll::Ready(Ok(_)) = io.as_mut().poll_write(&mut context, &self.out) {
            // Nobody waits for the result.
            let _ = io.poll_shutdown(&mut context);
        }
    }
}

/// A fresh key for each frame (RFC 6455 §5.3), from the thread's generator.
pub(super) fn mask_key() -> [u8; 4] {
    rand::random()
}

/// What the encoder is given here always fits; if it should ever refuse, the connection ends.
pub(super) fn refused(error: EncodeError) -> io::Error {
    io::Error::other(error)
}
