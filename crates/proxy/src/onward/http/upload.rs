//! The body of a request: from the client's chunks to the pieces that go on the wire.
//!
//! The body belongs to the transaction and not to a connection, because a transaction may need a
//! second one: when a kept connection turns out to be dead, or a redirect leads elsewhere. Each
//! connection reads through a [`Cursor`] of its own; a new cursor starts at the front and makes
//! the old ones worthless. What went out is held for that as long as it is small.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use sspc_wire::Flags;
use tokio::sync::{mpsc, watch};

use super::multipart_encode::Parts;
use super::piece::Piece;
use crate::onward::TxChunk;

/// Why a body could not be sent as it was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client sends more than it announced.
    TooLong {
        /// Bytes of the body as it was announced.
        announced: u64,
    },
    /// The message ends before what was announced.
    TooShort {
        /// Bytes of the body as it was announced.
        announced: u64,
        /// Bytes of the body as it was.
        sent: u64,
    },
    /// The session let go of the body before its end.
    Cut,
    /// Another cursor has taken over.
    Superseded,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::TooLong { announced } => {
                write!(f, "the client sends more than the {announced} bytes that it announced")
            }
            Fault::TooShort { announced, sent } => {
                write!(f, "the client sent {sent} of the {announced} bytes that it announced")
            }
            Fault::Cut => f.write_str("the client left before the end of its message"),
            Fault::Superseded => f.write_str("the request moved to another connection"),
        }
    }
}

impl std::error::Error for Fault {}

/// How far the body has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More is to come.
    Running,
    /// Everything was handed to the connection.
    Complete,
    Failed(Fault),
}

/// The body of one transaction's request.
#[derive(Debug)]
pub(crate) struct Upload {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Inner {
    /// `None` once the end was seen: nothing more is taken from the session.
    chunks: Option<mpsc::Receiver<TxChunk>>,
    parts: Option<Parts>,
    /// What the request says its body is long; on the wire, framing included.
    announced: Option<u64>,
    sent: u64,
    /// Pieces that are made and not yet read by any cursor.
    ready: VecDeque<Piece>,
    /// Everything that cursors have read; `None` once it was too much to hold.
    held: Option<Vec<Piece>>,
    held_bytes: usize,
    held_max: usize,
    /// Which cursor counts.
    generation: u32,
    /// Pieces that cursors have read so far.
    passed: u64,
}

impl Upload {
    /// A body from these chunks. `held_max` bytes of it are kept to be sent again.
    pub(crate) fn new(
        chunks: mpsc::Receiver<TxChunk>,
        parts: Option<Parts>,
        announced: Option<u64>,
        held_max: usize,
    ) -> Self {
        let inner = Inner {
            chunks: Some(chunks),
            parts,
            announced,
            sent: 0,
            ready: VecDeque::new(),
            held: Some(Vec::new()),
            held_bytes: 0,
            held_max,
            generation: 0,
            passed: 0,
        };
        let (progress, _) = watch::channel(Progress::Running);
        Self { shared: Arc::new(Shared { inner: Mutex::new(inner), progress }) }
    }

    /// A cursor at the front of the body; `None` if the front is gone.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        let mut inner = self.shared.lock();
        inner.held.as_ref()?;
        inner.generation = inner.generation.wrapping_add(1);
        let cursor = Cursor {
            shared: Arc::clone(&self.shared),
            generation: inner.generation,
            position: 0,
            done: false,
            announced: inner.announced,
            read: 0,
        };
        drop(inner);
        self.shared.progress.send_if_modified(|progress| {
            let restarted = *progress == Progress::Complete;
            if restarted {
                *progress = Progress::Running;
            }
            restarted
        });
        Some(cursor)
    }

    /// Whether a cursor could start at the front once more.
    pub(crate) fn can_restart(&self) -> bool {
        self.shared.lock().held.is_some()
    }

