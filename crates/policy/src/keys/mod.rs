//! Every key of a policy: the tables that parsing, checking, showing and the documentation's test go
//! by. The keys of streamtypes are in [`table`].

mod field;
mod table;

pub(crate) use field::{FieldKind, Key, Reference, TextRule};
pub(crate) use table::STREAM_KEYS;

/// The part of a policy that a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Section {
    /// The document itself.
    Top,
    /// An entry of `retry`.
    Retry,
    /// An entry of `trust_stores`, in its long form.
    TrustStore,
    /// An entry of `auth`.
    Auth,
    /// An entry of `metrics`.
    Metric,
    /// A streamtype.
    StreamType,
}

/// A key that the policy knows, in words: for help texts and completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Where it may stand.
    pub section: Section,
    /// The key.
    pub name: &'static str,
    /// Its type: `flag`, `text`, ``text `${}` `` if it is substituted, `number`, `name` of
    /// something defined elsewhere, `list` or `anything`. Empty outside streamtypes.
    pub kind: &'static str,
    /// The default: `none` if the key then has no effect. Empty outside streamtypes.
    pub default: &'static str,
    /// The protocols that use it: `all`, or their words. Empty outside streamtypes.
    pub protocols: &'static str,
}

/// Every key that the policy knows, in the order of the documentation.
pub fn key_reference() -> Vec<KeyInfo> {
    let sections: [(Section, &[&'static str]); 5] = [
        (Section::Top, &TOP_KEYS),
        (Section::Retry, &RETRY_KEYS),
        (Section::TrustStore, &TRUST_STORE_KEYS),
        (Section::Auth, &AUTH_KEYS),
        (Section::Metric, &METRIC_KEYS),
    ];
    let plain = sections.into_iter().flat_map(|(section, names)| {
        names.iter().map(move |name| KeyInfo {
            section,
            name,
            kind: "",
            default: "",
            protocols: "",
        })
    });
    let streams = STREAM_KEYS.iter().map(|key| KeyInfo {
        section: Section::StreamType,
        name: key.name,
        kind: key.type_word(),
        default: key.default_word(),
        protocols: key.applies_to.words(),
    });
    plain.chain(streams).collect()
}

/// The key of this name.
pub(crate) fn stream_key(name: &str) -> Option<&'static Key> {
    STREAM_KEYS.iter().find(|key| key.name == name)
}

/// Names that are written down somewhere for a key of another name.
pub(crate) const ALIASES: [(&str, &str); 1] =
    [("http_multipart_content_type", "http_mime_content_type")];

/// The keys of the whole document.
pub(crate) const TOP_KEYS: [&str; 10] = [
    "release",
    "product",
    "schema-version",
    "via-socks5",
    "retry",
    "certs",
    "trust_stores",
    "auth",
    "metrics",
    "s",
];

/// The keys of an entry of `retry`.
pub(crate) const RETRY_KEYS: [&str; 5] =
    ["backoff", "conceal", "jitterpc", "svalidping", "svalidhup"];

/// The keys of an entry of `trust_stores`.
pub(crate) const TRUST_STORE_KEYS: [&str; 2] = ["name", "stack"];

/// The keys of an entry of `auth`.
pub(crate) const AUTH_KEYS: [&str; 4] = ["name", "type", "streamtype", "blob"];

/// The keys of an entry of `metrics`.
pub(crate) const METRIC_KEYS: [&str; 5] =
    ["name", "us_schedule", "us_halflife", "min_outlier", "report"];
