//! A link of the simulation as the session's reader and writer, and as the client's.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use sspc_sim::{Cut, Link, LinkConfig, Side};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::{LinkReader, LinkWriter};

/// How a cable comes to its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fate {
    pub(super) cut: Option<Cut>,
    /// How many µs after the loss each end hears of it; what it sends until then is lost.
    pub(super) client_notices_us: u64,
    pub(super) proxy_notices_us: u64,
    /// The proxy hears of the loss by an error, not by the end of the stream.
    pub(super) by_error: bool,
}

/// One connection between client and proxy.
#[derive(Clone)]
pub(super) struct Cable(Arc<Inner>);

struct Inner {
    start: Instant,
    fate: Fate,
    /// Told when the session read or wrote.
    changed: Arc<Notify>,
    state: Mutex<State>,
}

struct State {
    link: Link,
    lost_at_us: Option<u64>,
    client_closed: bool,
    proxy_closed: bool,
    /// Bytes that arrived: at the client, at the proxy.
    arrived: [u64; 2],
    /// Bytes that the session wrote.
    written: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Cable {
    /// `start` is when the virtual time began.
    pub(super) fn new(
        start: Instant,
        seed: u64,
        config: LinkConfig,
        fate: Fate,
        changed: Arc<Notify>,
    ) -> Self {
        let mut link = Link::new(seed, config);
        if let Some(cut) = fate.cut {
            link.plan(cut);
        }
        let state = State {
            link,
            lost_at_us: None,
            client_closed: false,
            proxy_closed: false,
            arrived: [0; 2],
            written: 0,
            reader: None,
            writer: None,
        };
        Self(Arc::new(Inner { start, fate, changed, state: Mutex::new(state) }))
    }

    pub(super) fn proxy_end(&self) -> (ProxyReader, ProxyWriter) {
        (ProxyReader(self.clone()), ProxyWriter(self.clone()))
    }

    /// Bytes for the client; 0 if there are none now.
    pub(super) fn read(&self, out: &mut [u8]) -> usize {
        let (mut state, now_us) = self.lock();
        let length = state.link.pop(now_us, Side::A, out);
        state.arrived[0] += length as u64;
        if length > 0
            && let Some(writer) = state.writer.take()
        {
            writer.wake();
        }
        length
    }

    /// Bytes from the client; how many were taken.
    pub(super) fn write(&self, bytes: &[u8]) -> usize {
        let (mut state, now_us) = self.lock();
        state.link.push(now_us, Side::A, bytes)
    }

    /// True once the client knows that the link is gone.
    pub(super) fn is_over(&self) -> bool {
        let (state, now_us) = self.lock();
        let closed = state.proxy_closed && state.link.next_arrival(Side::A).is_none();
        closed || state.knows_of_loss(now_us, self.0.fate.client_notices_us)
    }

    /// The client closes; what it sent still arrives.
    pub(super) fn close(&self) {
        let (mut state, _) = self.lock();
        state.client_closed = true;
        state.wake();
    }

    /// True once neither end uses it.
    pub(super) fn is_done(&self) -> bool {
        let (state, _) = self.lock();
        state.proxy_closed && state.client_closed
    }

    /// When something next happens here, in µs, later than now.
    pub(super) fn next_event(&self) -> Option<u64> {
        let (state, now_us) = self.lock();
        let fate = &self.0.fate;
        let notices = state.lost_at_us.map(|at| {
            let notices = [at + fate.client_notices_us, at + fate.proxy_notices_us];
            notices.into_iter().filter(|at| *at > now_us).min()
        });
        let arrivals = [
            state.link.next_arrival(Side::A),
            state.link.next_arrival(Side::B),
            // Arrivals that are due and not taken would hide the planned loss.
            fate.cut.and_then(|cut| match cut {
                Cut::AtTime(at_us) if state.lost_at_us.is_none() => Some(at_us),
                _ => None,
            }),
        ];
        arrivals.into_iter().chain(notices).flatten().filter(|at| *at > now_us).min()
    }

    /// Lets the session see what has come.
    pub(super) fn wake(&self) {
        self.lock().0.wake();
    }

    /// Bytes that arrived at the client and at the proxy.
    pub(super) fn arrived(&self) -> [u64; 2] {
        self.lock().0.arrived
    }

    /// Bytes that the session wrote.
    pub(super) fn written(&self) -> u64 {
        self.lock().0.written
    }

    /// The state with the time now, a loss that time brought included.
    fn lock(&self) -> (MutexGuard<'_, State>, u64) {
        let mut state = self.0.state.lock().unwrap();
        let now_us = self.0.start.elapsed().as_micros() as u64;
        if state.lost_at_us.is_none() && !state.link.is_up(now_us) {
            state.lost_at_us = Some(now_us);
            state.link.cut();
        }
        (state, now_us)
    }

    fn is_over_for_proxy(&self, state: &State, now_us: u64) -> bool {
        let closed = state.client_closed && state.link.next_arrival(Side::B).is_none();
        closed || state.knows_of_loss(now_us, self.0.fate.proxy_notices_us)
    }
}

impl State {
    fn knows_of_loss(&self, now_us: u64, notices_us: u64) -> bool {
        self.lost_at_us.is_some_and(|at| now_us >= at + notices_us)
    }

    fn wake(&mut self) {
        [self.reader.take(), self.writer.take()].into_iter().flatten().for_each(Waker::wake);
    }
}

pub(super) struct ProxyReader(Cable);

impl AsyncRead for ProxyReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (mut state, now_us) = self.0.lock();
        let length = state.link.pop(now_us, Side::B, room.initialize_unfilled());
        if length > 0 {
            room.advance(length);
            state.arrived[1] += length as u64;
            self.0.0.changed.notify_one();
            return Poll::Ready(Ok(()));
        }
        drop(state);
        let (mut state, now_us) = self.0.lock();
        if !self.0.is_over_for_proxy(&state, now_us) {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match state.lost_at_us {
            Some(_) if self.0.0.fate.by_error => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl LinkReader for ProxyReader {
    async fn gone(&self) {
        std::future::poll_fn(|cx| {
            let (mut state, now_us) = self.0.lock();
            let gone =
                state.client_closed || state.knows_of_loss(now_us, self.0.0.fate.proxy_notices_us);
            if gone {
                return Poll::Ready(());
            }
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

pub(super) struct ProxyWriter(Cable);

impl AsyncWrite for ProxyWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (mut state, now_us) = self.0.lock();
        if state.client_closed || state.knows_of_loss(now_us, self.0.0.fate.proxy_notices_us) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = state.link.push(now_us, Side::B, bytes);
        if length == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.written += length as u64;
        self.0.0.changed.notify_one();
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().0.proxy_closed = true;
        self.0.0.changed.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl LinkWriter for ProxyWriter {
    const IS_NARROW: bool = false;
}

impl Drop for ProxyWriter {
    fn drop(&mut self) {
        self.0.lock().0.proxy_closed = true;
        self.0.0.changed.notify_one();
    }
}
