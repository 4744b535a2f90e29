//! What the documents so far define.

use std::collections::BTreeMap;

use crate::draft::{Draft, StoreDraft};
use crate::retry::Retry;
use crate::types::{Auth, Metric, Policy};

/// Everything that documents define, by name.
#[derive(Clone, Default)]
pub(super) struct Tables {
    pub(super) via_socks5: Option<String>,
    pub(super) retry: BTreeMap<String, Retry>,
    pub(super) certs: BTreeMap<String, Vec<u8>>,
    pub(super) stores: BTreeMap<String, StoreDraft>,
    pub(super) auth: BTreeMap<String, Auth>,
    pub(super) metrics: Vec<Metric>,
    pub(super) streams: BTreeMap<String, Draft>,
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
