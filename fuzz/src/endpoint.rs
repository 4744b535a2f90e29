//! Endpoints, paths and redirects, with any metadata and any Location.

use arbitrary::Arbitrary;
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{Method, StatusCode};
use sspc_policy::{Address, MetadataItem, StreamType, Target, Template, path_for};
use sspc_proxy::fuzzing::Planned;

/// Text of a policy or of a value, made of what means something to somebody and of anything.
#[derive(Arbitrary, Clone, Debug)]
pub enum Piece {
    /// The value of one of the items.
    Value(u8),
    Known(u8),
    Any(String),
}

const ITEMS: [&str; 3] = ["a", "b", "host"];

const KNOWN: [&str; 32] = [
    "http://",
    "https://",
    "ws://",
    "wss://",
    "mqtt://",
    "file://",
    "example.com",
    ".example.com",
    "a",
    "1",
    ":",
    ":80",
    ":443",
    "/",
    "//",
    "?",
    "#",
    "[::1]",
    "::1",
    "[",
    "]",
    "@",
    "+",
    "+@",
    ".",
    "..",
    "%2e",
    "%",
    "\\",
    ";",
    "${a}",
    "127.0.0.1",
];

/// What a policy says and what the client sets.
#[derive(Arbitrary, Debug)]
pub struct Choice {
    endpoint: Vec<Piece>,
    url: Vec<Piece>,
    values: [Vec<Piece>; 3],
    /// Instead of the first value.
    any: Option<Vec<u8>>,
    tls: bool,
    allow_clear: bool,
    port: u16,
}

fn text(pieces: &[Piece], value: impl Fn(usize) -> String) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Value(index) => value(usize::from(*index) % ITEMS.len()),
        Piece::Known(index) => KNOWN[usize::from(*index) % KNOWN.len()].to_owned(),
        Piece::Any(text) => text.clone(),
    };
    pieces.iter().map(piece).collect()
}

impl Choice {
    fn streamtype(&self) -> StreamType {
        let name = |index| format!("${{{}}}", ITEMS[index]);
        let mut stream = StreamType::new("fuzz");
        stream.endpoint = Some(Template::new(text(&self.endpoint, name)));
        stream.http.url = Template::new(text(&self.url, name));
        (stream.tls, stream.allow_clear, stream.port) = (self.tls, self.allow_clear, self.port);
        for name in ITEMS {
            let header = (name == "host").then(|| "host".to_owned());
            stream.metadata.push(MetadataItem { name: name.to_owned(), header });
        }
        stream
    }

    fn values(&self) -> Vec<Vec<u8>> {
        let nothing = |_| String::new();
        let mut values: Vec<Vec<u8>> =
            self.values.iter().map(|pieces| text(pieces, nothing).into_bytes()).collect();
        if let Some(any) = &self.any {
            values[0].clone_from(any);
        }
        values
    }
}

/// What all values are where the policy's own text is looked for.
const MARK: &str = "zqz";

