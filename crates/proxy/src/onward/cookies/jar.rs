//! The cookies of one server for one client.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use cookie::{Cookie, Expiration};
use http::HeaderValue;
use http::header::{HeaderMap, SET_COOKIE};

use super::kept::KeptCookie;

/// Cookies of one server that are kept; the oldest goes first. RFC 6265 §6.1 asks for 50 at least.
const COOKIES_MAX: usize = 64;
/// Bytes of a cookie's name and value, and of one of its attributes; what is longer does not count
/// (RFC 6265bis §5.6).
const COOKIE_MAX: usize = 4096;
const ATTRIBUTE_MAX: usize = 1024;
/// What a cookie takes in the header beside its name and its value: `=`, and `; ` in front.
const FRAMING: usize = 3;
/// How long a cookie may live (RFC 6265bis §5.5).
const AGE_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// Where a cookie comes from, or goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) host: &'a str,
    /// Whether the connection is encrypted.
    pub(super) secure: bool,
    /// Path and query.
    pub(super) path: &'a str,
}

#[derive(Clone, Debug)]
struct Kept {
    name: String,
    value: String,
    path: String,
    /// What the server called its domain; together with name and path it says which cookie it is.
    domain: Option<String>,
    /// `None` until the proxy ends.
    expires: Option<SystemTime>,
}

impl Kept {
    const fn size(&self) -> usize {
        self.name.len() + self.value.len() + self.path.len() + FRAMING
    }

    fn is_of(&self, other: &Self) -> bool {
        (&self.name, &self.path, &self.domain) == (&other.name, &other.path, &other.domain)
    }

    fn is_alive(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|at| now < at)
    }
}

/// The cookies of one server, in the order in which it first set them.
#[derive(Debug, Default)]
pub(super) struct Jar(Vec<Kept>);

impl Jar {
    /// Does what the `Set-Cookie` headers of a response say; the jar then holds no more than `max`
    /// bytes.
    pub(super) fn take(
        &mut self,
        headers: &HeaderMap,
        place: Place<'_>,
        now: SystemTime,
        max: usize,
    ) {
        for header in headers.get_all(SET_COOKIE) {
            // A cookie in letters that are not UTF-8 is none that could be sent back.
            let Some(kept) = header.to_str().ok().and_then(|text| parse(text, place, now)) else {
                continue;
            };
            let alive = kept.is_alive(now);
            match self.0.iter().position(|known| known.is_of(&kept)) {
                // It keeps its place.
                Some(at) if alive => self.0.splice(at..=at, [kept]).for_each(drop),
                Some(at) => drop(self.0.remove(at)),
                None if alive => self.0.push(kept),
                None => {}
            }
            self.make_room(now, max);
        }
    }

    fn make_room(&mut self, now: SystemTime, max: usize) {
        let mut size: usize = self.0.iter().map(Kept::size).sum();
        if self.0.len() <= COOKIES_MAX && size <= max {
            return;
        }
        self.0.retain(|kept| kept.is_alive(now));
        size = self.0.iter().map(Kept::size).sum();
        let mut gone = 0;
        for kept in &self.0 {
            if self.0.len() - gone <= COOKIES_MAX && size <= max {
                break;
            }
            size -= kept.size();
            gone += 1;
        }
        self.0.drain(..gone);
    }

    /// Whether it is a cookie as this jar would hold one.
    pub(super) fn takes(kept: &KeptCookie) -> bool {
        let KeptCookie { name, value, path, domain, .. } = kept;
        let is_text = |text: &str| !text.contains(';') && HeaderValue::from_str(text).is_ok();
        !name.is_empty()
            && name.len() + value.len() <= COOKIE_MAX
            && is_text(name)
            && is_text(value)
            && path.starts_with('/')
            && domain.as_ref().is_none_or(|domain| domain.len() <= ATTRIBUTE_MAX)
    }

    /// With what an earlier proxy held; no more than `max` bytes.
    pub(super) fn restore(cookies: Vec<KeptCookie>, now: SystemTime, max: usize) -> Self {
        let latest = now.checked_add(AGE_MAX);
        let kept = cookies.into_iter().map(|cookie| Kept {
            expires: Some(cookie.expires()).min(latest),
            name: cookie.name,
            value: cookie.value,
            path: cookie.path,
            domain: cookie.domain,
        });
        let mut jar = Self(kept.filter(|kept| kept.is_alive(now)).collect());
        jar.make_room(now, max);
        jar
    }

