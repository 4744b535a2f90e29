//! A shared connection: who is on it, and the task that keeps it going.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h3::client::SendRequest;
use h3::error::Code;
use quinn::VarInt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::frames::HEADERS_MAX;
use super::quic::Quic;
use crate::onward::connect::{QuicLink, Scope};

/// How long a connection that is not needed any more may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// How long a fresh connection waits for its first stream beyond what idle ones do.
const ARRIVAL_MAX: Duration = Duration::from_secs(1);

pub(super) type Sender = SendRequest<Quic, Bytes>;
type Io = h3::client::Connection<Quic, Bytes>;

/// A connection that streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// The driver has to look at its deadline again.
    changed: Notify,
    peer: Scope,
}

struct State {
    /// `None` once no more streams are taken.
    sender: Option<Sender>,
    /// Streams on it,
    active: usize,
    /// and how many there may be.
    streams_max: usize,
    /// Streams that were ever on it.
    served: u64,
    idle_since: Instant,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("active", &self.active)
            .field("retired", &self.sender.is_none())
            .finish_non_exhaustive()
    }
}

/// A stream's place on a connection.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    pub(super) sender: Sender,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.active = state.active.saturating_sub(1);
        if state.active == 0 {
            state.idle_since = Instant::now();
            drop(state);
            self.shared.changed.notify_one();
        }
    }
}

impl Slot {
    pub(crate) fn connection(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// There was no stream for this one: the peer allows no more than there are.
    pub(super) fn is_too_many(&self) {
        let mut state = self.shared.lock();
        state.streams_max = state.active.saturating_sub(1).max(1);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, if there is one.
    pub(super) fn slot(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.lock();
        if state.active >= state.streams_max {
            return None;
        }
        let sender = state.sender.clone()?;
        state.active += 1;
        state.served += 1;
        Some(Slot { shared: Arc::clone(self), sender })
    }

    /// What the peer's address is.
    pub(crate) const fn peer(&self) -> Scope {
        self.peer
    }

    /// Takes no more streams; those that are on it go on.
    pub(crate) fn retire(&self) {
        self.lock().sender = None;
        self.changed.notify_one();
    }

    pub(super) fn is_retired(&self) -> bool {
        self.lock().sender.is_none()
    }

    /// Whether more than one stream was ever on it: then what ends it may have nothing to do with
    /// the latest.
    pub(super) fn is_shared(&self) -> bool {
        self.lock().served > 1
    }

    /// Since when no stream is on it; `None` if one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.active == 0).then_some(state.idle_since)
    }

    /// Makes it end now if nobody uses it.
    pub(super) fn close_if_idle(&self) {
        if self.retire_if_idle(Duration::ZERO) {
            self.changed.notify_one();
        }
    }

    fn retire_if_idle(&self, keep: Duration) -> bool {
        let mut state = self.lock();
        let idle = state.idle_deadline(keep).is_some_and(|at| at <= Instant::now());
        if idle {
            state.sender = None;
        }
        idle
    }

    /// Whether it has no streams and gets no more.
    fn is_over(&self) -> bool {
        let state = self.lock();
        state.sender.is_none() && state.active == 0
    }
}

impl State {
    /// When it has been idle for so long; `None` if it is in use, or for ever is not too long.
    fn idle_deadline(&self, keep: Duration) -> Option<Instant> {
        if self.active > 0 { None } else { self.idle_since.checked_add(keep) }
    }
}

/// Speaks h3 on a fresh connection, which is kept while it is idle for `keep`; the error says why it
/// cannot be used. `at_end` is called when it is gone.
pub(super) async fn open(
    link: QuicLink,
    streams_max: usize,
    keep: Duration,
    at_end: impl FnOnce() + Send + 'static,
) -> Result<Arc<Shared>, String> {
    let (io, sender) = h3::client::builder()
        .max_field_section_size(HEADERS_MAX)
        .send_grease(false)
        .build(Quic::new(link.connection.clone()))
        .await
        .map_err(|error| error.to_string())?;
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            sender: Some(sender),
            active: 0,
            streams_max,
            served: 0,
            // Its first stream may take a moment to come.
            idle_since: Instant::now() + ARRIVAL_MAX,
        }),
        changed: Notify::new(),
        peer: link.peer(),
    });
    let driven = Arc::clone(&shared);
    tokio::spawn(async move {
        drive(io, &driven, keep).await;
        driven.retire();
        // Says goodbye if the connection still stands.
        let code = u32::try_from(Code::H3_NO_ERROR.value()).unwrap_or_default();
        link.connection.close(VarInt::from_u32(code), b"");
        at_end();
        let _ = timeout(GOODBYE_MAX, link.endpoint.wait_idle()).await;
    });
    Ok(shared)
}

/// Keeps a connection going until it ends or nobody needs it.
async fn drive(mut io: Io, shared: &Shared, keep: Duration) {
    loop {
        let idle = shared.lock().idle_deadline(keep);
        let idle = async {
            match idle {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = poll_fn(|cx| io.poll_close(cx)) => {
                tracing::debug!(%error, "h3 connection");
                return;
            }
            () = shared.changed.notified() => {}
            () = idle => {
                shared.retire_if_idle(keep);
            }
        }
        if shared.is_over() {
            return;
        }
    }
}
