//! A connection that streams share, as they see it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sspc_mqtt::{Message, SessionError};
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use super::core::{Core, Joined, Joining, Phase, Piece, Rules, Verdict};
use super::params::{Params, now};
use super::pool::Left;
use crate::onward::connect::Perf;
use crate::onward::{Failure, FailureKind, OnwardConfig};

/// Messages to the broker that may be on their way at a time; a broker of 5 may allow fewer.
const WINDOW: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) params: Params,
    core: Mutex<Core>,
    /// There is something to write, or the connection is left.
    pub(super) to_write: Notify,
    /// A stream has taken something.
    pub(super) to_read: Notify,
    /// There is a deadline that was not there before.
    pub(super) timer: Notify,
    /// A permit for each message that may still be on its way; none before the broker accepts.
    window: Arc<Semaphore>,
    /// What the connection came to.
    down: watch::Sender<Option<Failure>>,
    perf: Mutex<Perf>,
}

impl Link {
    /// A connection that is to be opened, after the one that left this behind.
    pub(super) fn new(
        params: Params,
        left: Left,
        config: &OnwardConfig,
    ) -> Result<Arc<Self>, Failure> {
        let mut session = params.session(&config.timeouts)?;
        session.resume(left.received);
        let window = usize::try_from(config.limits.mqtt_stream_window).unwrap_or(usize::MAX);
        let rules =
            Rules { window, answer_timeout: config.timeouts.response, is_clean: params.clean };
        let core = Core::new(session, params.birth.clone(), left.kept, rules);
        Ok(Arc::new(Self {
            params,
            core: Mutex::new(core),
            to_write: Notify::new(),
            to_read: Notify::new(),
            timer: Notify::new(),
            window: Arc::new(Semaphore::new(0)),
            down: watch::Sender::new(None),
            perf: Mutex::default(),
        }))
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perf(&self) -> MutexGuard<'_, Perf> {
        self.perf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_perf(&self, perf: &Perf) {
        *self.perf() = perf.clone();
    }

    /// What the driver of the connection does next may be another thing now.
    pub(super) fn changed(&self) {
        self.to_write.notify_one();
        self.timer.notify_one();
    }

    /// The broker accepted, and takes so many messages at a time.
    pub(super) fn open_window(&self, receive_maximum: u16) {
        self.window.add_permits(WINDOW.min(receive_maximum.into()));
    }

    /// The connection is over: everybody hears why.
    pub(super) fn fail(&self, failure: Failure) -> Left {
        let (kept, received) = self.core().fail(&failure);
        self.window.close();
        self.down.send_replace(Some(failure));
        Left { kept, received }
    }

    /// Ready when the connection is over.
    pub(super) async fn ended(&self) -> Failure {
        let mut down = self.down.subscribe();
        match down.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(failure)) => failure.clone(),
            // It is said before the sender goes.
            _ => Failure::new(FailureKind::Internal, "the connection ended without a word"),
        }
    }

    /// Ready when nobody needs the connection any more.
    pub(super) async fn abandoned(&self) {
        while self.core().phase != Phase::Leaving {
            self.to_write.notified().await;
        }
    }

    /// A place for a stream; `None` if the connection is at its end.
    pub(super) fn join(self: &Arc<Self>, joining: Joining) -> Option<Place> {
        let Joined { id, ready, arrived } = self.core().join(joining, now())?;
        self.changed();
        Some(Place { link: Arc::clone(self), id, ready: Some(ready), arrived })
    }
}

/// A stream's place on a connection; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    link: Arc<Link>,
    id: u64,
    ready: Option<oneshot::Receiver<Result<(), Failure>>>,
    arrived: Arc<Notify>,
}

impl Place {
    /// Ready when the stream is connected: the broker has accepted the connection and the
    /// subscription.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        let Some(ready) = self.ready.take() else { return Ok(()) };
        match ready.await {
            Ok(result) => result,
            Err(_) => Err(self.ended().await),
        }
    }

    /// How the connection came about.
    pub(super) fn perf(&self) -> Perf {
        self.link.perf().clone()
    }

    pub(super) async fn ended(&self) -> Failure {
        self.link.ended().await
    }

    /// Another place on the same connection; `None` if that is at its end.
    pub(super) fn join(&self, joining: Joining) -> Option<Place> {
        self.link.join(joining)
    }

    /// Ready when there is a piece of a message, or the connection is over.
    pub(super) async fn arrived(&self) {
        loop {
            {
                let core = self.link.core();
                if core.has_piece(self.id) || core.phase == Phase::Down {
                    return;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// The next piece of a message for this stream; why there is none once the connection is over and
    /// all is taken.
    pub(super) async fn next(&self) -> Result<Piece, Failure> {
        loop {
            let (piece, is_down) = {
                let mut core = self.link.core();
                (core.take(self.id), core.phase == Phase::Down)
            };
            match piece {
                Some(piece) => {
                    self.link.to_read.notify_one();
                    return Ok(piece);
                }
                None if is_down => return Err(self.ended().await),
                None => self.arrived.notified().await,
            }
        }
    }

    /// Publishes as soon as the broker takes one more message; what is returned says what became of
    /// it.
    pub(super) async fn publish(
        &self,
        message: Message<'_>,
    ) -> Result<oneshot::Receiver<Verdict>, Failure> {
        let Ok(permit) = Arc::clone(&self.link.window).acquire_owned().await else {
            return Err(self.ended().await);
        };
        let verdict = self.link.core().publish(message, permit);
        self.link.changed();
        Ok(verdict)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.link.core().leave(self.id, now());
        self.link.changed();
        self.link.to_read.notify_one();
    }
}

/// What a broker's fault means.
pub(super) fn failure(error: &SessionError) -> Failure {
    let kind = match error {
        SessionError::Decode(_) | SessionError::Unexpected(_) => FailureKind::Protocol,
        SessionError::Refused(reason) if reason.is_busy() => FailureKind::Busy,
        SessionError::Refused(_) => FailureKind::Refused,
        SessionError::Disconnected(_) => FailureKind::Closed,
        SessionError::Silent(_) => FailureKind::Silent,
    };
    Failure::new(kind, error.to_string())
}
