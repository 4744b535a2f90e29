//! Streamtypes and trust stores on their way from text to [`Policy`](crate::Policy).

use std::collections::{BTreeMap, BTreeSet};

use crate::quote::quote;
use crate::source::Location;
use crate::types::StreamType;

/// A streamtype as the documents so far have it: its own values set, its references by name.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) streamtype: StreamType,
    /// Where the latest document that says anything about it has its name.
    pub(crate) location: Option<Location>,
    /// Whether a document has something other than an object for it.
    pub(crate) unreadable: bool,
    /// Where each key that a document gave is written.
    pub(crate) settings: BTreeMap<&'static str, Setting>,
    /// The names that it refers to, by key.
    pub(crate) references: BTreeMap<&'static str, String>,
    /// The keys whose values a document got wrong: nothing more is to be said about them.
    pub(crate) faulty: BTreeSet<&'static str>,
}

/// Where a key and its value are written.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) key: Location,
    pub(crate) value: Location,
}

impl Draft {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            streamtype: StreamType::new(name),
            location: None,
            unreadable: false,
            settings: BTreeMap::new(),
            references: BTreeMap::new(),
            faulty: BTreeSet::new(),
        }
    }

    /// A finished streamtype, to be changed.
    pub(crate) fn of(streamtype: &StreamType) -> Self {
        let mut references = BTreeMap::new();
        if let Some(retry) = &streamtype.retry {
            references.insert("retry", retry.name.clone());
        }
        if let Some(store) = &streamtype.trust_store {
            references.insert("tls_trust_store", store.name.clone());
        }
        if let Some(auth) = &streamtype.use_auth {
            references.insert("use_auth", auth.name.clone());
        }
        Self {
            streamtype: streamtype.clone(),
            location: None,
            unreadable: false,
            settings: BTreeMap::new(),
            references,
            faulty: BTreeSet::new(),
        }
    }

    /// The location of a key's value, or of the streamtype's name if no document gave the key.
    pub(crate) fn value_location(&self, key: &str) -> Option<&Location> {
        self.settings.get(key).map(|setting| &setting.value).or(self.location.as_ref())
    }
}

/// A trust store whose certificates are yet to be found.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreDraft {
    /// The names of its certificates, and where each is written.
    pub(crate) stack: Vec<(String, Option<Location>)>,
}

/// How messages call a streamtype's key.
pub(crate) fn key_of(key: &str, streamtype: &StreamType) -> String {
    format!("`{key}` of streamtype {}", quote(&streamtype.name))
}
