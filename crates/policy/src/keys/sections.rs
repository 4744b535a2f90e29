//! The keys outside streamtypes.

use super::status::Instead::Ignored;
use super::status::Status::{self, Acts, Inert, NotBehindProxy, With};

/// A key outside streamtypes.
pub(crate) struct PlainKey {
    pub(crate) name: &'static str,
    pub(crate) kind: PlainKind,
    /// As the documentation has it.
    pub(crate) default: &'static str,
    pub(crate) status: Status,
    pub(crate) meaning: &'static str,
    pub(crate) is_ours: bool,
}

/// The type of such a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainKind {
    Text,
    /// At most so much.
    Number(u64),
    /// A list of numbers.
    Delays,
    /// A list of names.
    Names,
    /// A list of entries.
    List,
}

impl PlainKind {
    /// The type as the documentation has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Text => "text",
            Number(_) => "number",
            Delays | Names | List => "list",
        }
    }
}

use PlainKind::{Delays, List, Names, Number, Text};

const fn plain(
    name: &'static str,
    kind: PlainKind,
    default: &'static str,
    status: Status,
    meaning: &'static str,
) -> PlainKey {
    PlainKey { name, kind, default, status, meaning, is_ours: false }
}

/// A key that the reference does not know.
const fn ours(
    name: &'static str,
    kind: PlainKind,
    default: &'static str,
    status: Status,
    meaning: &'static str,
) -> PlainKey {
    PlainKey { is_ours: true, ..plain(name, kind, default, status, meaning) }
}

const U8: u64 = u8::MAX as u64;
const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;

/// Why keys for people do nothing.
const FOR_PEOPLE: Status = Inert("it is for people");

/// The keys of the whole document.
#[rustfmt::skip]
pub(crate) static TOP_KEYS: &[PlainKey] = &[
    plain("release", Text, "none", FOR_PEOPLE,
        "a text"),
    plain("product", Text, "none", FOR_PEOPLE,
        "a text"),
    plain("schema-version", Number(U32), "none", FOR_PEOPLE,
        "a number"),
    plain("via-socks5", Text, "none", Acts,
        "`[user:password@]host:port` of a [SOCKS5 proxy](#via-socks5) for all onward connections"),
    plain("retry", List, "empty", Acts,
        "list of [retry policies](#retry)"),
    plain("certs", List, "empty", Acts,
        "list of [certificates](#certs)"),
    plain("trust_stores", List, "empty", Acts,
        "list of [trust stores](#trust_stores)"),
    plain("auth", List, "empty", With("use_auth"),
        "list of [credentials](#auth)"),
    plain("metrics", List, "empty", NotBehindProxy(Ignored,
        "reports go to the program that the reference is built into, in builds that have them"),
        "list of [reports](#metrics)"),
    plain("s", List, "empty", Acts,
        "list of [streamtypes](#streamtypes)"),
];

/// The keys of an entry of `retry`.
#[rustfmt::skip]
pub(crate) static RETRY_KEYS: &[PlainKey] = &[
    plain("backoff", Delays, "3000 each time", Acts,
        "list of delays in ms: before the first retry, the second, … The last one repeats"),
    plain("conceal", Number(U16), "0", Acts,
        "retries before the stream reports ALL_RETRIES_FAILED; 65535 for ever"),
    plain("jitterpc", Number(U8), "30", Acts,
        "up to this many percent are added to each delay, at random; 0 is taken as 30, with a \
         warning"),
    plain("svalidping", Number(U16), "0", Acts,
        "s of silence after which an h2, ws or mqtt connection is probed; 0 never"),
    plain("svalidhup", Number(U16), "0", Acts,
        "s of silence after which it is dropped; 0 never, and then it is not probed either"),
];

/// The keys of an entry of `trust_stores`.
#[rustfmt::skip]
pub(crate) static TRUST_STORE_KEYS: &[PlainKey] = &[
    plain("name", Text, "none", Acts,
        "the name that `tls_trust_store` gives"),
    plain("stack", Names, "none", Acts,
        "list of names of certificates; their order means nothing"),
];

/// The keys of an entry of `auth`.
#[rustfmt::skip]
pub(crate) static AUTH_KEYS: &[PlainKey] = &[
    plain("name", Text, "none", With("use_auth"),
        "the name that `use_auth` gives"),
    plain("type", Text, "none", With("use_auth"),
        "`sigv4`, `oauth2_client_credentials` or `oauth2_refresh_token`: see [below](#requests-that-say-who-sends-them); with \
         any other `http_auth_header` carries the credential of number `blob`"),
    plain("streamtype", Text, "none", Inert("it is for programs in the same process"),
        "streamtype that obtains the token"),
    plain("blob", Number(U8), "0", With("use_auth"),
        "number of the device's credential"),
    ours("token_endpoint", Text, "none", With("use_auth"),
        "URL that OAuth 2 tokens come from: `https:`, or `http:` to this machine"),
    ours("scope", Text, "none", With("use_auth"),
        "what an OAuth 2 token is to be good for, words with spaces between them"),
];

/// The keys of an entry of `metrics`.
#[rustfmt::skip]
pub(crate) static METRIC_KEYS: &[PlainKey] = &[
    plain("name", Text, "none", With("metrics"),
        "name of the report"),
    plain("us_schedule", Number(u64::MAX), "0", With("metrics"),
        "µs between reports"),
    plain("us_halflife", Number(U32), "0", With("metrics"),
        "µs of decay"),
    plain("min_outlier", Number(U8), "0", With("metrics"),
        "least number of contributors"),
    plain("report", Text, "none", With("metrics"),
        "names of metrics with commas between them"),
];
