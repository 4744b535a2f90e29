//! A shared connection: who is on it, and the task that keeps it going.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h3::client::SendRequest;
use h3::error::Code;
use quinn::VarInt;
use tokio::time::timeout;

use super::frames::HEADERS_MAX;
use super::quic::Quic;
use crate::onward::connect::{QuicLink, Scope};
use crate::onward::http::occupancy::{GOODBYE_MAX, Occupancy, until};

pub(super) type Sender = SendRequest<Quic, Bytes>;
type Io = h3::client::Connection<Quic, Bytes>;

/// A connection that streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) occupancy: Occupancy<Sender>,
    peer: Scope,
    /// The number by which observers know it.
    observed: Option<u64>,
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
        self.shared.occupancy.leave();
    }
}

impl Slot {
    pub(crate) fn connection(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Shared {
    /// A place, if there is one.
    pub(super) fn slot(self: &Arc<Self>) -> Option<Slot> {
        let sender = self.occupancy.enter()?;
        Some(Slot { shared: Arc::clone(self), sender })
    }

    /// The number by which observers know it.
    pub(crate) const fn observed(&self) -> Option<u64> {
        self.observed
    }

    /// What the peer's address is.
    pub(crate) const fn peer(&self) -> Scope {
        self.peer
    }

    /// Takes no more streams; those that are on it go on.
    pub(crate) fn retire(&self) {
        self.occupancy.retire();
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
    let occupancy = Occupancy::new(sender, streams_max);
    let shared = Arc::new(Shared { occupancy, peer: link.peer(), observed: link.observed() });
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
    let occupancy = &shared.occupancy;
    loop {
        let idle = occupancy.idle_deadline(keep);
        tokio::select! {
            error = poll_fn(|cx| io.poll_close(cx)) => {
                tracing::debug!(%error, "h3 connection");
                return;
            }
            () = occupancy.changed() => {}
            () = until(idle) => {
                occupancy.retire_if_idle(keep);
            }
        }
        if occupancy.is_over() {
            return;
        }
    }
}
