//! Who may have the process's descriptors: without this, links of clients would take those that
//! their streams, and everything else, need to go on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::Notify;

use crate::identity::Identity;
use crate::observe::Connection;

/// What an administrator can do about it.
pub(crate) const REMEDY: &str = "raise the process's limit of open files (ulimit -Hn, or \
                                 LimitNOFILE= of its systemd unit)";

/// Sockets of a look-up: one for each kind of address.
const LOOKUP: usize = 2;

/// The process's descriptors, divided. What is open when it is made belongs to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// How many descriptors the process may open.
    pub(crate) limit: usize,
    /// Sessions, each with a link.
    pub(crate) sessions: usize,
    /// Links of clients that are being turned away.
    pub(crate) turned_away: usize,
    /// Names that are looked up at a time, each with [`LOOKUP`] descriptors.
    pub(crate) lookups: usize,
    /// Onward connections: one for each session and some that are about to close.
    pub(crate) onward: usize,
}

impl Budget {
    /// A process that may have `limit` descriptors and has `open` of them.
    fn of(limit: usize, open: usize) -> Self {
        let left = limit.saturating_sub(open);
        let turned_away = (left / 32).clamp(1, 64);
        let lookups = (left / 8 / LOOKUP).clamp(4, 1024);
        // Policies and trust stores that are read, a link on its way to a session.
        let others = (left / 16).clamp(8, 64);
        let left = left.saturating_sub(turned_away + lookups * LOOKUP + others).max(2);
        let sessions = left / 2;
        Self { limit, sessions, turned_away, lookups, onward: left - sessions }
    }

    fn measure() -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        // The one that reads the folder is among them.
        let open = std::fs::read_dir("/proc/self/fd").map_or(16, Iterator::count);
        // More than there is memory for is as good as no limit.
        Self::of(usize::try_from(limit).unwrap_or(usize::MAX).min(1 << 30), open)
    }

    /// What one client may have of `all`: strangers find a place beside it.
    pub(crate) const fn share(all: usize) -> usize {
        let others = all / 16;
        all - others
    }
}

/// Gives descriptors to onward connections.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    budget: OnceLock<Budget>,
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_client: HashMap<Identity, usize>,
}

/// The right to one descriptor; given back when dropped.
#[derive(Debug)]
pub(crate) struct Descriptor {
    claim: Claim,
    /// What observers see of its connection.
    pub(crate) connection: Option<Connection>,
}

/// On whose account descriptors are taken.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// `None` if all clients share the connection.
    client: Option<Identity>,
    descriptors: Arc<Descriptors>,
}

impl Descriptor {
    /// The account that it is on.
    pub(crate) fn claim(&self) -> Claim {
        self.claim.clone()
    }
}

impl Claim {
    /// One more, if there is one.
    pub(crate) fn try_take(&self) -> Option<Descriptor> {
        self.descriptors.try_take(self.client.as_ref())
    }
}

impl Descriptors {
    /// How they are divided; measured when it is first asked for.
    pub(crate) fn budget(&self) -> Budget {
        *self.budget.get_or_init(Budget::measure)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One for a connection of this client, or of all clients together.
    pub(crate) fn try_take(self: &Arc<Self>, client: Option<&Identity>) -> Option<Descriptor> {
        let onward = self.budget().onward;
        let mut held = self.held();
        if held.all >= onward {
            return None;
        }
        if let Some(client) = client {
            let own = held.by_client.entry(client.clone()).or_default();
            if *own >= Budget::share(onward) {
                return None;
            }
            *own += 1;
        }
        held.all += 1;
        let claim = Claim { client: client.cloned(), descriptors: Arc::clone(self) };
        Some(Descriptor { claim, connection: None })
    }

    /// The same, once there is one. Cancel safe.
    pub(crate) async fn take(self: &Arc<Self>, client: Option<&Identity>) -> Descriptor {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(descriptor) = self.try_take(client) {
                return descriptor;
            }
            freed.await;
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let Claim { client, descriptors } = &mut self.claim;
        let mut held = descriptors.held();
        held.all -= 1;
        if let Some(client) = client.take()
            && let Entry::Occupied(mut own) = held.by_client.entry(client)
        {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
        drop(held);
        descriptors.freed.notify_waiters();
    }
}

#[cfg(test)]
impl Descriptors {
    /// For so many onward connections.
    pub(crate) fn for_onward(onward: usize) -> Arc<Self> {
        let budget = Budget { limit: 256, sessions: onward, turned_away: 1, lookups: 1024, onward };
        Arc::new(Self { budget: budget.into(), ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_leave_a_descriptor_for_each_onward_connection_and_some_for_the_rest() {
        for limit in [64, 256, 1024, 4096, 20_000, 1 << 30] {
            let open = 12;
            let Budget { sessions, turned_away, lookups, onward, .. } = Budget::of(limit, open);
            assert!(onward >= sessions, "{limit}");
            assert!(sessions >= limit / 4, "{limit}: only {sessions}");
            assert!(open + sessions + turned_away + 2 * lookups + onward + 8 <= limit, "{limit}");
        }
        assert_eq!(Budget::of(256, 12).sessions, 96);
        assert!(Budget::of(40_000, 12).sessions >= 16_384, "the default of the limit");
        assert_eq!(Budget::of(10, 12).sessions, 1);
    }

    #[test]
    fn one_client_cannot_have_all() {
        let descriptors = Descriptors::for_onward(32);
        let (one, other) = (Identity::User(1), Identity::User(2));
        let mut held = Vec::new();
        while let Some(descriptor) = descriptors.try_take(Some(&one)) {
            held.push(descriptor);
        }
        assert_eq!(held.len(), 30);
        let _others = [(); 2].map(|()| descriptors.try_take(Some(&other)).unwrap());
        assert!(descriptors.try_take(Some(&other)).is_none());
        held.pop();
        assert!(descriptors.try_take(Some(&other)).is_some());
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back() {
        let descriptors = Descriptors::for_onward(1);
        let held = descriptors.take(None).await;
        let waiting = tokio::spawn({
            let descriptors = Arc::clone(&descriptors);
            async move { descriptors.take(None).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        let patience = std::time::Duration::from_secs(30);
        let _held = tokio::time::timeout(patience, waiting).await.expect("it is woken").unwrap();
        assert!(descriptors.try_take(None).is_none());
    }
}
