//! Cookies that outlive the proxy: as text, for a file.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Owner;
use super::jar::Jar;
use crate::onward::connect::Trust;

/// What servers asked to get back, and until when, as it is to outlive a proxy: what
/// [`Handle::cookies`](crate::Handle::cookies) of one gives, [`Config::cookies`](crate::Config::cookies)
/// of the next one takes.
///
/// Cookies are secrets, often as good as passwords. Those that a server wants kept for the session alone are
/// not in it; the others are of clients that the next proxy knows again: users, hosts, and lines and devices
/// by their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeptCookies(pub(super) BTreeMap<KeptOwner, Vec<KeptCookie>>);

/// Whose cookies, and of what server, by names that last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct KeptOwner {
    client: String,
    server: String,
    /// Whose word the server's certificate needs; `None` for a clear connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trust: Option<String>,
    host: String,
}

/// A cookie.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptCookie {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) domain: Option<String>,
    /// s since 1970.
    expires: u64,
}

impl KeptCookie {
    pub(super) fn expires(&self) -> SystemTime {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.expires)).unwrap_or(UNIX_EPOCH)
    }

    pub(super) fn set_expires(&mut self, at: SystemTime) {
        self.expires = at.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    }

    pub(super) fn new(name: &str, value: &str, path: &str, domain: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            path: path.to_owned(),
            domain: domain.map(str::to_owned),
            expires: 0,
        }
    }
}

/// One of the file's jars.
#[derive(Serialize, Deserialize)]
struct KeptJar {
    #[serde(flatten)]
    owner: KeptOwner,
    cookies: Vec<KeptCookie>,
}

/// The whole file.
#[derive(Serialize, Deserialize)]
struct Document {
    jars: Vec<KeptJar>,
}

impl KeptCookies {
    /// What [`KeptCookies::to_json`] wrote.
    ///
    /// # Errors
    /// It is no such text; what is wrong with it, without any cookie's value.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let document: Document = serde_json::from_str(text).map_err(|error| {
            // The error's own text may quote a cookie.
            format!("line {}, column {}: not what a proxy wrote", error.line(), error.column())
        })?;
        let mut all = BTreeMap::new();
        for KeptJar { owner, cookies } in document.jars {
            if cookies.iter().any(|cookie| !Jar::takes(cookie)) {
                let KeptOwner { client, server, .. } = owner;
                return Err(format!(
                    "{client} has a cookie of {server} that no server can have set"
                ));
            }
            all.insert(owner, cookies);
        }
        Ok(Self(all))
    }

    /// As text: JSON, with a newline at its end. Equal cookies are equal texts.
    pub fn to_json(&self) -> String {
        let jars = self
            .0
            .iter()
            .map(|(owner, cookies)| KeptJar { owner: owner.clone(), cookies: cookies.clone() });
        let document = Document { jars: jars.collect() };
        // Texts and numbers cannot fail to be written.
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// No values: they are secrets.
impl fmt::Debug for KeptCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.0.values().map(Vec::len).sum();
        write!(f, "KeptCookies({count})")
    }
}

impl Owner {
    /// By names that last; `None` if the client has none.
    pub(super) fn kept(&self) -> Option<KeptOwner> {
        Some(KeptOwner {
            client: self.client.as_ref()?.lasting_name()?,
            server: self.address.to_string(),
            trust: self.tls.as_ref().map(trust),
            host: self.host.clone(),
        })
    }
}

