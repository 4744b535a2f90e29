//! What can be seen of a running proxy: its sessions, transactions, onward connections, lines and
//! failures.
//!
//! An [`Observer`] is there only if [`Config::observe`](crate::Config::observe) asks for one; without it
//! nothing here costs anything but a look whether there is one. What sessions and attempts write goes to
//! atomics and to locks that nobody else holds for long, and never waits for who reads it.

mod connections;
mod failures;
mod feed;
mod frames;
mod handle;
mod histogram;
mod lines;
mod session;
mod streamtypes;
pub(crate) mod trace;
mod transaction;
pub mod view;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use sspc_policy::StreamType;
use tokio::sync::broadcast;

pub(crate) use self::connections::Connection;
use self::connections::Connections;
use self::failures::Failures;
pub use self::feed::{Missed, TransactionFeed};
use self::frames::Followers;
pub use self::frames::{FrameFeed, FrameSelection, SeenFrame};
pub(crate) use self::frames::{ReadFrames, SessionFrames};
pub use self::handle::Observed;
pub(crate) use self::lines::LineWatch;
use self::lines::Lines;
use self::session::Session;
pub(crate) use self::session::Watched;
use self::streamtypes::Streamtypes;
pub(crate) use self::transaction::{Outcome, Record};
use self::view::TransactionView;
use crate::session::Peer;

/// Transactions that wait for who follows them; who is slower misses some.
const FEED: usize = 1024;

/// Sees what a proxy does.
#[derive(Debug)]
pub(crate) struct Observer {
    started_at: u64,
    next_transaction: AtomicU64,
    sessions: Mutex<HashMap<u64, Arc<Session>>>,
    streamtypes: Streamtypes,
    connections: Arc<Connections>,
    lines: Arc<Lines>,
    failures: Failures,
    followers: Followers,
    ended: broadcast::Sender<Arc<TransactionView>>,
}

impl Observer {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            started_at: now(),
            next_transaction: AtomicU64::new(1),
            sessions: Mutex::default(),
            streamtypes: Streamtypes::default(),
            connections: Arc::default(),
            lines: Arc::default(),
            failures: Failures::default(),
            followers: Followers::default(),
            ended: broadcast::Sender::new(FEED),
        })
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<u64, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream was created on this session.
    pub(crate) fn watch(self: &Arc<Self>, id: u64, peer: &Peer, stream: &StreamType) -> Watched {
        let counts = self.streamtypes.of(&stream.name, &stream.protocol.to_string());
        let session = Arc::new(Session::new(id, peer.clone(), counts));
        self.sessions().insert(id, Arc::clone(&session));
        Watched::new(Arc::clone(self), session)
    }

    /// A session ended because of what its client did, before it had a stream or after.
    pub(crate) fn session_failed(
        &self,
        peer: &Peer,
        streamtype: Option<&str>,
        kind: &'static str,
        why: String,
    ) {
        let client = peer.identity().to_string();
        self.failures.add(failures::Seen {
            kind,
            whose: "client",
            client,
            streamtype: streamtype.map(str::to_owned),
            status: None,
            why,
        });
    }

    /// Who follows the frames of sessions.
    const fn followers(&self) -> &Followers {
        &self.followers
    }

    /// Onward connections that are open.
    pub(crate) const fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Lines that are served.
    pub(crate) const fn lines(&self) -> &Arc<Lines> {
        &self.lines
    }

    fn next_transaction(&self) -> u64 {
        self.next_transaction.fetch_add(1, Ordering::Relaxed)
    }
}

/// Now, in milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A duration in microseconds.
fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
