//! Bytes both ways on one stream of a shared connection: extended CONNECT (RFC 8441).

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::SendStream;
use h2::ext::Protocol;
use http::{Method, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::small_frames::SMALL;
use super::{Body, Slot, describe};
use crate::memory::Account;
use crate::onward::http::head;

/// Most bytes that are sent at a time.
const SEND_MAX: usize = 16 * 1024;

/// What comes of the peer on a tunnel; it has to be gathered while nobody reads.
#[derive(Clone, Debug)]
pub(crate) struct Incoming(Arc<Mutex<Body>>);

impl Incoming {
    fn lock(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gathers what comes, for as long as it is polled, by the task that reads.
    pub(crate) async fn gather(&self) -> Infallible {
        poll_fn(|cx| {
            self.lock().gather_what_came(cx);
            Poll::Pending
        })
        .await
    }
}

/// Both ways of a stream. Dropped before both are at their end, the stream is reset.
#[derive(Debug)]
pub(crate) struct Tunnel {
    slot: Option<Slot>,
    sending: SendStream<Bytes>,
    /// Whether our way is at its end.
    is_sent: bool,
    /// Whether the next small piece may go out.
    is_allowed: bool,
    /// Until when it may not.
    pause: Option<Pin<Box<Sleep>>>,
    incoming: Incoming,
    /// What was taken of it and not read.
    rest: Bytes,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if self.is_sent && self.incoming.lock().is_over() {
            drop(self.slot.take().map(Slot::over));
        }
    }
}

/// Asks for a tunnel of this protocol: the answer, and the tunnel if that is a success. The error says
/// what became of the stream.
pub(crate) async fn tunnel(
    mut slot: Slot,
    mut request: Request<()>,
    protocol: &'static str,
    account: &Arc<Account>,
) -> Result<Response<Option<Tunnel>>, String> {
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from_static(protocol));
    let (size, size_max) = (head::h2_size(&request), slot.heard().head_max());
    if size > size_max {
        return Err(format!("it takes headers of {size_max} bytes, and these are {size}"));
    }
    let (batch, gate) = (slot.credit_batch(), slot.gate());
    let (response, sending) =
        slot.sender.send_request(request, false).map_err(|error| describe(&error))?;
    slot.begin();
    let response = response.await.map_err(|error| describe(&error))?;
    let is_open = response.status().is_success();
    Ok(response.map(|stream| {
        let body = Body::new(stream, batch, account, &gate);
        is_open.then(|| Tunnel {
            slot: Some(slot),
            sending,
            is_sent: false,
            is_allowed: false,
            pause: None,
            incoming: Incoming(Arc::new(Mutex::new(body))),
            rest: Bytes::new(),
        })
    }))
}

impl Tunnel {
    pub(crate) fn incoming(&self) -> Incoming {
        self.incoming.clone()
    }

    /// Ready when a piece of this size may go out: servers count small ones.
    fn poll_allowed(&mut self, cx: &mut Context<'_>, size: usize) -> Poll<()> {
        while size < SMALL && !self.is_allowed {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let Some(slot) = &self.slot else { break };
            match slot.connection().small_frames().take() {
                Ok(()) => self.is_allowed = true,
                Err(until) => self.pause = Some(Box::pin(sleep_until(until))),
            }
        }
        Poll::Ready(())
    }
}

fn broken(error: &h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, describe(error))
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            let next = ready!(self.incoming.lock().poll_bytes(cx));
            match next {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(why)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, why)));
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let size = self.rest.len().min(buf.remaining());
        buf.put_slice(self.rest.get(..size).unwrap_or_default());
        self.rest.advance(size);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wanted = bytes.len().min(SEND_MAX);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_allowed(cx, wanted));
        self.sending.reserve_capacity(wanted);
        loop {
            let room = self.sending.capacity().min(wanted);
            if let Some(part) = bytes.get(..room).filter(|part| !part.is_empty()) {
                self.is_allowed = false;
                let sent = self.sending.send_data(Bytes::copy_from_slice(part), false);
                return Poll::Ready(sent.map(|()| room).map_err(|error| broken(&error)));
            }
            match ready!(self.sending.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    /// The connection sends by itself.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.is_sent, true) {
            // Fails only if the peer has closed, and then it does not matter.
            let _ = self.sending.send_data(Bytes::new(), true);
        }
        Poll::Ready(Ok(()))
    }
}
