//! Every key of a policy: the tables that parsing, checking, refusing, showing, the schema and the
//! documentation go by. The keys of streamtypes are in [`table`], all others in [`sections`].

mod field;
mod sections;
mod status;
mod table;

pub(crate) use field::{FieldKind, Key, Reference, TextRule};
pub(crate) use sections::{
    AUTH_KEYS, METRIC_KEYS, PlainKey, PlainKind, RETRY_KEYS, TOP_KEYS, TRUST_STORE_KEYS,
};
pub use status::{Instead, Status, protocol_status};
pub(crate) use table::STREAM_KEYS;

use crate::types::Protocol;

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

impl Section {
    /// All of them, in the order of the documentation.
    pub const ALL: [Section; 6] = [
        Section::Top,
        Section::Retry,
        Section::TrustStore,
        Section::Auth,
        Section::Metric,
        Section::StreamType,
    ];

    /// Its keys, unless they are those of streamtypes.
    pub(crate) fn plain_keys(self) -> &'static [PlainKey] {
        match self {
            Section::Top => TOP_KEYS,
            Section::Retry => RETRY_KEYS,
            Section::TrustStore => TRUST_STORE_KEYS,
            Section::Auth => AUTH_KEYS,
            Section::Metric => METRIC_KEYS,
            Section::StreamType => &[],
        }
    }

    /// The names of these.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        self.plain_keys().iter().map(|key| key.name)
    }
}

/// A key that the policy knows, in words: for help texts, completions and documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Where it may stand.
    pub section: Section,
    /// The key.
    pub name: &'static str,
    /// Its type: `flag`, `text`, ``text `${}` `` if it is substituted, `number`, `name` of
    /// something defined elsewhere, `list` or `anything`.
    pub kind: &'static str,
    /// The default: `none` if the key then has no effect.
    pub default: &'static str,
    /// The protocols that use it: `all`, or their words. Empty outside streamtypes.
    pub protocols: &'static str,
    /// What the proxy does about it.
    pub status: Status,
    /// What it means, in Markdown as it stands in docs/policy.md.
    pub meaning: &'static str,
    /// Whether the reference does not know it.
    pub is_ours: bool,
}

impl KeyInfo {
    /// What the proxy does about it, in words.
    pub fn status_words(&self) -> String {
        words(self.status, self.protocols)
    }
}

fn words(status: Status, protocols: &str) -> String {
    match status {
        Status::Acts => "yes".to_owned(),
        Status::Partly(how) => format!("partly: {how}"),
        Status::Inert(why) => format!("not in the reference either: {why}"),
        Status::NotBehindProxy(instead, why) => {
            format!("not behind a proxy: {}", consequence(instead, why))
        }
        Status::ByValue => match undone_protocols().as_slice() {
            [] => "yes".to_owned(),
            undone => format!("partly: not {}", undone.join(" or ")),
        },
        // All protocols that have the key, or none of them: then the key is with its protocol.
        Status::With("protocol") => {
            let undone = undone_protocols();
            let quoted = protocols.split(' ').map(|word| format!("`{word}`"));
            match quoted.filter(|word| !undone.contains(word)).count() {
                0 => "not behind a proxy: see `protocol`".to_owned(),
                _ => "yes".to_owned(),
            }
        }
        Status::With(other) => match find(other) {
            None | Some(Status::Acts) => "yes".to_owned(),
            Some(Status::Inert(_)) => format!("not in the reference either: see `{other}`"),
            Some(Status::Partly(_)) => format!("partly: see `{other}`"),
            Some(_) => format!("not behind a proxy: see `{other}`"),
        },
    }
}

/// What happens instead of what has no meaning behind a proxy, in words.
fn consequence(instead: Instead, why: &str) -> String {
    match instead {
        Instead::Refused => format!("clients cannot open the streamtype, as {why}"),
        Instead::Fails => format!("it never connects, as {why}"),
        Instead::Ignored => format!("it is ignored, as {why}"),
    }
}

/// The words of the protocols that the proxy does not speak, quoted.
fn undone_protocols() -> Vec<String> {
    let undone = |protocol: &Protocol| protocol_status(*protocol) != Status::Acts;
    let words = Protocol::ALL.into_iter().filter(undone);
    words.map(|protocol| format!("`{}`", protocol.as_str())).collect()
}

/// What the proxy does about the key of this name, in whichever section it is.
fn find(name: &str) -> Option<Status> {
    let plain = TOP_KEYS.iter().find(|key| key.name == name);
    stream_key(name).map(|key| key.status).or(plain.map(|key| key.status))
}

/// Every key that the policy knows, in the order of the documentation.
pub fn key_reference() -> Vec<KeyInfo> {
    let plain = Section::ALL.into_iter().flat_map(|section| {
        section.plain_keys().iter().map(move |key| KeyInfo {
            section,
            name: key.name,
            kind: key.kind.word(),
            default: key.default,
            protocols: "",
            status: key.status,
            meaning: key.meaning,
            is_ours: key.is_ours,
        })
    });
    let streams = STREAM_KEYS.iter().map(|key| KeyInfo {
        section: Section::StreamType,
        name: key.name,
        kind: key.type_word(),
        default: key.default_word(),
        protocols: key.applies_to.words(),
        status: key.status,
        meaning: key.meaning,
        is_ours: key.is_ours,
    });
    plain.chain(streams).collect()
}

/// What becomes of `protocol` values and keys that have no meaning behind a proxy, in the words of
/// the documentation: what a policy says, and what happens.
pub fn not_behind_proxy() -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for protocol in Protocol::ALL {
        if let Status::NotBehindProxy(instead, why) = protocol_status(protocol) {
            rows.push((format!("`protocol` `{protocol}`"), consequence(instead, why)));
        }
    }
    for key in key_reference() {
        if let Status::NotBehindProxy(instead, why) = key.status {
            let place = if key.section == Section::Top { " at the top" } else { "" };
            rows.push((format!("`{}`{place}", key.name), consequence(instead, why)));
        }
    }
    rows
}

/// The key of this name.
pub(crate) fn stream_key(name: &str) -> Option<&'static Key> {
    STREAM_KEYS.iter().find(|key| key.name == name)
}

/// Names that are written down somewhere for a key of another name.
pub(crate) const ALIASES: [(&str, &str); 1] =
    [("http_multipart_content_type", "http_mime_content_type")];
