//! What the documents so far define.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::draft::{Draft, StoreDraft};
use crate::retry::Retry;
use crate::types::{Auth, Metric, Policy};

/// Everything that documents define, by name.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) via_socks5: Option<String>,
    pub(super) retry: BTreeMap<String, Retry>,
    pub(super) certs: BTreeMap<String, Arc<[u8]>>,
    pub(super) stores: BTreeMap<String, StoreDraft>,
    pub(super) auth: BTreeMap<String, Auth>,
    pub(super) metrics: Vec<Metric>,
    pub(super) streams: BTreeMap<String, Draft>,
}

/// What was defined before a document, of what it defines too: its second definition of a name
/// replaces its first, and changes what was there before.
#[derive(Default)]
pub(super) struct Before {
    pub(super) retry: Earlier<Retry>,
    pub(super) streams: Earlier<Draft>,
}

/// The definitions that a document may have replaced, by name; `None` if there was none. Only what
/// the document names is copied, so that many overlays of a large policy are no more work than their
/// own size.
pub(super) struct Earlier<T>(HashMap<String, Option<T>>);

impl<T> Default for Earlier<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone> Earlier<T> {
    /// What `name` was before this document; to be asked before `now` is changed.
    pub(super) fn of(&mut self, name: &str, now: &BTreeMap<String, T>) -> Option<T> {
        if let Some(earlier) = self.0.get(name) {
            return earlier.clone();
        }
        let earlier = now.get(name).cloned();
        self.0.insert(name.to_owned(), earlier.clone());
        earlier
    }
}

impl Tables {
    /// What a finished policy defines.
    pub(super) fn of(policy: &Policy) -> Self {
        let named = |name: &String| (name.clone(), None);
        Self {
            via_socks5: policy.via_socks5.clone(),
            retry: policy.retry.iter().map(|(k, v)| (k.clone(), Retry::clone(v))).collect(),
            certs: policy.certs.clone(),
            stores: policy
                .trust_stores
                .iter()
                .map(|(name, store)| {
                    let stack = store.stack.iter().map(named).collect();
                    (name.clone(), StoreDraft { stack })
                })
                .collect(),
            auth: policy.auth.iter().map(|(k, v)| (k.clone(), Auth::clone(v))).collect(),
            metrics: policy.metrics.clone(),
            streams: policy.streamtypes.iter().map(|(k, v)| (k.clone(), Draft::of(v))).collect(),
        }
    }
}
