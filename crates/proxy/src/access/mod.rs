//! Who may do what: asked when a stream is created, when its client sets metadata, and at each transaction.
//!
//! [`Gate`] has the rules and knows what each client has of its quotas; [`Pass`] is one stream's part of it.
//! Rules that are replaced go on for the streams that were created by them.

mod client;
mod usage;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::unistd::geteuid;
use sspc_access::{Access, Denial, Quotas, Rights};
use sspc_wire::smd::Classes;
use tokio::time::Instant;

pub(crate) use self::usage::MemoryShare;
use self::usage::Usage;
use crate::identity::Identity;
use crate::session::Peer;

/// Rules whose clients are remembered although they have no streams: their buckets are not full yet.
const REMEMBERED_MAX: usize = 4096;

/// Which clients a proxy serves, and what they may do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum AccessRules {
    /// At abstract sockets, which have no file and so no permissions, the proxy's own user and root;
    /// everywhere else all who can connect. The default.
    #[default]
    OwnUser,
    /// All who can connect.
    Everyone,
    /// What an access file says.
    Rules(Access),
}

/// Why a client may not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error(transparent)]
    ByRules(#[from] Denial),
    #[error(
        "the proxy serves user {own} and root alone at sockets without a file, and the client is of user {uid}: \
         start it with --allow-everyone to serve all, or with --access FILE to serve some"
    )]
    OtherUser { own: u32, uid: u32 },
}

/// Lets clients in.
#[derive(Debug)]
pub(crate) struct Gate {
    rules: Mutex<AccessRules>,
    usage: Mutex<HashMap<(String, Identity), Arc<Usage>>>,
    own: u32,
    /// Where the time of buckets begins.
    began: Instant,
}

impl Gate {
    pub(crate) fn new(rules: AccessRules) -> Arc<Self> {
        Arc::new(Self {
            rules: Mutex::new(rules),
            usage: Mutex::default(),
            own: geteuid().as_raw(),
            began: Instant::now(),
        })
    }

    fn usage(&self) -> MutexGuard<'_, HashMap<(String, Identity), Arc<Usage>>> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Streams that are created from now on are created by these.
    pub(crate) fn set_rules(&self, rules: AccessRules) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// What a client may do.
    fn rights(&self, peer: &Peer) -> Result<Rights, Denied> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (rules, peer) {
            (AccessRules::Rules(access), _) => {
                let about = client::About::of(peer, access.asks());
                Ok(access.rights(&about.client(peer)))
            }
            (AccessRules::OwnUser, Peer::Process { uid, is_abstract: true, .. })
                if *uid != self.own && *uid != 0 =>
            {
                Err(Denied::OtherUser { own: self.own, uid: *uid })
            }
            (AccessRules::OwnUser | AccessRules::Everyone, _) => Ok(Rights::everything()),
        }
    }

    /// A client opens a stream of this type.
    pub(crate) fn open(self: &Arc<Self>, peer: &Peer, streamtype: &str) -> Result<Pass, Denied> {
        let rights = self.rights(peer)?;
        rights.may_open(streamtype)?;
        let quotas = rights.quotas();
        let usage = match rights.rule() {
            Some(rule) if quotas != Quotas::default() => {
                let key = (rule.to_owned(), peer.identity());
                let now = self.began.elapsed();
                let mut all = self.usage();
                if all.len() >= REMEMBERED_MAX {
                    all.retain(|_, usage| !usage.is_as_new(now));
                }
                let known = all.get(&key).filter(|known| known.is_of(&quotas));
                let usage = match known {
                    Some(known) => Arc::clone(known),
                    // The rule's quotas are others now; the streams that are there keep theirs.
                    None => Arc::new(Usage::new(quotas)),
                };
                if let Some(limit) = quotas.streams
                    && usage.streams() >= limit
                {
                    return Err(rights.too_many_streams(limit).into());
                }
                usage.enter();
                all.insert(key, Arc::clone(&usage));
                Some(usage)
            }
            _ => None,
        };
        Ok(Pass { rights, usage, began: self.began })
    }
}

/// What a stream's client may do, and has of its quotas.
#[derive(Debug)]
pub(crate) struct Pass {
    rights: Rights,
    /// `None` without quotas.
    usage: Option<Arc<Usage>>,
    began: Instant,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(usage) = &self.usage {
            usage.leave();
        }
    }
}

impl Pass {
    /// Whether the client may set metadata of this name to this value.
    pub(crate) fn may_set(&self, name: &str, value: &[u8]) -> Result<(), Denial> {
        self.rights.may_set(name, value)
    }

    /// Which classes of system messages it may send and get.
    pub(crate) fn smd(&self) -> Classes {
        self.rights.smd()
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// So much payload passed; how long no more may.
    pub(crate) fn take_bytes(&self, now: Instant, bytes: u64) -> Duration {
        match &self.usage {
            Some(usage) => usage.take_bytes(self.since(now), bytes),
            None => Duration::ZERO,
        }
    }

    /// A transaction begins, unless it has to wait for so long.
    pub(crate) fn take_request(&self, now: Instant) -> Duration {
        match &self.usage {
            Some(usage) => usage.take_request(self.since(now)),
            None => Duration::ZERO,
        }
    }

    /// What bounds the memory that waits for it, beside what bounds all clients.
    pub(crate) fn memory(&self) -> Option<Arc<MemoryShare>> {
        self.usage.as_ref()?.memory()
    }
}

#[cfg(test)]
mod tests;
