//! Who holds how much of the memory that waiting payload takes, and who may take more.
//!
//! A *bound* holds for the whole proxy. What waits is charged with what it really holds, on the
//! account of the stream and the way that it goes, by [`Held`]s that travel with it. One rule keeps
//! the bound, and divides it: a client may hold a quarter of what nobody holds. So one client alone
//! gets a fifth of the bound, many clients get equal parts, and some is always left for the next
//! one. Who holds more is not read from any more, until the rest of the world or it itself has come
//! down to that.
//!
//! Each way of a stream may hold [`ALWAYS`] in any case: so it moves on, however little is left,
//! and needs nobody to wake it: what it holds goes, and then it may take more. The bound can be
//! exceeded by that, and by what one read brings.

mod machine;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::access::MemoryShare;
use crate::counters::Counts;
use crate::identity::Identity;

/// What each way of a stream may hold however much others do, in bytes: a piece of payload.
pub(crate) const ALWAYS: usize = 16 * 1024;
/// A client may hold what is free divided by this.
const CLIENT_PART: usize = 4;
/// A connection that streams share may hold what is free divided by this before it is not read: it
/// is a client's last resort, as it stops those of its streams that could go on.
const CONNECTION_PART: usize = 2;
/// How often who may not take more looks whether others have given back.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The memory of a proxy.
#[derive(Debug)]
pub(crate) struct Memory {
    bound: usize,
    /// Where the sum is.
    counts: Arc<Counts>,
    clients: Mutex<HashMap<Identity, Weak<Client>>>,
}

/// No bound.
impl Default for Memory {
    fn default() -> Self {
        Self { bound: usize::MAX, counts: Arc::default(), clients: Mutex::default() }
    }
}

impl Memory {
    /// `bound` is in bytes; what is held is counted in `counts`.
    pub(crate) fn new(bound: usize, counts: Arc<Counts>) -> Arc<Self> {
        Arc::new(Self { bound, counts, clients: Mutex::default() })
    }

    /// What may be held in all, in bytes.
    pub(crate) const fn bound(&self) -> usize {
        self.bound
    }

    /// An account for a stream of this client.
    pub(crate) fn open_account(self: &Arc<Self>, identity: Identity) -> Arc<Account> {
        self.open_account_within(identity, None)
    }

    /// The same within a share that the client's rule gives it.
    pub(crate) fn open_account_within(
        self: &Arc<Self>,
        identity: Identity,
        share: Option<Arc<MemoryShare>>,
    ) -> Arc<Account> {
        let mut clients = self.clients();
        let known = clients.get(&identity).and_then(Weak::upgrade);
        let client = known.unwrap_or_else(|| {
            let client = Client {
                identity: identity.clone(),
                memory: Arc::clone(self),
                held: AtomicUsize::new(0),
            };
            let client = Arc::new(client);
            clients.insert(identity, Arc::downgrade(&client));
            client
        });
        drop(clients);
        Arc::new(Account { client, share, ways: Default::default() })
    }

    /// True if a connection whose streams hold so much together may be read.
    pub(crate) fn allows_connection(&self, held: usize) -> bool {
        held <= self.free() / CONNECTION_PART
    }

    fn free(&self) -> usize {
        let held = usize::try_from(self.counts.memory_held.read()).unwrap_or(usize::MAX);
        self.bound.saturating_sub(held)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Identity, Weak<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the streams of one client hold.
#[derive(Debug)]
struct Client {
    identity: Identity,
    memory: Arc<Memory>,
    held: AtomicUsize,
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut clients = self.memory.clients();
        // Another one may have taken its place.
        if clients.get(&self.identity).is_some_and(|client| client.strong_count() == 0) {
            clients.remove(&self.identity);
        }
    }
}

/// Which way payload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the remote peer.
    Onward,
    /// From the remote peer to the client.
    Back,
    /// The same as far as it only came because others share its connection. To take it from there is
    /// to take it.
    Gathered,
}

/// What one stream holds.
#[derive(Debug)]
pub(crate) struct Account {
    client: Arc<Client>,
    /// What its client's rule gives to all of its streams together.
    share: Option<Arc<MemoryShare>>,
    ways: [WayAccount; 3],
}

#[derive(Debug, Default)]
struct WayAccount {
    held: AtomicUsize,
    /// It has come down to what may always be held.
    eased: Notify,
}

impl Account {
    fn way(&self, way: Way) -> &WayAccount {
        let [onward, back, gathered] = &self.ways;
        match way {
            Way::Onward => onward,
            Way::Back => back,
            Way::Gathered => gathered,
        }
    }

    /// True if the side that this way comes from may be read.
    pub(crate) fn may_take(&self, way: Way) -> bool {
        let Client { memory, held, .. } = &*self.client;
        self.way(way).held.load(Ordering::Relaxed) < ALWAYS
            || held.load(Ordering::Relaxed) <= memory.free() / CLIENT_PART
                && self.share.as_ref().is_none_or(|share| share.has_room())
    }

    /// Ready once [`Account::may_take`] may have become true.
    pub(crate) async fn changed(&self, way: Way) {
        tokio::select! {
            () = self.way(way).eased.notified() => {}
            () = sleep(LOOK_AGAIN) => {}
        }
    }

    /// Ready once the side that this way comes from may be read. For one caller.
    pub(crate) async fn room(&self, way: Way) {
        while !self.may_take(way) {
            self.changed(way).await;
        }
    }

    /// Charges so many bytes, for as long as what is returned lives.
    pub(crate) fn hold(self: &Arc<Self>, way: Way, bytes: usize) -> Held {
        let mut held = Held { account: Arc::clone(self), way, bytes: 0 };
        held.set(bytes);
        held
    }

    /// The same payload, charged with `size` bytes until the last share of it is gone, wherever it
    /// goes.
    pub(crate) fn attach(self: &Arc<Self>, way: Way, payload: Bytes, size: usize) -> Bytes {
        if payload.is_empty() {
            return payload;
        }
        Bytes::from_owner(Attached { payload, _held: self.hold(way, size) })
    }
}

/// Bytes that are charged; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    account: Arc<Account>,
    way: Way,
    bytes: usize,
}

impl Held {
    /// So many bytes from now on.
    pub(crate) fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes == before {
            return;
        }
        let client = &self.account.client;
        let total = &client.memory.counts.memory_held;
        let way = self.account.way(self.way);
        if let Some(more) = bytes.checked_sub(before) {
            way.held.fetch_add(more, Ordering::Relaxed);
            client.held.fetch_add(more, Ordering::Relaxed);
            if let Some(share) = &self.account.share {
                share.add(more);
            }
            total.add(more as u64);
        } else {
            let less = before - bytes;
            let was = way.held.fetch_sub(less, Ordering::Relaxed);
            client.held.fetch_sub(less, Ordering::Relaxed);
            if let Some(share) = &self.account.share {
                share.take(less);
            }
            total.take(less as u64);
            if was >= ALWAYS && was - less < ALWAYS {
                way.eased.notify_one();
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

struct Attached {
    payload: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Attached {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}
