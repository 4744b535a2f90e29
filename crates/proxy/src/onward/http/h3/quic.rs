//! quinn as the h3 crate's transport, with [`Frames`] between.
//!
//! The crate that joins the two, h3-quinn, passes on all that comes, and panics when a stream is
//! given up while it is read.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use h3::error::Code;
use h3::quic::{
    BidiStream, Connection, ConnectionErrorIncoming, OpenStreams, RecvStream, SendStream,
    StreamErrorIncoming, StreamId, WriteBuf,
};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};
use thiserror::Error;

use super::frames::Frames;
use crate::onward::connect::refused_later;

/// Most bytes that are read at a time.
const READ_MAX: usize = 16 * 1024;
/// Most bytes of a stream that carries no response, in all its life: settings, and what a server may
/// say beside them. Nothing is ever put into the table of QPACK, which has no room.
const ASIDE_MAX: usize = 64 * 1024;

type Opening<S> = BoxFuture<'static, Result<S, ConnectionError>>;
type Pair = (quinn::SendStream, quinn::RecvStream);

/// A connection, and what opens streams on it.
pub(super) struct Quic {
    connection: quinn::Connection,
    opening: Option<Opening<Pair>>,
    opening_aside: Option<Opening<quinn::SendStream>>,
    accepting: Option<Opening<quinn::RecvStream>>,
}

impl Quic {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        Self { connection, opening: None, opening_aside: None, accepting: None }
    }
}

impl Clone for Quic {
    fn clone(&self) -> Self {
        Self::new(self.connection.clone())
    }
}

impl Connection<Bytes> for Quic {
    type RecvStream = Receiving;
    type OpenStreams = Self;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::RecvStream, ConnectionErrorIncoming>> {
        let connection = &self.connection;
        let accepting = self.accepting.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_uni().await })
        });
        let accepted = ready!(accepting.as_mut().poll(cx));
        self.accepting = None;
        Poll::Ready(accepted.map(Receiving::aside).map_err(connection_error))
    }

    fn poll_accept_bidi(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Result<Self::BidiStream, ConnectionErrorIncoming>> {
        // Servers may open none (RFC 9114 §6.1), and are allowed none.
        Poll::Pending
    }

    fn opener(&self) -> Self::OpenStreams {
        self.clone()
    }
}

impl OpenStreams<Bytes> for Quic {
    type BidiStream = Both;
    type SendStream = Sending;

    fn poll_open_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::BidiStream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let opening = self.opening.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.open_bi().await })
        });
        let opened = ready!(opening.as_mut().poll(cx));
        self.opening = None;
        let (sending, receiving) = opened.map_err(lost)?;
        let receiving = Receiving::response(receiving);
        Poll::Ready(Ok(Both { sending: Sending::new(sending), receiving }))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::SendStream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let opening = self.opening_aside.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.open_uni().await })
        });
        let opened = ready!(opening.as_mut().poll(cx));
        self.opening_aside = None;
        Poll::Ready(opened.map(Sending::new).map_err(lost))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.connection.close(code_of(code.value()), reason);
    }
}

/// Both directions of a request.
pub(super) struct Both {
    sending: Sending,
    receiving: Receiving,
}

impl BidiStream<Bytes> for Both {
    type SendStream = Sending;
    type RecvStream = Receiving;

    fn split(self) -> (Self::SendStream, Self::RecvStream) {
        (self.sending, self.receiving)
    }
}

impl SendStream<Bytes> for Both {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.sending.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.sending.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.sending.send_id()
    }
}

impl RecvStream for Both {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Self::Buf>, StreamErrorIncoming>> {
        self.receiving.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.receiving.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.receiving.recv_id()
    }
}

/// What goes out on a stream. Dropped before its end it breaks the stream off: a body that is cut must
/// not look whole.
pub(super) struct Sending {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    finished: bool,
}

impl Sending {
    fn new(stream: quinn::SendStream) -> Self {
        Self { stream, writing: None, finished: false }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.finished {
            // Fails if the peer wants no more, or the connection is gone.
            let _ = self.stream.reset(code_of(Code::H3_REQUEST_CANCELLED.value()));
        }
    }
}

