//! `http_cookies`: what servers ask to get back.
//!
//! A server has a jar for each client that asks it, and what is in a jar goes back to that server for
//! that client and to nowhere else: neither to another host of its domain, nor to another port, nor
//! from TLS to a clear connection. So nothing needs to be known of which domains belong together.
//! The jars are gone when the proxy ends, but for what [`KeptCookies`] takes to the next one.

mod jar;
mod kept;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::HeaderValue;
use http::header::{HeaderMap, SET_COOKIE};
use sspc_policy::Address;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::jar::{Jar, Place};
pub use self::kept::KeptCookies;
use self::kept::KeptOwner;
use super::connect::{Route, Trust};
use super::fair::gives_way;
use crate::config::Limits;
use crate::identity::Identity;

/// Whose cookies, and of what server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Owner {
    /// Never `None`; as [`gives_way`] has it.
    client: Option<Identity>,
    address: Address,
    /// `None` for a clear connection. A server that only some of the policy's streams would believe
    /// is not the one that the others know.
    tls: Option<Trust>,
    /// What the request says its server is.
    host: String,
}

/// A request, as far as its cookies depend on it.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) client: &'a Identity,
    pub(crate) route: &'a Route,
    /// What `Host` or `:authority` is.
    pub(crate) host: Cow<'a, str>,
    /// Path and query.
    pub(crate) path: &'a str,
}

impl<'a> Asked<'a> {
    fn owner(&self) -> Owner {
        Owner {
            client: Some(self.client.clone()),
            address: self.route.address.clone(),
            tls: self.route.tls.clone(),
            host: self.host.to_ascii_lowercase(),
        }
    }

    fn place(&self, owner: &'a Owner) -> Place<'a> {
        Place { host: without_port(&owner.host), secure: owner.tls.is_some(), path: self.path }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
    .trim_matches(['[', ']'])
}

#[derive(Debug)]
struct Entry {
    jar: Jar,
    used: Instant,
}

#[derive(Debug, Default)]
struct Jars {
    /// Of those that have asked since the start.
    open: HashMap<Owner, Entry>,
    /// Of those that have not, from an earlier proxy.
    waiting: HashMap<KeptOwner, Jar>,
}

impl Jars {
    /// Makes what an earlier proxy held for this owner its own.
    fn claim(&mut self, owner: &Owner) {
        if self.waiting.is_empty() || self.open.contains_key(owner) {
            return;
        }
        if let Some(jar) = owner.kept().and_then(|kept| self.waiting.remove(&kept)) {
            self.open.insert(owner.clone(), Entry { jar, used: Instant::now() });
        }
    }
}

/// The cookies of all servers and clients.
#[derive(Debug)]
pub(crate) struct Cookies {
    jars: Mutex<Jars>,
    jars_max: usize,
    /// Bytes in a jar.
    bytes_max: usize,
    /// A server set some.
    changed: Notify,
}

impl Cookies {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            jars: Mutex::default(),
            jars_max: limits.cookie_jars,
            bytes_max: usize::try_from(limits.cookies).unwrap_or(usize::MAX),
            changed: Notify::new(),
        }
    }

    /// Takes over what an earlier proxy held, as much as there is room for.
    pub(crate) fn restore(&self, kept: KeptCookies) {
        let now = SystemTime::now();
        let jars = kept.0.into_iter().take(self.jars_max).map(|(owner, cookies)| {
            let jar = Jar::restore(cookies, now, self.bytes_max);
            (owner, jar)
        });
        self.jars().waiting.extend(jars.filter(|(_, jar)| !jar.is_empty()));
    }