    /// What went wrong with the body, if something did.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match &*self.shared.progress.borrow() {
            Progress::Failed(fault) => Some(fault.clone()),
            _ => None,
        }
    }

    /// Whether all of it was handed to the connection.
    pub(crate) fn is_complete(&self) -> bool {
        *self.shared.progress.borrow() == Progress::Complete
    }

    /// How many pieces connections took so far: grows while the body is on the move.
    pub(crate) fn passed(&self) -> u64 {
        self.shared.lock().passed
    }

    /// Waits for the body's end, good or bad.
    pub(crate) async fn ended(&self) -> Progress {
        let mut progress = self.shared.progress.subscribe();
        match progress.wait_for(|progress| *progress != Progress::Running).await {
            Ok(progress) => progress.clone(),
            Err(_) => Progress::Failed(Fault::Cut),
        }
    }

    /// Takes no more from the session; cursors fail.
    pub(crate) fn close(&self) {
        let mut inner = self.shared.lock();
        inner.generation = inner.generation.wrapping_add(1);
        inner.chunks = None;
        inner.held = None;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Makes pieces of a chunk.
    fn take(&mut self, chunk: TxChunk) -> Result<(), Fault> {
        let eom = chunk.flags.contains(Flags::EOM);
        let first = self.ready.len();
        let mut last = eom;
        match &mut self.parts {
            Some(parts) => last = parts.frame(chunk.bytes, eom, &mut self.ready),
            None if chunk.bytes.is_empty() => {}
            None => self.ready.push_back(Piece { bytes: chunk.bytes, last: false }),
        }
        let added: u64 = self.ready.iter().skip(first).map(|piece| piece.bytes.len() as u64).sum();
        self.sent = self.sent.saturating_add(added);
        if let Some(announced) = self.announced {
            if self.sent > announced {
                return Err(Fault::TooLong { announced });
            }
            if last && self.sent < announced {
                return Err(Fault::TooShort { announced, sent: self.sent });
            }
            // The end is known by the length, whether or not EOM comes along.
            last = self.sent == announced;
        }
        if last {
            self.chunks = None;
            match self.ready.back_mut() {
                Some(piece) => piece.last = true,
                None => self.ready.push_back(Piece { bytes: Bytes::new(), last: true }),
            }
        }
        Ok(())
    }

    /// Keeps a piece for another cursor, or gives up keeping.
    fn hold(&mut self, piece: &Piece) {
        self.held_bytes = self.held_bytes.saturating_add(piece.bytes.len());
        // Empty pieces cost too.
        let count_max = self.held_max / 64;
        match &mut self.held {
            Some(held) if self.held_bytes <= self.held_max && held.len() < count_max => {
                held.push(piece.clone());
            }
            held => *held = None,
        }
    }
}

/// One connection's view of a body.
#[derive(Debug)]
pub(crate) struct Cursor {
    shared: Arc<Shared>,
    generation: u32,
    /// Pieces read of what is held.
    position: usize,
    done: bool,
    announced: Option<u64>,
    read: u64,
}

impl Cursor {
    /// The next piece; `None` after the last one.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, Fault>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let result = std::task::ready!(self.poll_inner(cx));
        self.done = result.as_ref().map_or(true, |piece| piece.last);
        match &result {
            Ok(piece) => {
                let mut inner = self.shared.lock();
                inner.passed = inner.passed.saturating_add(1);
                drop(inner);
                self.read = self.read.saturating_add(piece.bytes.len() as u64);
                if piece.last {
                    self.shared.progress.send_replace(Progress::Complete);
                }
            }
            Err(Fault::Superseded) => {}
            Err(fault) => {
                self.shared.progress.send_replace(Progress::Failed(fault.clone()));
            }
        }
        Poll::Ready(Some(result))
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Fault>> {
        let mut inner = self.shared.lock();
        if inner.generation != self.generation {
            return Poll::Ready(Err(Fault::Superseded));
        }
        if let Some(piece) = inner.held.as_ref().and_then(|held| held.get(self.position)) {
            self.position += 1;
            return Poll::Ready(Ok(piece.clone()));
        }
        loop {
            if let Some(piece) = inner.ready.pop_front() {
                inner.hold(&piece);
                self.position += 1;
                return Poll::Ready(Ok(piece));
            }
            let Some(chunks) = &mut inner.chunks else {
                return Poll::Ready(Err(Fault::Cut));
            };
            match std::task::ready!(chunks.poll_recv(cx)) {
                None => return Poll::Ready(Err(Fault::Cut)),
                Some(chunk) => {
                    if let Err(fault) = inner.take(chunk) {
                        inner.chunks = None;
                        inner.ready.clear();
                        inner.held = None;
                        return Poll::Ready(Err(fault));
                    }
                }
            }
        }
    }
}

