//! Bytes over the binary messages of a WebSocket, for protocols that run over any pipe of bytes
//! (MQTT 5 §6 has the rules, which are those of 3.1.1). Messages have no meaning: what is read is what
//! they hold, in order, and what is written at a time is one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use sspc_ws::{
    CloseCode, CloseFrame, DecodeError, Decoder, Encoder, Event, MessageKind, Piece, Role,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::upgrade::Upgraded;
use super::writer::{mask_key, refused};
use super::{BUFFER_IDLE, BUFFER_MAX};

/// A connection that was upgraded without compression.
#[derive(Debug)]
pub(crate) struct Pipe<S> {
    io: S,
    decoder: Decoder,
    encoder: Encoder,
    /// Of the server, not decoded yet.
    received: Bytes,
    /// Where it is read to.
    buffer: BytesMut,
    /// Frames for the server, of which the first `sent` bytes are gone.
    out: Vec<u8>,
    sent: usize,
    /// Why nothing more is read: what the server gave as its reason, or did wrong.
    over: Option<Over>,
}

#[derive(Debug, Clone)]
enum Over {
    Closed,
    Failed(io::ErrorKind, String),
}

impl Over {
    fn by_close(frame: Option<&CloseFrame>) -> Self {
        match frame {
            None => Over::Closed,
            Some(frame) if frame.code() == CloseCode::NORMAL => Over::Closed,
            Some(frame) => Over::Failed(
                io::ErrorKind::ConnectionAborted,
                match frame.reason() {
                    "" => format!("the server closed the websocket with code {}", frame.code()),
                    reason => format!(
                        "the server closed the websocket with code {}: {}",
                        frame.code(),
                        reason.escape_debug()
                    ),
                },
            ),
        }
    }

    fn by_text() -> Self {
        let why = "the server sent a text message where only binary ones may be";
        Over::Failed(io::ErrorKind::InvalidData, why.to_owned())
    }

    fn by_violation(error: DecodeError) -> Self {
        let why = format!("the server broke the rules of WebSocket: {error}");
        Over::Failed(io::ErrorKind::InvalidData, why)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pipe<S> {
    /// Of a connection that was upgraded without compression.
    pub(super) fn new(upgraded: Upgraded<S>) -> Self {
        Self {
            io: upgraded.io,
            decoder: Decoder::new(Role::Client, None),
            encoder: Encoder::new(Role::Client, None),
            received: upgraded.early,
            buffer: BytesMut::new(),
            out: Vec::new(),
            sent: 0,
            over: None,
        }
    }

    /// Bytes of frames that the server has not taken.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Takes the next bytes out of what was received; false if it holds none.
    fn decode(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        while self.over.is_none() && !self.received.is_empty() {
            // Data is neither masked nor compressed, so that no piece of it is longer than this.
            let offered = self.received.len().min(buf.remaining());
            let mut input = &self.received[..offered];
            let (mut filled, mut ending) = (false, None);
            match self.decoder.decode(&mut input, &mut []) {
                Ok(Some(Event::Data(piece))) if piece.kind == MessageKind::Binary => {
                    buf.put_slice(piece.bytes);
                    filled = !piece.bytes.is_empty();
                }
                Ok(Some(Event::Data(_))) => {
                    ending = Some((CloseCode::UNSUPPORTED, Over::by_text()));
                }
                Ok(Some(Event::Ping(payload))) => {
                    // A server that asks faster than it reads gets fewer answers (RFC 6455 §5.5.3).
                    if self.out.len() < BUFFER_MAX {
                        // Refused after a close, when it does not matter any more.
                        let pong = payload.as_bytes();
                        let _ = self.encoder.pong(pong, mask_key(), &mut self.out);
                    }
                }
                Ok(Some(Event::Close(frame))) => {
                    let code = frame.as_ref().map_or(CloseCode::NORMAL, CloseFrame::code);
                    ending = Some((code, Over::by_close(frame.as_ref())));
                }
                Ok(Some(_) | None) => {}
                Err(error) => ending = Some((error.close_code(), Over::by_violation(error))),
            }
            let taken = offered - input.len();
            self.received.advance(taken);
            if let Some((code, over)) = ending {
                self.over = Some(over);
                // Refused only if one was sent.
                let _ = self.encoder.close(Some((code, "")), mask_key(), &mut self.out);
            }
            if filled {
                return true;
            }
        }
        false
    }

    /// Writes frames until none is left.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(unsent @ [_, ..]) = self.out.get(self.sent..) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.sent = 0;
        self.out.clear();
        self.out.shrink_to(BUFFER_IDLE);
        Poll::Ready(Ok(()))
    }

    /// Makes a frame of the next bytes of `slices`, once those before are gone.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_out(cx))?;
        let mut message = Vec::new();
        for slice in slices {
            let room = BUFFER_MAX - message.len();
            message.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        if message.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let piece = Piece { kind: MessageKind::Binary, first: true, last: true, bytes: &message };
        self.encoder.piece(piece, mask_key(), &mut self.out).map_err(refused)?;
        // The rest goes with the next write or flush.
        if let Poll::Ready(Err(error)) = self.poll_out(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(message.len()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Pipe<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if buf.remaining() == 0 || this.decode(buf) {
                return Poll::Ready(Ok(()));
            }
            // Answers to pings and closes. An error comes up with the next read or write, too.
            let answered = this.poll_out(cx).is_ready();
            match &this.over {
                // The answer to the close is to go out first.
                Some(_) if !answered => return Poll::Pending,
                Some(Over::Closed) => return Poll::Ready(Ok(())),
                Some(Over::Failed(kind, why)) => {
                    return Poll::Ready(Err(io::Error::new(*kind, why.clone())));
                }
                None => {}
            }
            this.buffer.reserve(BUFFER_IDLE);
            match ready!(poll_read_buf(Pin::new(&mut this.io), cx, &mut this.buffer))? {
                0 => return Poll::Ready(Ok(())),
                _ => this.received = this.buffer.split().freeze(),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Pipe<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_frame(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_frame(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.encoder.is_closed() {
            let this = &mut *self;
            let code = Some((CloseCode::NORMAL, ""));
            this.encoder.close(code, mask_key(), &mut this.out).map_err(refused)?;
        }
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
