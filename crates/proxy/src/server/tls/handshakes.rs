//! How many clients may be in a TLS handshake at a time.

use std::collections::HashMap;
use std::sync::Arc;

use crate::identity::Identity;
use crate::server::shared::{Shared, lock};

/// Who is in a handshake.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    all: usize,
    by_host: HashMap<Identity, usize>,
}

/// A place among those in a handshake; given back when dropped.
pub(super) struct Place {
    host: Identity,
    shared: Arc<Shared>,
}

impl Handshakes {
    fn begin(&mut self, host: &Identity, all_max: usize, own_max: usize) -> bool {
        let own = self.by_host.get(host).copied().unwrap_or(0);
        if self.all >= all_max || own >= own_max {
            return false;
        }
        self.all += 1;
        self.by_host.insert(host.clone(), own + 1);
        true
    }

    fn end(&mut self, host: &Identity) {
        self.all = self.all.saturating_sub(1);
        if let Some(own) = self.by_host.get_mut(host) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.by_host.remove(host);
            }
        }
    }
}

impl Shared {
    /// A place for a handshake of this host, if no limit is reached.
    pub(super) fn admit_handshake(self: &Arc<Self>, host: &Identity) -> Option<Place> {
        let limits = &self.config.limits;
        // Descriptors for strangers are none for sessions.
        let all_max = limits.handshakes.min(self.sessions_max() / 8).max(1);
        // No host has all.
        let own_max = limits.handshakes_per_client.min(all_max / 2).max(1);
        if !lock(&self.handshakes).begin(host, all_max, own_max) {
            self.counts.over_limit.add(1);
            return None;
        }
        Some(Place { host: host.clone(), shared: Arc::clone(self) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.shared.handshakes).end(&self.host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_host_has_all_places_and_all_come_back() {
        let [a, b, c] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
            .map(|host| Identity::of_address(host.parse().unwrap()));
        let mut handshakes = Handshakes::default();
        let begin = |handshakes: &mut Handshakes, host| handshakes.begin(host, 3, 2);
        assert!(begin(&mut handshakes, &a) && begin(&mut handshakes, &a));
        assert!(!begin(&mut handshakes, &a), "it has two");
        assert!(begin(&mut handshakes, &b), "there is one left");
        assert!(!begin(&mut handshakes, &c), "there is none left");
        for host in [&a, &a, &b] {
            handshakes.end(host);
        }
        assert!(handshakes.all == 0 && handshakes.by_host.is_empty());
    }
}