/// Where metadata leads: to a host and a path that can be asked for, and never away from what the
/// policy writes beside it.
pub fn endpoint(choice: Choice) {
    let (stream, values) = (choice.streamtype(), choice.values());
    let of = |name: &str| ITEMS.iter().position(|item| *item == name);
    let lookup = |name: &str| of(name).and_then(|index| values.get(index)).map(Vec::as_slice);
    let marks = |name: &str| of(name).map(|_| MARK.as_bytes());
    let ones = |name: &str| of(name).map(|_| b"1".as_slice());

    let Ok(target) = Target::resolve(&stream, lookup) else { return };
    well_formed(&target);
    let path = path_for(&stream, &target, lookup);
    if let Ok(path) = &path {
        assert!(path.starts_with('/') && !path.starts_with("//"), "{path}");
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>`#".contains(&byte)));
    }
    let template = stream.endpoint.as_ref().map_or("", Template::as_str);
    let is_whole = ITEMS.iter().any(|name| template == format!("${{{name}}}"));
    if is_whole {
        assert!(target.host_from_client && matches!(target.address, Address::Tcp { .. }));
        assert!(target.tls || !stream.tls || stream.allow_clear, "tls is off");
        return;
    }
    let others = [(Target::resolve(&stream, marks), MARK), (Target::resolve(&stream, ones), "1")];
    for (other, value) in others {
        let Ok(other) = other else { continue };
        assert_eq!((target.tls, target.path.is_some()), (other.tls, other.path.is_some()));
        match (&target.address, &other.address) {
            (Address::Tcp { host, port }, Address::Tcp { host: marked, port: marked_port }) => {
                keeps_text(host, marked, value);
                if !template.contains("${") {
                    assert_eq!((host, port), (marked, marked_port));
                    assert!(!target.host_from_client);
                }
            }
            (Address::UnixPath(path), Address::UnixPath(marked)) => keeps_text(path, marked, value),
            (Address::UnixAbstract(name), Address::UnixAbstract(marked)) => {
                keeps_text(name, marked, value);
            }
            (have, want) => panic!("{have} where the policy says {want}"),
        }
        // A value never reaches before the place where it stands.
        if let (Ok(path), Ok(marked)) = (&path, path_for(&stream, &other, marks))
            && let Some(at) = marked.find(MARK).filter(|_| other.path.is_none())
            && marked[..at].chars().any(|c| c != '/')
        {
            assert!(path.starts_with(&marked[..at]), "{path} is not below {marked}");
        }
    }
}

fn well_formed(target: &Target) {
    let Address::Tcp { host, port } = &target.address else { return };
    assert!(*port != 0 && !host.is_empty() && host.len() <= 255);
    let is_address = host.parse::<std::net::Ipv6Addr>().is_ok();
    let is_fine = |c: char| c.is_alphanumeric() || "-._".contains(c) || (is_address && c == ':');
    assert!(host.chars().all(is_fine), "{host}");
    if let Some(path) = &target.path {
        assert!(path.starts_with('/'), "{path}");
    }
}

/// The text before the first value and behind the last is what the policy says.
fn keeps_text(have: &str, marked: &str, value: &str) {
    let (Some(first), Some(last)) = (marked.find(value), marked.rfind(value)) else { return };
    assert!(have.starts_with(&marked[..first]), "{have} is not {marked}");
    assert!(have.ends_with(&marked[last + value.len()..]), "{have} is not {marked}");
}

/// Redirects that a hostile server sends, one after the other.
#[derive(Arbitrary, Debug)]
pub struct Redirects {
    choice: Choice,
    is_post: bool,
    redirects: Vec<(u8, Vec<Piece>)>,
}

const CREDENTIAL: &str = "credential";
const CREDENTIAL_HEADER: HeaderName = HeaderName::from_static("x-credential");

/// Where redirects lead: never from https to http, and never with a credential or with the client's
/// Host to another origin.
pub fn redirect(redirects: Redirects) {
    let Redirects { choice, is_post, redirects } = redirects;
    let mut stream = choice.streamtype();
    stream.http.auth_header = Some(CREDENTIAL_HEADER.to_string());
    stream.http.method = if is_post { "POST" } else { "GET" }.to_owned();
    let values = choice.values().into_iter().map(Bytes::from);
    let metadata = ITEMS.iter().map(|name| (*name).to_owned()).zip(values).collect();
    let Some(mut planned) = Planned::new(stream, metadata, CREDENTIAL) else { return };
    let first = planned.origin();
    let mut has_left = false;
    let mut may_post = is_post;
    for (status, location) in redirects {
        let before = planned.origin();
        let status = [301, 302, 303, 307, 308][usize::from(status) % 5];
        let status = StatusCode::from_u16(status).unwrap_or_default();
        let location = text(&location, |_| String::new());
        if !planned.redirect(status, &location) {
            continue;
        }
        let now = planned.origin();
        assert!(now.0 == "https" || before.0 == "http", "from https to http");
        has_left |= now != first;
        may_post &= status != StatusCode::SEE_OTHER;
        let (h1, h2) = planned.requests();
        for (request, is_h1) in [(h1, true), (h2, false)] {
            let Some(request) = request else { continue };
            assert!(request.method() != Method::POST || may_post, "a POST after 303");
            assert!(request.uri().path().starts_with('/'));
            if has_left {
                assert!(!request.headers().contains_key(CREDENTIAL_HEADER), "a credential leaves");
                let host = match is_h1 {
                    true => request.headers().get(header::HOST).map(|host| host.as_bytes()),
                    false => request.uri().authority().map(|host| host.as_str().as_bytes()),
                };
                assert_eq!(host, Some(now.1.as_bytes()));
            }
        }
    }
}
