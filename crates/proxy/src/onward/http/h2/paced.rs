//! How fast a shared connection is read.
//!
//! It is read however little its streams' clients take: that one of them does not read is no reason
//! to stop the others. What comes waits in the streams' windows. Two things keep a peer from using
//! that: the streams of a connection come to gather what was read before more is, and once what they
//! have gathered is more than a connection's share of the proxy's memory it is not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

use super::peer_io::PeerIo;
use crate::memory::{ALWAYS, Memory};

/// Most bytes of one read: a whole frame, or some 1,600 of the smallest.
const READ_MAX: u64 = 9 + 16 * 1024;
/// After so many frames, or bytes, the streams come to take what is theirs.
const FRAMES_A_TURN: usize = 256;
const BYTES_A_TURN: usize = 256 * 1024;

/// Whether a connection may be read.
#[derive(Debug)]
pub(super) struct Gate {
    memory: Arc<Memory>,
    /// What its streams have gathered.
    held: AtomicUsize,
    reader: AtomicWaker,
}

impl Gate {
    pub(super) fn new(memory: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self { memory, held: AtomicUsize::new(0), reader: AtomicWaker::new() })
    }

    /// Whether it may be read. If not, that may have changed when something that was gathered is
    /// taken, or [`LOOK_AGAIN`](crate::memory::LOOK_AGAIN) later.
    pub(super) fn is_open(&self) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        held <= ALWAYS || self.memory.allows_connection(held)
    }
}

/// What one stream of a connection has gathered; given back when dropped.
#[derive(Debug)]
pub(super) struct Gathered {
    gate: Arc<Gate>,
    bytes: usize,
}

impl Gathered {
    pub(super) fn new(gate: &Arc<Gate>) -> Self {
        Self { gate: Arc::clone(gate), bytes: 0 }
    }

    pub(super) fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        match bytes.checked_sub(before) {
            Some(more) => {
                self.gate.held.fetch_add(more, Ordering::Relaxed);
            }
            None => {
                self.gate.held.fetch_sub(before - bytes, Ordering::Relaxed);
                self.gate.reader.wake();
            }
        }
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[derive(Debug, Default)]
struct Turn {
    frames: usize,
    bytes: usize,
}

impl Turn {
    const fn is_over(&self) -> bool {
        self.frames >= FRAMES_A_TURN || self.bytes >= BYTES_A_TURN
    }
}

/// A transport that is read no faster than that.
#[derive(Debug)]
pub(super) struct Paced {
    transport: Take<PeerIo>,
    gate: Arc<Gate>,
    /// What this turn has brought.
    turn: Turn,
}

impl Paced {
    pub(super) fn new(transport: PeerIo, gate: Arc<Gate>) -> Self {
        Self { transport: transport.take(0), gate, turn: Turn::default() }
    }

    fn writer(self: Pin<&mut Self>) -> Pin<&mut PeerIo> {
        Pin::new(self.get_mut().transport.get_mut())
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { transport, gate, turn } = self.get_mut();
        if !gate.is_open() {
            gate.reader.register(cx.waker());
            // It may just have opened.
            if !gate.is_open() {
                return Poll::Pending;
            }
        }
        if turn.is_over() {
            *turn = Turn::default();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        transport.set_limit(READ_MAX);
        let before = (buf.filled().len(), transport.get_ref().frames());
        ready!(Pin::new(&mut *transport).poll_read(cx, buf))?;
        turn.bytes += buf.filled().len() - before.0;
        turn.frames += transport.get_ref().frames().wrapping_sub(before.1);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.get_ref().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(cx)
    }
}
