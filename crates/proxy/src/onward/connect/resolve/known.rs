//! Answers that still hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::dns::Found;

/// Names whose addresses are kept: with the longest names and the most addresses half a megabyte.
const NAMES_MAX: usize = 1_024;

/// Addresses by name, until their time is over. That a name does not exist is not kept.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Arc<str>, Entry>>);

#[derive(Debug)]
struct Entry {
    addresses: Arc<[IpAddr]>,
    until: Instant,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let names = self.lock();
        let entry = names.get(name).filter(|entry| Instant::now() < entry.until)?;
        Some(Arc::clone(&entry.addresses))
    }

    pub(super) fn keep(&self, name: &Arc<str>, found: &Found) {
        let now = Instant::now();
        if found.ttl.is_zero() {
            return;
        }
        let mut names = self.lock();
        if names.len() >= NAMES_MAX && !names.contains_key(name) {
            names.retain(|_, entry| now < entry.until);
            if names.len() >= NAMES_MAX {
                let soonest = names.iter().min_by_key(|(_, entry)| entry.until);
                if let Some(name) = soonest.map(|(name, _)| Arc::clone(name)) {
                    names.remove(&name);
                }
            }
        }
        let addresses = Arc::clone(&found.addresses);
        names.insert(Arc::clone(name), Entry { addresses, until: now + found.ttl });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    fn found(seconds: u64) -> Found {
        let addresses = ["192.0.2.1".parse().unwrap()];
        Found { addresses: addresses.into(), ttl: Duration::from_secs(seconds) }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_hold_for_their_time_and_no_longer() {
        let known = Known::default();
        known.keep(&"never".into(), &found(0));
        known.keep(&"name".into(), &found(10));
        advance(Duration::from_secs(9)).await;
        assert!(known.get("name").is_some());
        assert!(known.get("never").is_none());
        advance(Duration::from_secs(1)).await;
        assert!(known.get("name").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_ends_first_makes_room() {
        let known = Known::default();
        known.keep(&"short".into(), &found(5));
        for i in 0..NAMES_MAX {
            known.keep(&format!("name{i}").into(), &found(10));
        }
        assert_eq!(known.lock().len(), NAMES_MAX);
        assert!(known.get("short").is_none());
        assert!(known.get("name0").is_some());
    }
}
