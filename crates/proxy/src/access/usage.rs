//! What a client has of the quotas of a rule.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sspc_access::{Quotas, TokenBucket};

/// The streams of one client that one rule is for, together.
#[derive(Debug)]
pub(super) struct Usage {
    quotas: Quotas,
    streams: AtomicUsize,
    bytes: Option<Mutex<TokenBucket>>,
    requests: Option<Mutex<TokenBucket>>,
    memory: Option<Arc<MemoryShare>>,
}

/// Memory that waits for the streams of a client together.
#[derive(Debug)]
pub(crate) struct MemoryShare {
    most: usize,
    held: AtomicUsize,
}

impl MemoryShare {
    /// So much more is held.
    pub(crate) fn add(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much less.
    pub(crate) fn take(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether there may be more.
    pub(crate) fn has_room(&self) -> bool {
        self.held.load(Ordering::Relaxed) < self.most
    }
}

fn lock(bucket: &Mutex<TokenBucket>) -> MutexGuard<'_, TokenBucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Usage {
    pub(super) fn new(quotas: Quotas) -> Self {
        let bucket = |rate| Mutex::new(TokenBucket::new(rate));
        Self {
            quotas,
            streams: AtomicUsize::new(0),
            bytes: quotas.bytes_per_second.map(bucket),
            requests: quotas.requests_per_second.map(bucket),
            memory: quotas.memory.map(|most| Arc::new(MemoryShare { most, held: 0.into() })),
        }
    }

    pub(super) fn is_of(&self, quotas: &Quotas) -> bool {
        self.quotas == *quotas
    }

    /// Whether it makes no difference to forget it.
    pub(super) fn is_as_new(&self, now: Duration) -> bool {
        let is_full = |bucket: &Option<Mutex<TokenBucket>>| {
            bucket.as_ref().is_none_or(|bucket| lock(bucket).is_full(now))
        };
        self.streams() == 0 && is_full(&self.bytes) && is_full(&self.requests)
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn take_bytes(&self, now: Duration, bytes: u64) -> Duration {
        self.bytes.as_ref().map_or(Duration::ZERO, |bucket| lock(bucket).take(now, bytes))
    }

    /// Takes one request if there is one.
    pub(super) fn take_request(&self, now: Duration) -> Duration {
        let Some(bucket) = &self.requests else { return Duration::ZERO };
        let mut bucket = lock(bucket);
        let wait = bucket.wait_for(now, 1);
        if wait.is_zero() {
            let _ = bucket.take(now, 1);
        }
        wait
    }

    pub(super) fn memory(&self) -> Option<Arc<MemoryShare>> {
        self.memory.clone()
    }
}
