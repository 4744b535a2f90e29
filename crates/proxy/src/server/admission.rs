//! Who may have a session: the limits, and who is connected.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{info, warn};

use super::shards::ShardId;
use super::shared::{Shared, lock};
use crate::config::Limits;
use crate::descriptors::{Budget, REMEDY};
use crate::identity::Identity;
use crate::onward::Onward;
use crate::session::{self, Excess, Peer, SessionContext};

/// Who is connected.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    sessions: usize,
    by_client: HashMap<Identity, Client>,
    lines: usize,
    lines_by_client: HashMap<Identity, usize>,
    /// Of the lines, those with a descriptor of their own.
    connections: usize,
    /// Links that are open only until their clients know that they get no session.
    turned_away: usize,
}

/// The sessions of one client.
#[derive(Debug, Default)]
struct Client {
    sessions: usize,
    /// Where the last one went.
    shard: Option<ShardId>,
}

/// How many sessions there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) sessions: Bound,
    pub(crate) of_client: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) limit: usize,
    /// How many descriptors the process may open, if they and not the configuration set the limit.
    pub(crate) descriptors: Option<usize>,
}

impl Quota {
    pub(crate) fn of(limits: &Limits, budget: &Budget) -> Self {
        let bound = |configured: usize, affordable: usize| Bound {
            limit: configured.min(affordable),
            descriptors: (affordable < configured).then_some(budget.limit),
        };
        let sessions = bound(limits.sessions, budget.sessions);
        // A configured limit is meant as it is.
        let share = match sessions.descriptors {
            Some(_) => Budget::share(budget.sessions),
            None => usize::MAX,
        };
        Self { sessions, of_client: bound(limits.sessions_per_client, share) }
    }

    fn excess(&self, admitted: &Admitted, client: &Identity) -> Option<Excess> {
        let own = admitted.by_client.get(client).map_or(0, |client| client.sessions);
        let (client, Bound { limit, descriptors }) =
            if admitted.sessions + admitted.connections >= self.sessions.limit {
                (None, self.sessions)
            } else if own >= self.of_client.limit {
                (Some(client.clone()), self.of_client)
            } else {
                return None;
            };
        Some(Excess { client, limit, descriptors })
    }
}

/// A link's place among the counted ones; given back when dropped.
pub(crate) struct Admission {
    id: u64,
    peer: Peer,
    /// Why the client gets no session, but only to know that.
    excess: Option<Excess>,
    /// Held for its drop: the line of the session waits for it.
    pub(crate) line: Option<TaskTrackerToken>,
    /// Where it is to be served.
    shard: Option<ShardId>,
    shared: Arc<Shared>,
}

impl Admission {
    /// Serves its link, in a task of the caller's runtime.
    pub(crate) fn serve<R, W>(self, reader: R, writer: W) -> JoinHandle<()>
    where
        R: session::LinkReader,
        W: session::LinkWriter,
    {
        let (context, sessions) = (self.context(), self.shared.sessions.clone());
        sessions.spawn(async move {
            session::run(context, reader, writer).await;
            drop(self);
        })
    }

    /// Serves its link on its shard. `connect` makes the halves of the link there, of what belongs to no
    /// runtime.
    pub(crate) fn serve_on_shard<R, W>(
        self,
        connect: impl FnOnce() -> io::Result<(R, W)> + Send + 'static,
    ) where
        R: session::LinkReader,
        W: session::LinkWriter,
    {
        let (context, shared) = (self.context(), Arc::clone(&self.shared));
        shared.shards.spawn(self.shard, &shared.sessions, async move {
            match connect() {
                Ok((reader, writer)) => session::run(context, reader, writer).await,
                Err(error) => warn!(%error, "cannot serve a client"),
            }
            drop(self);
        });
    }

    /// True if its shard is where the caller runs, or there are no shards.
    pub(crate) fn is_here(&self) -> bool {
        self.shard.is_none_or(|shard| self.shared.shards.is_here(shard))
    }

    fn context(&self) -> SessionContext<Arc<Onward>> {
        let shared = &self.shared;
        SessionContext {
            id: self.id,
            peer: self.peer.clone(),
            excess: self.excess.clone(),
            policy: Arc::clone(&lock(&shared.policy)),
            starter: Arc::clone(&shared.onward),
            observer: shared.observer.clone(),
            gate: Arc::clone(&shared.gate),
            counts: Arc::clone(&shared.counts),
            memory: Arc::clone(&shared.memory),
            limits: shared.config.limits.clone(),
            timeouts: shared.config.timeouts.clone(),
            draining: shared.draining.clone(),
            closing: shared.closing.clone(),
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut admitted = lock(&self.shared.admitted);
        if self.excess.is_some() {
            admitted.turned_away -= 1;
            return;
        }
        self.shared.counts.sessions_open.take(1);
        admitted.sessions -= 1;
        if let Entry::Occupied(mut entry) = admitted.by_client.entry(self.peer.identity()) {
            entry.get_mut().sessions -= 1;
            if entry.get().sessions == 0 {
                entry.remove();
            }
        }
    }
}

impl Shared {
    /// Most sessions that there may be.
    pub(crate) fn sessions_max(&self) -> usize {
        self.quota().sessions.limit
    }

