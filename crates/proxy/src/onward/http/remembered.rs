//! What servers turned out to speak, or not to, so that it is not tried each time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::onward::connect::Route;
use crate::onward::fair::gives_way;

/// How long it is remembered that a server does not speak a version of HTTP.
pub(crate) const WITHOUT_FOR: Duration = Duration::from_secs(600);
/// Servers that are remembered, for all clients together.
const MAX: usize = 1024;

/// Something about servers that holds for a while.
#[derive(Debug)]
pub(crate) struct Remembered<T>(Mutex<HashMap<Route, (T, Instant)>>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Copy> Remembered<T> {
    fn all(&self) -> MutexGuard<'_, HashMap<Route, (T, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of this server and still holds.
    pub(crate) fn get(&self, route: &Route) -> Option<T> {
        let all = self.all();
        all.get(route).filter(|(_, until)| Instant::now() < *until).map(|(what, _)| *what)
    }

    /// Whether anything is known.
    pub(crate) fn holds(&self, route: &Route) -> bool {
        self.get(route).is_some()
    }

    #[cfg(feature = "http3")]
    pub(crate) fn forget(&self, route: &Route) {
        self.all().remove(route);
    }

    /// Remembers it for some time.
    pub(crate) fn remember(&self, route: &Route, what: T, time: Duration) {
        let now = Instant::now();
        let mut all = self.all();
        all.insert(route.clone(), (what, now + time));
        if all.len() > MAX {
            all.retain(|_, (_, until)| now < *until);
        }
        if all.len() > MAX {
            let entries = all.iter().map(|(route, (_, until))| (&route.client, *until, route));
            if let Some(route) = gives_way(entries).cloned() {
                all.remove(&route);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sspc_policy::Address;

    use super::*;
    use crate::identity::Identity;
    use crate::onward::connect::Reach;

    fn route(uid: u32, port: u16) -> Route {
        let address = Address::Tcp { host: "localhost".to_owned(), port };
        Route {
            client: Some(Identity::User(uid)),
            address,
            tls: None,
            client_cert: None,
            reach: Reach::Policy,
            way_out: None,
        }
    }

    /// Once nothing more was remembered when there was enough, so that one client could see to it
    /// that nothing was for the others.
    #[tokio::test]
    async fn a_client_of_many_servers_makes_no_other_forget_its_own() {
        let without: Remembered<()> = Remembered::default();
        let ports = 1..=u16::try_from(MAX).unwrap() + 100;
        without.remember(&route(1, 80), (), WITHOUT_FOR);
        for port in ports.clone() {
            without.remember(&route(2, port), (), WITHOUT_FOR);
        }
        without.remember(&route(3, 80), (), WITHOUT_FOR);
        assert!(without.holds(&route(1, 80)) && without.holds(&route(3, 80)));
        assert!(without.holds(&route(2, *ports.end())) && !without.holds(&route(2, 1)));
        assert_eq!(without.all().len(), MAX);
    }
}
