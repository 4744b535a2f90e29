//! What streams did, by streamtype.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::histogram::Histogram;
use super::view::StreamtypeView;

/// Streamtypes that are counted apart. Policies that replace each other may have more in time: those
/// count as [`OTHERS`].
const STREAMTYPES_MAX: usize = 1024;
const OTHERS: &str = "(others)";

/// All streamtypes that clients had streams of.
#[derive(Debug, Default)]
pub(super) struct Streamtypes(Mutex<HashMap<(String, String), Arc<StreamtypeCounts>>>);

/// What streams of one streamtype did.
#[derive(Debug, Default)]
pub(super) struct StreamtypeCounts {
    pub(super) name: String,
    pub(super) protocol: String,
    pub(super) open: AtomicU64,
    created: AtomicU64,
    /// Of sessions that ended.
    from_clients: AtomicU64,
    to_clients: AtomicU64,
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
    pub(super) first_byte: Histogram,
    pub(super) total: Histogram,
}

impl Streamtypes {
    fn all(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<StreamtypeCounts>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn of(&self, name: &str, protocol: &str) -> Arc<StreamtypeCounts> {
        let mut all = self.all();
        let known = all.contains_key(&(name.to_owned(), protocol.to_owned()));
        let (name, protocol) = match known || all.len() < STREAMTYPES_MAX {
            true => (name, protocol),
            false => (OTHERS, OTHERS),
        };
        let key = (name.to_owned(), protocol.to_owned());
        let counts = all.entry(key).or_insert_with(|| {
            let (name, protocol) = (name.to_owned(), protocol.to_owned());
            Arc::new(StreamtypeCounts { name, protocol, ..StreamtypeCounts::default() })
        });
        Arc::clone(counts)
    }

    /// What all did, by name; without the bytes of sessions that go on.
    pub(super) fn view(&self) -> Vec<StreamtypeView> {
        let mut views: Vec<_> = self.all().values().map(|counts| counts.view()).collect();
        views.sort_by(|a, b| (&a.streamtype, &a.protocol).cmp(&(&b.streamtype, &b.protocol)));
        views
    }
}

impl StreamtypeCounts {
    pub(super) fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    /// A session is over in which so many bytes passed.
    pub(super) fn end(&self, from_client: u64, to_client: u64) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.from_clients.fetch_add(from_client, Ordering::Relaxed);
        self.to_clients.fetch_add(to_client, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, outcome: &'static str) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        *outcomes.entry(outcome).or_default() += 1;
    }

    fn view(&self) -> StreamtypeView {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        StreamtypeView {
            streamtype: self.name.clone(),
            protocol: self.protocol.clone(),
            open: self.open.load(Ordering::Relaxed),
            created: self.created.load(Ordering::Relaxed),
            outcomes: outcomes.iter().map(|(outcome, count)| (*outcome, *count)).collect(),
            from_clients: self.from_clients.load(Ordering::Relaxed),
            to_clients: self.to_clients.load(Ordering::Relaxed),
            first_byte: self.first_byte.view(),
            total: self.total.view(),
        }
    }
}