    fn quota(&self) -> Quota {
        Quota::of(&self.config.limits, &self.descriptors().budget())
    }

    /// Says how many sessions there may be.
    pub(crate) fn log_quota(&self) {
        let Quota { sessions, of_client } = self.quota();
        let (all, own) = (sessions.limit, of_client.limit);
        match sessions.descriptors {
            Some(open) => warn!(
                "only {all} sessions at a time, {own} of one client: no more fit in \
                 {open} descriptors; {REMEDY}"
            ),
            None => info!(sessions = all, sessions_per_client = own, "serving"),
        }
    }

    /// A place for a session of `peer`. If a limit is reached the session refuses its stream, so
    /// that the client knows at once. `None` if so many are refused that this one is not to have
    /// that either.
    pub(crate) fn admit(self: &Arc<Self>, peer: Peer) -> Option<Admission> {
        let budget = self.descriptors().budget();
        let quota = self.quota();
        let client = peer.identity();
        let mut admitted = lock(&self.admitted);
        let excess = quota.excess(&admitted, &client);
        let mut shard = None;
        if let Some(excess) = &excess {
            self.counts.over_limit.add(1);
            if admitted.turned_away >= budget.turned_away {
                drop(admitted);
                let kind = "turned_away";
                warn!(%client, kind, "turned away without an answer, as many others are: {excess}");
                return None;
            }
            admitted.turned_away += 1;
        } else {
            admitted.sessions += 1;
            let client = admitted.by_client.entry(client).or_default();
            client.sessions += 1;
            client.shard = self.shards.place(client.shard);
            shard = client.shard;
            self.counts.sessions_open.add(1);
            self.counts.sessions_total.add(1);
        }
        drop(admitted);
        let (id, shared) = (self.next_id(), Arc::clone(self));
        Some(Admission { id, peer, excess, line: None, shard, shared })
    }
}

/// The place of a line over a network among the counted ones; given back when dropped.
pub(crate) struct LinePlace {
    client: Identity,
    is_connection: bool,
    shared: Arc<Shared>,
}

impl Admitted {
    fn has_all_lines(&self, client: &Identity, limits: &Limits) -> bool {
        self.lines_by_client.get(client).is_some_and(|own| *own >= limits.lines_per_client)
    }

    fn forget_line(&mut self, client: &Identity) {
        if let Some(own) = self.lines_by_client.get_mut(client) {
            *own -= 1;
            if *own == 0 {
                self.lines_by_client.remove(client);
            }
        }
    }
}

impl Shared {
    /// A place for a line of `client`, if no limit is reached; `is_connection` if it has a descriptor of
    /// its own.
    pub(crate) fn admit_line(
        self: &Arc<Self>,
        client: Identity,
        is_connection: bool,
    ) -> Option<LinePlace> {
        let limits = &self.config.limits;
        let links_max = self.quota().sessions.limit;
        let mut admitted = lock(&self.admitted);
        let is_full = admitted.lines >= limits.lines
            || admitted.has_all_lines(&client, limits)
            || is_connection && admitted.sessions + admitted.connections >= links_max;
        if is_full {
            self.counts.over_limit.add(1);
            return None;
        }
        admitted.lines += 1;
        admitted.connections += usize::from(is_connection);
        *admitted.lines_by_client.entry(client.clone()).or_default() += 1;
        drop(admitted);
        Some(LinePlace { client, is_connection, shared: Arc::clone(self) })
    }
}

impl LinePlace {
    /// Whose line it is.
    pub(crate) const fn client(&self) -> &Identity {
        &self.client
    }

    /// The line has turned out to be this client's. False if that one has too many already.
    pub(crate) fn belongs_to(&mut self, client: Identity) -> bool {
        if self.client == client {
            return true;
        }
        let mut admitted = lock(&self.shared.admitted);
        if admitted.has_all_lines(&client, &self.shared.config.limits) {
            self.shared.counts.over_limit.add(1);
            return false;
        }
        admitted.forget_line(&self.client);
        *admitted.lines_by_client.entry(client.clone()).or_default() += 1;
        self.client = client;
        true
    }
}

impl Drop for LinePlace {
    fn drop(&mut self) {
        let mut admitted = lock(&self.shared.admitted);
        admitted.lines -= 1;
        admitted.connections -= usize::from(self.is_connection);
        admitted.forget_line(&self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_that_do_not_suffice_limit_sessions_and_leave_room_for_strangers() {
        let mut limits = Limits { sessions: 100, sessions_per_client: 100, ..Limits::default() };
        let budget =
            Budget { limit: 1_000, sessions: 400, turned_away: 4, lookups: 8, onward: 400 };
        let quota = Quota::of(&limits, &budget);
        let configured = Bound { limit: 100, descriptors: None };
        assert_eq!(quota, Quota { sessions: configured, of_client: configured });
        limits.sessions = 4_000;
        let quota = Quota::of(&limits, &budget);
        let all = Bound { limit: 400, descriptors: Some(1_000) };
        assert_eq!(quota, Quota { sessions: all, of_client: configured });
        limits.sessions_per_client = 4_000;
        let share = Bound { limit: 375, descriptors: Some(1_000) };
        assert_eq!(Quota::of(&limits, &budget), Quota { sessions: all, of_client: share });
    }
}