/// A request's body for hyper: a cursor, or nothing.
#[derive(Debug)]
pub(crate) struct RequestBody(pub(super) Option<Cursor>);

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(cursor) = &mut self.0 else {
            return Poll::Ready(None);
        };
        cursor
            .poll_piece(cx)
            .map(|piece| piece.map(|piece| piece.map(|piece| Frame::data(piece.bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|cursor| cursor.done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(Cursor { announced: Some(announced), read, .. }) => {
                SizeHint::with_exact(announced.saturating_sub(*read))
            }
            Some(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &'static str, flags: Flags) -> TxChunk {
        TxChunk::new(Bytes::from_static(text.as_bytes()), flags)
    }

    async fn next(cursor: &mut Cursor) -> Option<Result<Piece, Fault>> {
        std::future::poll_fn(|cx| cursor.poll_piece(cx)).await
    }

    async fn text(cursor: &mut Cursor) -> Result<String, Fault> {
        let mut text = Vec::new();
        while let Some(piece) = next(cursor).await {
            text.extend_from_slice(&piece?.bytes);
        }
        Ok(String::from_utf8(text).unwrap())
    }

    async fn upload(announced: Option<u64>, chunks: Vec<TxChunk>) -> Upload {
        let (sender, receiver) = mpsc::channel(16);
        for chunk in chunks {
            sender.send(chunk).await.unwrap();
        }
        Upload::new(receiver, None, announced, 1024)
    }

    #[tokio::test]
    async fn a_second_cursor_reads_the_same_and_the_first_nothing_more() {
        let chunks = vec![chunk("ab", Flags::SOM), chunk("c", Flags::NONE), chunk("d", Flags::EOM)];
        let upload = upload(None, chunks).await;
        let mut first = upload.cursor().unwrap();
        assert_eq!(next(&mut first).await.unwrap().unwrap().bytes, "ab");
        let mut second = upload.cursor().unwrap();
        assert_eq!(text(&mut second).await.unwrap(), "abcd");
        assert!(upload.is_complete());
        assert_eq!(next(&mut first).await, Some(Err(Fault::Superseded)));
        let mut third = upload.cursor().unwrap();
        assert!(!upload.is_complete());
        assert_eq!(text(&mut third).await.unwrap(), "abcd");
        assert_eq!(upload.ended().await, Progress::Complete);
    }

    #[tokio::test]
    async fn what_is_too_much_to_hold_is_sent_once() {
        let (sender, receiver) = mpsc::channel(16);
        let upload = Upload::new(receiver, None, None, 1024);
        let mut cursor = upload.cursor().unwrap();
        for _ in 0..2 {
            let bytes = Bytes::from(vec![0; 600]);
            sender.send(TxChunk::new(bytes, Flags::NONE)).await.unwrap();
            next(&mut cursor).await.unwrap().unwrap();
        }
        assert!(upload.cursor().is_none() && !upload.can_restart());
        sender.send(chunk("", Flags::EOM)).await.unwrap();
        let last = next(&mut cursor).await.unwrap().unwrap();
        assert_eq!(last, Piece { bytes: Bytes::new(), last: true });
    }

    #[tokio::test]
    async fn the_announced_length_is_the_law() {
        let exact = upload(Some(3), vec![chunk("ab", Flags::SOM), chunk("c", Flags::NONE)]).await;
        assert_eq!(text(&mut exact.cursor().unwrap()).await.unwrap(), "abc");
        assert!(exact.is_complete());

        let long = upload(Some(3), vec![chunk("abcd", Flags::WHOLE)]).await;
        let fault = Fault::TooLong { announced: 3 };
        assert_eq!(text(&mut long.cursor().unwrap()).await, Err(fault.clone()));
        assert_eq!(long.fault(), Some(fault));

        let short = upload(Some(3), vec![chunk("ab", Flags::WHOLE)]).await;
        let fault = Fault::TooShort { announced: 3, sent: 2 };
        assert_eq!(text(&mut short.cursor().unwrap()).await, Err(fault));
    }

    #[tokio::test]
    async fn a_session_that_leaves_cuts_the_body() {
        let upload = upload(None, vec![chunk("ab", Flags::SOM)]).await;
        assert_eq!(text(&mut upload.cursor().unwrap()).await, Err(Fault::Cut));
        assert_eq!(upload.ended().await, Progress::Failed(Fault::Cut));
    }
}