impl SendStream<Bytes> for Sending {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(data) = &mut self.writing {
            if !data.has_remaining() {
                self.writing = None;
                break;
            }
            let written = Pin::new(&mut self.stream).poll_write(cx, data.chunk());
            data.advance(ready!(written).map_err(write_error)?);
        }
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            return Err(StreamErrorIncoming::Unknown(Box::new(TransportFault::Unready)));
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.finished = true;
        let finished = self.stream.finish();
        Poll::Ready(finished.map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, code: u64) {
        self.finished = true;
        // Fails if it is over already.
        let _ = self.stream.reset(code_of(code));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

/// What is let through of a stream.
enum Gate {
    /// A response's frames,
    Response(Frames),
    /// or so many bytes that are not one.
    Aside(usize),
}

/// What comes on a stream.
pub(super) struct Receiving {
    stream: quinn::RecvStream,
    gate: Gate,
    /// What was let through and not taken yet; less than [`READ_MAX`] bytes and some heads.
    passed: VecDeque<Bytes>,
    buffer: Vec<u8>,
}

#[derive(Debug, Error)]
enum TransportFault {
    #[error("the server says more than {ASIDE_MAX} bytes beside its responses")]
    Aside,
    #[error("a stream was written to before it was ready")]
    Unready,
}

impl Receiving {
    fn response(stream: quinn::RecvStream) -> Self {
        Self::new(stream, Gate::Response(Frames::new()))
    }

    fn aside(stream: quinn::RecvStream) -> Self {
        Self::new(stream, Gate::Aside(ASIDE_MAX))
    }

    fn new(stream: quinn::RecvStream, gate: Gate) -> Self {
        Self { stream, gate, passed: VecDeque::new(), buffer: Vec::new() }
    }

    /// Lets through what may pass of what was read; `length` bytes of the buffer.
    fn pass(&mut self, length: usize) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let bytes = Bytes::copy_from_slice(&self.buffer[..length]);
        match &mut self.gate {
            Gate::Response(frames) => frames.push(bytes, &mut self.passed)?,
            Gate::Aside(left) => {
                *left = left.checked_sub(length).ok_or(TransportFault::Aside)?;
                self.passed.push_back(bytes);
            }
        }
        Ok(())
    }
}

impl RecvStream for Receiving {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Self::Buf>, StreamErrorIncoming>> {
        loop {
            if let Some(bytes) = self.passed.pop_front() {
                return Poll::Ready(Ok(Some(bytes)));
            }
            self.buffer.resize(READ_MAX, 0);
            let read = self.stream.poll_read(cx, &mut self.buffer);
            if !matches!(read, Poll::Ready(Ok(1..))) {
                // Nothing is there: streams that wait are to be small.
                self.buffer = Vec::new();
            }
            match ready!(read).map_err(read_error)? {
                0 => {
                    if let Gate::Response(frames) = &self.gate {
                        frames.end().map_err(|fault| StreamErrorIncoming::Unknown(fault.into()))?;
                    }
                    return Poll::Ready(Ok(None));
                }
                length => {
                    if let Err(fault) = self.pass(length) {
                        self.stop_sending(Code::H3_EXCESSIVE_LOAD.value());
                        return Poll::Ready(Err(StreamErrorIncoming::Unknown(fault)));
                    }
                }
            }
        }
    }

    fn stop_sending(&mut self, code: u64) {
        // Fails if it is over already.
        let _ = self.stream.stop(code_of(code));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

fn code_of(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

#[expect(clippy::expect_used, reason = "both crates take what 62 bits hold")]
fn stream_id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(u64::from(id)).expect("an id of 62 bits")
}

fn lost(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: connection_error(error) }
}

fn connection_error(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(match refused_later(&other) {
            Some(why) => Arc::new(io::Error::other(why)),
            None => Arc::new(other),
        }),
    }
}

fn read_error(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        ReadError::ConnectionLost(error) => lost(error),
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}

fn write_error(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        WriteError::ConnectionLost(error) => lost(error),
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}
