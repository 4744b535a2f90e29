//! Who may have a session: the limits, and who is connected.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::warn;

use super::shared::{Shared, lock};
use crate::session::{self, Peer, SessionContext};

/// A session's place among the counted ones; given back when dropped.
pub(crate) struct Admission {
    id: u64,
    peer: Peer,
    /// Held for its drop: the line of the session waits for it.
    pub(crate) line: Option<TaskTrackerToken>,
    shared: Arc<Shared>,
}

impl Admission {
    /// Serves its link, in a task.
    pub(crate) fn serve<R, W>(self, reader: R, writer: W) -> JoinHandle<()>
    where
        R: session::LinkReader,
        W: session::LinkWriter,
    {
        let shared = Arc::clone(&self.shared);
        let context = SessionContext {
            id: self.id,
            peer: self.peer.clone(),
            policy: Arc::clone(&lock(&shared.policy)),
            starter: Arc::clone(&shared.onward),
            counts: Arc::clone(&shared.counts),
            limits: shared.config.limits.clone(),
            timeouts: shared.config.timeouts.clone(),
            draining: shared.draining.clone(),
            closing: shared.closing.clone(),
        };
        shared.sessions.spawn(async move {
            session::run(context, reader, writer).await;
            drop(self);
        })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.shared.counts.sessions_open.take(1);
        if let Entry::Occupied(mut entry) = lock(&self.shared.peers).entry(self.peer.identity()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Shared {
    /// A place for a session of `peer`, unless a limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, peer: Peer) -> Option<Admission> {
        let limits = &self.config.limits;
        let mut peers = lock(&self.peers);
        let all: usize = peers.values().sum();
        let identity = peer.identity();
        let own = peers.get(&identity).copied().unwrap_or(0);
        if all >= limits.sessions || own >= limits.sessions_per_client {
            drop(peers);
            self.counts.over_limit.add(1);
            if all >= limits.sessions {
                warn!(%peer, limit = limits.sessions, "turned away: too many sessions");
            } else {
                let limit = limits.sessions_per_client;
                warn!(%peer, %identity, limit, "turned away: too many sessions of this client");
            }
            return None;
        }
        peers.insert(identity, own + 1);
        self.counts.sessions_open.add(1);
        self.counts.sessions_total.add(1);
        Some(Admission { id: self.next_id(), peer, line: None, shared: Arc::clone(self) })
    }
}
