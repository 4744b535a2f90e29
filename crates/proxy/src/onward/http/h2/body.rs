//! A response's body, gathered as it comes.
//!
//! What the peer sends ahead of its client is bounded by the stream's window, but only in bytes:
//! the h2 crate keeps each frame as it is, and what it keeps beside a frame's data is 256 bytes. So
//! data is taken from it as soon as it comes, and joined. The peer gets credit for it only when its
//! client takes it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;

use super::paced::{Gate, Gathered};
use super::{describe, is_enough};
use crate::memory::{Account, Held, Way};
use crate::payload::{Waiting, is_most};

/// The buffer that the h2 crate reads into, bytes: a piece of data may keep all of it.
const READ_BUFFER: usize = 16 * 1024;

/// How a body ended: well, or why not.
type End = Result<(), String>;

/// A response's body as it comes.
#[derive(Debug)]
pub(crate) struct Body {
    stream: RecvStream,
    /// What came and was not taken.
    waiting: VecDeque<Waiting>,
    /// What that takes, for the stream
    held: Held,
    /// and for the connection.
    gathered: Gathered,
    end: Option<End>,
    /// Bytes that were handed out, and for which the peer has no new credit yet.
    unreleased: usize,
    /// From how many of them on it gets it.
    batch: usize,
}

impl Body {
    pub(super) fn new(
        stream: RecvStream,
        batch: usize,
        account: &Arc<Account>,
        gate: &Arc<Gate>,
    ) -> Self {
        Self {
            stream,
            waiting: VecDeque::new(),
            held: account.hold(Way::Gathered, 0),
            gathered: Gathered::new(gate),
            end: None,
            unreleased: 0,
            batch,
        }
    }

    /// Whether it is known that nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.stream.is_end_stream()
    }

    /// The next bytes, `None` at the end. The peer gets new credit for what
    /// earlier calls returned: so a caller that calls again has passed that on.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, String>> {
        poll_fn(|cx| self.poll_bytes(cx)).await
    }

    /// The same.
    pub(super) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, String>>> {
        if self.unreleased >= self.batch {
            let released = std::mem::take(&mut self.unreleased);
            // Fails only once the stream is closed, when nobody needs credit.
            let _ = self.stream.flow_control().release_capacity(released);
        }
        let next = ready!(self.poll_next(cx));
        if let Some(Ok(bytes)) = &next {
            self.unreleased += bytes.len();
        }
        Poll::Ready(next)
    }

    /// The headers behind a body that was taken to its end.
    pub(crate) async fn trailers(&mut self) -> Option<HeaderMap> {
        match self.end {
            Some(Ok(())) => poll_fn(|cx| self.stream.poll_trailers(cx)).await.ok()?,
            _ => None,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, String>>> {
        if let Some(waiting) = self.waiting.pop_front() {
            self.charge(self.held.bytes().saturating_sub(waiting.size()));
            return Poll::Ready(Some(Ok(waiting.into_bytes())));
        }
        if let Some(end) = &self.end {
            return Poll::Ready(end.clone().err().map(Err));
        }
        match ready!(self.poll_stream(cx)) {
            Ok(bytes) if is_most(bytes.len(), READ_BUFFER) => Poll::Ready(Some(Ok(bytes))),
            Ok(bytes) => {
                // With all that has come behind it.
                self.keep(bytes);
                self.gather_what_came(cx);
                self.poll_next(cx)
            }
            Err(end) => Poll::Ready(end.err().map(Err)),
        }
    }

    /// Gathers what comes, for as long as it is polled.
    pub(crate) async fn gather(&mut self) -> Infallible {
        poll_fn(|cx| {
            self.gather_what_came(cx);
            Poll::Pending
        })
        .await
    }

    pub(super) fn gather_what_came(&mut self, cx: &mut Context<'_>) {
        while self.end.is_none()
            && let Poll::Ready(next) = self.poll_stream(cx)
        {
            if let Ok(bytes) = next {
                self.keep(bytes);
            }
        }
    }

    /// The next bytes of the stream, or its end, which is kept.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        let end = match ready!(self.stream.poll_data(cx)) {
            Some(Ok(bytes)) => return Poll::Ready(Ok(bytes)),
            None => Ok(()),
            // The response is complete, and the rest of the request not wanted (RFC 9113 §8.1).
            Some(Err(error)) if is_enough(&error) => Ok(()),
            Some(Err(error)) => Err(describe(&error)),
        };
        self.end = Some(end.clone());
        Poll::Ready(Err(end))
    }

    fn keep(&mut self, bytes: Bytes) {
        let mut size = self.held.bytes();
        let rest = match self.waiting.back_mut() {
            // Large pieces are not worth a copy.
            Some(last) if !is_most(bytes.len(), READ_BUFFER) => {
                size -= last.size();
                let rest = last.join(&bytes).len();
                size += last.size();
                rest
            }
            _ => bytes.len(),
        };
        if rest > 0 {
            let waiting = Waiting::of(bytes.slice(bytes.len() - rest..), READ_BUFFER);
            size += waiting.size();
            self.waiting.push_back(waiting);
        }
        self.charge(size);
    }

    fn charge(&mut self, bytes: usize) {
        self.held.set(bytes);
        self.gathered.set(bytes);
    }
}
