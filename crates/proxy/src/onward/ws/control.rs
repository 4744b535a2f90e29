//! What the reader asks of the writer, and what both must know.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sspc_ws::{CloseCode, ControlPayload};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Most pings whose answers wait for the writer. A peer that sends many at once, to measure or to
/// test, wants each answered; one that sends them without reading answers must not fill our memory.
pub(super) const PONGS_MAX: usize = 16;

/// What the reader and the writer of one connection share.
#[derive(Debug, Default)]
pub(super) struct Control {
    wanted: Mutex<Wanted>,
    changed: Notify,
    /// Nothing more will be sent; what the peer still has to say is waited for with a limit.
    pub(super) leaving: CancellationToken,
}

/// Control frames that the writer is to send at the next end of a frame, in this order.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The answers to the latest pings, at most [`PONGS_MAX`], in the order in which they came.
    /// Earlier ones are left out, as RFC 6455 §5.5.3 allows.
    pub(super) pongs: VecDeque<ControlPayload>,
    /// A ping of ours.
    pub(super) ping: bool,
    /// The close frame: the last one, with or without a code.
    pub(super) close: Option<Option<CloseCode>>,
}

impl Control {
    /// Asks for the answer to a ping.
    pub(super) fn pong(&self, payload: ControlPayload) {
        let mut wanted = self.lock();
        if wanted.pongs.len() >= PONGS_MAX {
            wanted.pongs.pop_front();
        }
        wanted.pongs.push_back(payload);
        drop(wanted);
        self.changed.notify_one();
    }

    /// Asks for a ping.
    pub(super) fn ping(&self) {
        self.lock().ping = true;
        self.changed.notify_one();
    }

    /// Asks for the close frame. The first to ask gives the reason.
    pub(super) fn close(&self, code: Option<CloseCode>) {
        self.lock().close.get_or_insert(code);
        self.changed.notify_one();
    }

    /// What is wanted since the last call.
    pub(super) fn take(&self) -> Wanted {
        std::mem::take(&mut self.lock())
    }

    /// Returns once something may be wanted. For one caller.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        // Nothing that holds the lock can leave it half changed.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