    /// What is to outlive the proxy. Where two clients would be one to the next proxy, neither's.
    pub(crate) fn kept(&self) -> KeptCookies {
        let now = SystemTime::now();
        let jars = self.jars();
        let mut all: BTreeMap<KeptOwner, Option<&Jar>> =
            jars.waiting.iter().map(|(owner, jar)| (owner.clone(), Some(jar))).collect();
        for (owner, entry) in &jars.open {
            if let Some(owner) = owner.kept() {
                let is_one = |known: &mut Option<&Jar>| *known = None;
                all.entry(owner).and_modify(is_one).or_insert(Some(&entry.jar));
            }
        }
        let lasting = all.into_iter().filter_map(|(owner, jar)| Some((owner, jar?.lasting(now))));
        KeptCookies(lasting.filter(|(_, cookies)| !cookies.is_empty()).collect())
    }

    /// Waits until a server has set cookies, since the last call or now.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn jars(&self) -> MutexGuard<'_, Jars> {
        self.jars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a request says of itself in `Cookie`, in at most `max` bytes.
    pub(crate) fn header(&self, asked: &Asked<'_>, max: usize) -> Option<HeaderValue> {
        let owner = asked.owner();
        let mut jars = self.jars();
        jars.claim(&owner);
        let entry = jars.open.get_mut(&owner)?;
        entry.used = Instant::now();
        entry.jar.header(asked.place(&owner), SystemTime::now(), max)
    }

    /// Keeps what the answer to a request asks to be kept.
    pub(crate) fn take(&self, asked: &Asked<'_>, headers: &HeaderMap) {
        if !headers.contains_key(SET_COOKIE) {
            return;
        }
        let owner = asked.owner();
        let place = asked.place(&owner);
        let mut jars = self.jars();
        jars.claim(&owner);
        let jars = &mut jars.open;
        let used = Instant::now();
        let entry =
            jars.entry(owner.clone()).or_insert_with(|| Entry { jar: Jar::default(), used });
        entry.used = used;
        entry.jar.take(headers, place, SystemTime::now(), self.bytes_max);
        if entry.jar.is_empty() {
            jars.remove(&owner);
        }
        if jars.len() > self.jars_max {
            let all = jars.iter().map(|(owner, entry)| (&owner.client, entry.used, owner));
            if let Some(owner) = gives_way(all).cloned() {
                jars.remove(&owner);
            }
        }
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onward::connect::Reach;

    fn route(port: u16) -> Route {
        let address = Address::Tcp { host: "h".to_owned(), port };
        Route {
            client: None,
            address,
            tls: None,
            client_cert: None,
            reach: Reach::Policy,
            way_out: None,
        }
    }

    struct World(Cookies);

    impl World {
        fn new(jars_max: usize) -> Self {
            Self(Cookies::new(&Limits { cookie_jars: jars_max, ..Limits::default() }))
        }

        fn set(&self, uid: u32, port: u16) {
            let headers = HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static("a=1"))]);
            let (client, route) = (Identity::User(uid), route(port));
            self.0.take(&asked(&client, &route), &headers);
        }

        fn has(&self, uid: u32, port: u16) -> bool {
            let (client, route) = (Identity::User(uid), route(port));
            self.0.header(&asked(&client, &route), 100).is_some()
        }
    }

    fn asked<'a>(client: &'a Identity, route: &'a Route) -> Asked<'a> {
        Asked { client, route, host: "h".into(), path: "/" }
    }

    #[test]
    fn a_jar_is_one_clients_and_one_servers() {
        let world = World::new(9);
        world.set(1, 80);
        assert!(world.has(1, 80));
        assert!(!world.has(2, 80) && !world.has(1, 81));
    }

    #[test]
    fn a_client_of_many_servers_takes_no_jar_from_others() {
        let world = World::new(4);
        world.set(1, 80);
        for port in 1..=100 {
            world.set(2, port);
        }
        world.set(3, 80);
        assert!(world.has(1, 80) && world.has(3, 80));
        assert!(world.has(2, 100) && !world.has(2, 1));
        assert_eq!(world.0.jars().open.len(), 4);
    }

    #[test]
    fn a_port_is_no_part_of_a_domain() {
        for (host, name) in [("h", "h"), ("h:80", "h"), ("[::1]:80", "::1"), ("[::1]", "::1")] {
            assert_eq!(without_port(host), name);
        }
    }
}