/// Whose word the certificate needs. A store is known by what is in it: another one of its name would
/// believe others.
fn trust(trust: &Trust) -> String {
    let Trust::Store(store) = trust else { return "system".to_owned() };
    let mut hash = Sha256::new();
    for part in std::iter::once(store.name.as_bytes()).chain(store.certs.iter().map(|cert| &**cert))
    {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let mut text = "sha256:".to_owned();
    for byte in hash.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;
    use http::header::{HeaderMap, SET_COOKIE};
    use sspc_policy::{Address, TrustStore};

    use super::super::{Asked, Cookies};
    use super::*;
    use crate::config::Limits;
    use crate::identity::Identity;
    use crate::onward::connect::{Reach, Route};

    /// The cookies of one proxy.
    struct World(Cookies);

    impl World {
        fn new() -> Self {
            Self(Cookies::new(&Limits { cookie_jars: 3, ..Limits::default() }))
        }

        /// The next proxy, with what goes through a file.
        fn next(&self) -> Self {
            let next = Self::new();
            let text = self.0.kept().to_json();
            next.0.restore(KeptCookies::from_json(&text).unwrap());
            assert_eq!(next.0.kept().to_json(), text, "what nobody asked for is kept further");
            next
        }

        fn set(&self, client: &Identity, tls: Option<Trust>, cookies: &[&'static str]) {
            let cookies = cookies.iter().map(|text| (SET_COOKIE, HeaderValue::from_static(text)));
            let route = route(tls);
            self.0.take(&asked(client, &route), &HeaderMap::from_iter(cookies));
        }

        fn get(&self, client: &Identity, tls: Option<Trust>) -> String {
            let route = route(tls);
            let value = self.0.header(&asked(client, &route), 1000);
            value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        }
    }

    fn route(tls: Option<Trust>) -> Route {
        Route {
            client: None,
            address: Address::Tcp { host: "h".to_owned(), port: 1 },
            tls,
            client_cert: None,
            reach: Reach::Policy,
            way_out: None,
        }
    }

    fn asked<'a>(client: &'a Identity, route: &'a Route) -> Asked<'a> {
        Asked { client, route, host: "h".into(), path: "/x/y" }
    }

    fn user(uid: u32) -> Identity {
        Identity::User(uid)
    }

    fn line(number: u64, name: &str) -> Identity {
        Identity::Line { number, name: name.into() }
    }

    fn store(name: &str, cert: &[u8]) -> Option<Trust> {
        let mut store = TrustStore::default();
        (store.name, store.certs) = (name.to_owned(), vec![cert.into()]);
        Some(Trust::Store(Arc::new(store)))
    }

    const LASTS: &str = "a=1; Max-Age=1000";

    #[test]
    fn what_lasts_goes_on_for_the_same_client_and_the_same_server() {
        let first = World::new();
        first.set(&user(1), None, &[LASTS, "b=2", "c=3; Max-Age=1000; Path=/x; Domain=h"]);
        first.set(&line(7, "ttyS1"), store("rig", b"cert"), &[LASTS]);
        let next = first.next();
        assert_eq!(next.get(&user(2), None), "");
        assert_eq!(next.get(&user(1), Some(Trust::Platform)), "");
        assert_eq!(next.get(&user(1), None), "a=1; c=3");
        assert_eq!(next.get(&line(8, "ttyS2"), store("rig", b"cert")), "");
        assert_eq!(next.get(&line(8, "ttyS1"), store("rig", b"other")), "");
        assert_eq!(next.get(&line(8, "ttyS1"), store("rig", b"cert")), "a=1");
        next.set(&user(1), None, &["a=4; Max-Age=1000"]);
        assert_eq!(next.next().get(&user(1), None), "a=4; c=3");
        next.set(&user(1), None, &["a=; Max-Age=0"]);
        assert_eq!(next.next().get(&user(1), None), "c=3");
    }

    #[test]
    fn clients_that_would_be_one_get_nothing_of_each_other() {
        let first = World::new();
        first.set(&line(1, "pipe"), None, &[LASTS]);
        first.set(&line(2, "pipe"), None, &["a=2; Max-Age=1000"]);
        first.set(&Identity::Unknown, None, &[LASTS]);
        assert_eq!(first.0.kept(), KeptCookies::default());
        assert_eq!(first.get(&line(1, "pipe"), None), "a=1");
    }

    #[test]
    fn no_more_is_taken_over_than_there_is_room_for() {
        let mut kept = KeptCookies::default();
        let cookie = |n: usize| {
            let mut cookie = KeptCookie::new(&format!("c{n}"), &"x".repeat(1000), "/", None);
            cookie.set_expires(SystemTime::now() + Duration::from_secs(1000));
            cookie
        };
        for uid in 0..9 {
            let owner = KeptOwner {
                client: format!("user {uid}"),
                server: "h:1".to_owned(),
                trust: None,
                host: "h".to_owned(),
            };
            kept.0.insert(owner, (0..99).map(cookie).collect());
        }
        let world = World::new();
        world.0.restore(KeptCookies::from_json(&kept.to_json()).unwrap());
        let now: Vec<usize> = world.0.kept().0.values().map(Vec::len).collect();
        assert_eq!(now, [8; 3]);
    }

    #[test]
    fn what_no_proxy_wrote_is_an_error_without_secrets() {
        let jar = |cookie: &str| {
            format!(
                r#"{{"jars":[{{"client":"user 1","server":"h:1","host":"h","cookies":[{cookie}]}}]}}"#
            )
        };
        let cookie = |name: &str, value: &str, path: &str| {
            jar(&format!(r#"{{"name":"{name}","value":"{value}","path":"{path}","expires":1}}"#))
        };
        assert!(KeptCookies::from_json(&cookie("n", "v", "/")).is_ok());
        for text in [
            String::new(),
            "[]".to_owned(),
            jar(r#"{"name":"secret"}"#),
            cookie("", "secret", "/"),
            cookie("n", "secret; x", "/"),
            cookie("n", "secret\\nx", "/"),
            cookie("n", "secret", "x"),
            cookie("n", &"secret".repeat(1000), "/"),
        ] {
            let why = KeptCookies::from_json(&text).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
        let some = KeptCookies::from_json(&cookie("n", "secret", "/")).unwrap();
        assert_eq!(format!("{some:?}"), "KeptCookies(1)");
    }
}
