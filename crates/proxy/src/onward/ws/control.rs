//! What the reader asks of the writer, and what both must know.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sspc_ws::{CloseCode, ControlPayload};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What the reader and the writer of one connection share.
#[derive(Debug, Default)]
pub(super) struct Control {
    wanted: Mutex<Wanted>,
    changed: Notify,
    /// Nothing more will be sent; what the peer still has to say is waited for with a limit.
    pub(super) leaving: CancellationToken,
}

/// Control frames that the writer is to send at the next end of a frame. There is never more than
/// one of a kind, however fast the peer asks.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The answer to the latest ping; an earlier one is left out if it did not go out in time,
    /// which RFC 6455 §5.5.3 allows.
    pub(super) pong: Option<ControlPayload>,
    /// A ping of ours.
    pub(super) ping: bool,
    /// The close frame: the last one, with or without a code.
    pub(super) close: Option<Option<CloseCode>>,
}

impl Control {
    /// Asks for the answer to a ping.
    pub(super) fn pong(&self, payload: ControlPayload) {
        self.lock().pong = Some(payload);
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