    /// What is to outlive the proxy.
    pub(super) fn lasting(&self, now: SystemTime) -> Vec<KeptCookie> {
        let lasting = self.0.iter().filter(|kept| kept.is_alive(now)).filter_map(|kept| {
            let domain = kept.domain.as_deref();
            let mut cookie = KeptCookie::new(&kept.name, &kept.value, &kept.path, domain);
            cookie.set_expires(kept.expires?);
            Some(cookie)
        });
        lasting.collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `Cookie` for a request, of at most `max` bytes; `None` if there is nothing to
    /// send. The longest paths come first (RFC 6265 §5.4), and what does not fit stays here.
    pub(super) fn header(
        &self,
        place: Place<'_>,
        now: SystemTime,
        max: usize,
    ) -> Option<HeaderValue> {
        let path = without_query(place.path);
        let fits = |kept: &&Kept| kept.is_alive(now) && is_below(path, &kept.path);
        let mut found: Vec<&Kept> = self.0.iter().filter(fits).collect();
        found.sort_by_key(|kept| Reverse(kept.path.len()));
        let mut text = String::new();
        for kept in found {
            if text.len() + kept.name.len() + kept.value.len() + FRAMING > max {
                continue;
            }
            let separator = if text.is_empty() { "" } else { "; " };
            text.extend([separator, &kept.name, "=", &kept.value]);
        }
        let mut value = HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// What a `Set-Cookie` header says, if it counts (RFC 6265 §5.3, RFC 6265bis §4.1.3).
fn parse(text: &str, place: Place<'_>, now: SystemTime) -> Option<Kept> {
    let cookie = Cookie::parse(text).ok()?;
    let (name, value) = (cookie.name(), cookie.value());
    if name.len() + value.len() > COOKIE_MAX {
        return None;
    }
    let short = |text: &&str| text.len() <= ATTRIBUTE_MAX;
    let path = cookie.path().filter(short).filter(|path| path.starts_with('/'));
    let domain = cookie.domain().filter(short).map(str::to_ascii_lowercase);
    let secure = cookie.secure() == Some(true);
    let is_of_host = secure && domain.is_none() && path == Some("/");
    let is_named = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if domain.as_ref().is_some_and(|domain| !is_in(place.host, domain))
        || (secure && !place.secure)
        || (is_named("__Secure-") && !secure)
        || (is_named("__Host-") && !is_of_host)
    {
        return None;
    }
    let age = cookie.max_age().map(|age| age.try_into().unwrap_or(AGE_MAX).min(AGE_MAX));
    let expires = match (age, cookie.expires()) {
        (Some(age), _) => now.checked_add(age),
        (None, Some(Expiration::DateTime(at))) => {
            Some(SystemTime::from(at)).min(now.checked_add(AGE_MAX))
        }
        (None, _) => None,
    };
    let path = path.map_or_else(|| default_path(place.path), str::to_owned);
    Some(Kept { name: name.to_owned(), value: value.to_owned(), path, domain, expires })
}

/// Whether a host is in a cookie's domain. What the domain's owner lets others run below it does
/// not matter here: the cookie goes back to the host that set it, and to no other.
fn is_in(host: &str, domain: &str) -> bool {
    if host == domain {
        return true;
    }
    let sub = host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
    sub.is_some_and(|sub| !sub.is_empty()) && host.parse::<IpAddr>().is_err()
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

/// The path of a cookie that gives none: the folder of what was asked for (RFC 6265 §5.1.4).
fn default_path(path: &str) -> String {
    match without_query(path).rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((folder, _)) => folder.to_owned(),
    }
}

/// Whether a path is one that a cookie is for (RFC 6265 §5.1.4).
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || folder.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn place<'a>(host: &'a str, path: &'a str) -> Place<'a> {
        Place { host, secure: host.starts_with("tls"), path }
    }

    fn take(jar: &mut Jar, place: Place<'_>, cookies: &[&str]) {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        jar.take(&headers, place, NOW, 8192);
    }

    /// What is sent to a path after these were set, `s` s later.
    fn sent_after(set_at: Place<'_>, cookies: &[&str], path: &str, s: u64) -> String {
        let mut jar = Jar::default();
        take(&mut jar, set_at, cookies);
        let now = NOW + Duration::from_secs(s);
        let value = jar.header(Place { path, ..set_at }, now, 8192);
        value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_cookie_goes_to_the_paths_that_it_is_for() {
        for (cookie, asked, sent) in [
            ("a=1", "/x/z", true),
            ("a=1", "/x?q=/z", true),
            ("a=1", "/", false),
            ("a=1", "/xy", false),
            ("a=1; Path=/", "/", true),
            ("a=1; Path=/", "/xy", true),
            ("a=1; path=/x/y/", "/x/y/z", true),
            ("a=1; path=/x/y/", "/x/y", false),
            ("a=1; Path=x", "/x/a", true),
            ("a=1; Path=x", "/", false),
        ] {
            let is = !sent_after(place("h", "/x/y?a/b"), &[cookie], asked, 0).is_empty();
            assert_eq!(is, sent, "{cookie} {asked}");
        }
        assert_eq!(default_path("/"), "/");
        assert_eq!(default_path("/x"), "/");
        assert_eq!(default_path("/x/?y/z"), "/x");
    }

    #[test]
    fn a_server_sets_cookies_for_its_own_domain_and_no_other() {
        for (host, cookie, kept) in [
            ("a.example", "a=1; Domain=a.example", true),
            ("a.example", "a=1; Domain=.EXAMPLE", true),
            ("a.example", "a=1; Domain=b.example", false),
            ("a.example", "a=1; Domain=x.a.example", false),
            ("aexample", "a=1; Domain=example", false),
            ("127.0.0.1", "a=1; Domain=127.0.0.1", true),
            ("127.0.0.1", "a=1; Domain=0.0.1", false),
            ("clear", "a=1; Secure", false),
            ("tls", "a=1; Secure", true),
            ("tls", "__Secure-a=1", false),
            ("tls", "__secure-a=1; Secure", true),
            ("tls", "__Host-a=1; Secure", false),
            ("tls", "__Host-a=1; Secure; Path=/", true),
            ("tls", "__Host-a=1; Secure; Path=/; Domain=tls", false),
            ("h", "=1", false),
            ("h", "novalue", false),
            ("h", "", false),
        ] {
            let is = !sent_after(place(host, "/"), &[cookie], "/", 0).is_empty();
            assert_eq!(is, kept, "{host} {cookie}");
        }
    }

    #[test]
    fn a_cookie_ends_when_it_says() {
        for (cookie, at, sent) in [
            ("a=1", 1 << 40, true),
            ("a=1; Max-Age=5", 4, true),
            ("a=1; Max-Age=5", 5, false),
            ("a=1; Max-Age=-1", 0, false),
            ("a=1; Max-Age=99999999999999999999", AGE_MAX.as_secs() - 1, true),
            ("a=1; Max-Age=99999999999999999999", AGE_MAX.as_secs(), false),
            ("a=1; Expires=Thu, 01 Jan 1970 00:00:09 GMT", 8, true),
            ("a=1; Expires=Thu, 01 Jan 1970 00:00:09 GMT", 9, false),
            ("a=1; Expires=Fri, 31 Dec 9999 23:59:59 GMT", AGE_MAX.as_secs(), false),
            ("a=1; Expires=never", 1 << 40, true),
            ("a=1; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:01 GMT", 8, true),
        ] {
            let is = !sent_after(place("h", "/"), &[cookie], "/", at).is_empty();
            assert_eq!(is, sent, "{cookie} {at}");
        }
    }

    #[test]
    fn a_server_replaces_and_deletes_what_it_set() {
        let h = place("h", "/");
        let sent = |cookies: &[&str]| sent_after(h, cookies, "/x/y", 0);
        assert_eq!(sent(&["a=1", "b=2", "a=3"]), "a=3; b=2");
        assert_eq!(sent(&["a=1", "b=2", "a=; Max-Age=0"]), "b=2");
        assert_eq!(sent(&["a=1", "a=2; Path=/x", "c=\"3\""]), "a=2; a=1; c=\"3\"");
    }

    #[test]
    fn a_jar_holds_so_much_and_no_more() {
        let many: Vec<String> = (0..10_000).map(|n| format!("c{n}=v")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut jar = Jar::default();
        take(&mut jar, place("h", "/"), &many);
        assert_eq!(jar.0.len(), COOKIES_MAX);
        assert_eq!(jar.0.last().unwrap().name, "c9999");

        let large = "x".repeat(3000);
        take(&mut jar, place("h", "/"), &[&format!("a={large}"), &format!("b={large}")]);
        take(&mut jar, place("h", "/"), &[&format!("c={large}"), &format!("d={large}{large}")]);
        let names: Vec<_> = jar.0.iter().map(|kept| kept.name.as_str()).collect();
        assert_eq!(names, ["b", "c"]);
        let sent = |max| jar.header(place("h", "/"), NOW, max).map(|value| value.len());
        assert_eq!(sent(8192), Some(2 * 3002 + 2));
        assert_eq!(sent(5000), Some(3002));
        assert_eq!(sent(2000), None);
    }
}
