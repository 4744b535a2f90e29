//! One streamtype's object, key by key.

use std::collections::{BTreeMap, BTreeSet};

use jsonc_parser::ast::{Object, Value};

use crate::diagnostics::quote;
use crate::keys::{ALIASES, Key, Reference, STREAM_KEYS, Slot, Text, stream_key};
use crate::parse::value::{
    Cx, ITEMS_MAX, is_header_value, is_token, key_of, name_fault, type_words,
};
use crate::source::Place;
use crate::suggest::{did_you_mean, suggest};
use crate::{
    Code, Diagnostic, METADATA_NAME_MAX, MetadataItem, Protocol, RESP_MAP_MAX, StreamType, Template,
};

/// A streamtype on its way: its own values in place, its references by name.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) streamtype: StreamType,
    /// Where the latest document that says anything about it has its name.
    pub(crate) place: Option<Place>,
    /// Whether a document has something other than an object for it.
    pub(crate) unreadable: bool,
    /// Where each key that a document gave is written.
    pub(crate) settings: BTreeMap<&'static str, Setting>,
    /// The names that it refers to, by key.
    pub(crate) references: BTreeMap<&'static str, String>,
    /// The keys whose values a document got wrong: nothing more is to be said about them.
    pub(crate) faulty: BTreeSet<&'static str>,
}

/// Where a key and its value are written.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) key: Place,
    pub(crate) value: Place,
}

impl Draft {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            streamtype: StreamType::new(name),
            place: None,
            unreadable: false,
            settings: BTreeMap::new(),
            references: BTreeMap::new(),
            faulty: BTreeSet::new(),
        }
    }

    /// A finished streamtype, to be changed.
    pub(crate) fn of(streamtype: &StreamType) -> Self {
        let mut references = BTreeMap::new();
        if let Some(retry) = &streamtype.retry {
            references.insert("retry", retry.name.clone());
        }
        if let Some(store) = &streamtype.trust_store {
            references.insert("tls_trust_store", store.name.clone());
        }
        if let Some(auth) = &streamtype.use_auth {
            references.insert("use_auth", auth.name.clone());
        }
        Self {
            streamtype: streamtype.clone(),
            place: None,
            unreadable: false,
            settings: BTreeMap::new(),
            references,
            faulty: BTreeSet::new(),
        }
    }

    /// The place of a key's value, or of the streamtype's name if no document gave the key.
    pub(crate) fn value_place(&self, key: &str) -> Option<&Place> {
        self.settings.get(key).map(|setting| &setting.value).or(self.place.as_ref())
    }
}

/// Applies an object to a draft: only what is given changes, `null` takes a key back.
pub(crate) fn apply(cx: &mut Cx<'_>, object: &Object<'_>, draft: &mut Draft) {
    let of = format!("streamtype {}", quote(&draft.streamtype.name));
    for property in cx.properties(object, &["metadata"]) {
        let name = property.name.as_str();
        let Some(key) = stream_key(name) else {
            match ALIASES.iter().find(|(alias, _)| *alias == name) {
                Some((_, meant)) => {
                    let place = cx.place(&property.name);
                    let message = format!("unknown key {} in {of}", quote(name));
                    cx.push(
                        Diagnostic::warning(Code::UnknownKey, &place, message)
                            .help(format!("it is ignored; the key is called `{meant}`")),
                    );
                }
                None => cx.unknown_key(property, &of, STREAM_KEYS.iter().map(|key| key.name)),
            }
            continue;
        };
        let setting = Setting { key: cx.place(&property.name), value: cx.place(&property.value) };
        draft.settings.insert(key.name, setting);
        if property.value.as_null_keyword().is_some() {
            key.reset(&mut draft.streamtype);
            draft.references.remove(key.name);
        } else {
            let errors = cx.report.error_count();
            set(cx, key, &property.value, draft);
            if cx.report.error_count() > errors {
                draft.faulty.insert(key.name);
            }
        }
    }
}

fn set(cx: &mut Cx<'_>, key: &Key, value: &Value<'_>, draft: &mut Draft) {
    let what = key_of(key.name, &draft.streamtype);
    let streamtype = &mut draft.streamtype;
    match key.slot {
        Slot::Flag(field) => put(field(streamtype), cx.flag(value, &what)),
        Slot::Text(kind, field) => {
            put(field(streamtype), text(cx, value, &what, kind));
        }
        Slot::Template(field) => {
            let template = template(cx, value, &what);
            put(field(streamtype), template.map(|template| Some(template).filter(not_empty)));
        }
        Slot::Url => put(&mut streamtype.http.url, template(cx, value, &what)),
        Slot::U8(max, field) => {
            let number = cx.number(value, &what, max.into());
            put(field(streamtype), number.and_then(|number| u8::try_from(number).ok()));
        }
        Slot::U16(field) => put(field(streamtype), cx.small(value, &what)),
        Slot::U32(field) => put(field(streamtype), cx.small(value, &what)),
        Slot::Index(field) => put(field(streamtype), cx.small(value, &what).map(Some)),
        Slot::MaybeU16(field) => {
            put(field(streamtype), cx.small(value, &what).map(|n| Some(n).filter(|n| *n != 0)));
        }
        Slot::MaybeU32(field) => {
            put(field(streamtype), cx.small(value, &what).map(|n| Some(n).filter(|n| *n != 0)));
        }
        Slot::Protocol => put(&mut streamtype.protocol, protocol(cx, value, &what)),
        Slot::Method => put(&mut streamtype.http.method, method(cx, value, &what)),
        Slot::Refer(reference) => refer(cx, value, &what, key.name, reference, draft),
        Slot::Metadata => metadata(cx, value, &what, &mut streamtype.metadata),
        Slot::RespMap => put(&mut streamtype.http.resp_map, resp_map(cx, value, &what)),
        Slot::Options => put(&mut streamtype.options, options(cx, value, &what)),
        Slot::Ignored => {}
    }
}

fn put<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn not_empty(template: &Template) -> bool {
    !template.is_empty()
}

/// Text of some kind; the inner `None` for the empty string, which is as good as no key.
fn text(cx: &mut Cx<'_>, value: &Value<'_>, what: &str, kind: Text) -> Option<Option<String>> {
    let text = cx.text(value, what)?;
    if text.is_empty() {
        return Some(None);
    }
    match kind {
        Text::Free => Some(Some(text)),
        Text::HeaderName => header_name(cx, value, what, &text).map(Some),
        Text::HeaderValue if is_header_value(&text) => Some(Some(text)),
        Text::HeaderValue => {
            let message = format!("{what} is {}, with a control character", quote(&text));
            cx.bad_value(value, message, "text that a header can carry");
            None
        }
    }
}

/// A header's name without the colon that policies may put after it.
fn header_name(cx: &mut Cx<'_>, value: &Value<'_>, what: &str, text: &str) -> Option<String> {
    let name = text.strip_suffix(':').unwrap_or(text);
    if is_token(name) {
        return Some(name.to_owned());
    }
    let message = format!("{what} is {}, which is no header name", quote(text));
    cx.bad_value(value, message, "letters, digits and any of !#$%&'*+-.^_`|~");
    None
}

fn template(cx: &mut Cx<'_>, value: &Value<'_>, what: &str) -> Option<Template> {
    let text = cx.text(value, what)?;
    if let Some((at, _)) = text.char_indices().find(|(_, c)| matches!(c, '\r' | '\n')) {
        let place = cx.within(value, at..at + 1);
        let message = format!("{what} contains a line break");
        cx.push(Diagnostic::error(Code::Value, &place, message).expected("text of one line"));
        return None;
    }
    Some(Template::new(text))
}

fn protocol(cx: &mut Cx<'_>, value: &Value<'_>, what: &str) -> Option<Protocol> {
    let text = cx.text(value, what)?;
    let protocol = Protocol::from_word(&text);
    if protocol.is_none() {
        let place = cx.place(value);
        let message = format!("{what} is {}", quote(&text));
        let diagnostic = Diagnostic::error(Code::Value, &place, message)
            .expected("`h1`, `h2`, `h3`, `ws`, `mqtt` or `raw`");
        let meant = match text.to_ascii_lowercase().as_str() {
            "http" | "https" | "http1" | "http/1.1" => Some("h1"),
            "http2" | "http/2" => Some("h2"),
            "http3" | "http/3" => Some("h3"),
            "websocket" | "websockets" | "wss" => Some("ws"),
            "mqtts" => Some("mqtt"),
            "tcp" => Some("raw"),
            _ => None,
        };
        let suggestion = match meant {
            Some(meant) => Some(did_you_mean([meant])),
            None => suggest(&text, Protocol::ALL.map(Protocol::as_str)),
        };
        cx.push(match suggestion {
            Some(suggestion) => diagnostic.help(suggestion),
            None => diagnostic,
        });
    }
    protocol
}

fn method(cx: &mut Cx<'_>, value: &Value<'_>, what: &str) -> Option<String> {
    let text = cx.text(value, what)?;
    if !is_token(&text) {
        let message = format!("{what} is {}", quote(&text));
        cx.bad_value(value, message, "a method such as `GET` or `POST`");
        return None;
    }
    let upper = text.to_ascii_uppercase();
    if upper != text {
        let place = cx.place(value);
        let message = format!("{what} is {}; methods are case-sensitive", quote(&text));
        cx.push(
            Diagnostic::warning(Code::Suspicious, &place, message)
                .help(did_you_mean([upper.as_str()])),
        );
    }
    Some(text)
}

fn refer(
    cx: &mut Cx<'_>,
    value: &Value<'_>,
    what: &str,
    key: &'static str,
    reference: Reference,
    draft: &mut Draft,
) {
    let Some(name) = cx.text(value, what) else { return };
    if name.is_empty() {
        draft.references.remove(key);
        match reference {
            Reference::Retry => draft.streamtype.retry = None,
            Reference::TrustStore => draft.streamtype.trust_store = None,
            Reference::Auth => draft.streamtype.use_auth = None,
        }
    } else {
        draft.references.insert(key, name);
    }
}

fn metadata(cx: &mut Cx<'_>, value: &Value<'_>, what: &str, items: &mut Vec<MetadataItem>) {
    let mut given: Vec<&str> = Vec::new();
    for entry in cx.entries(value, what, "`{\"name\": \"header\"}`") {
        let name = entry.name.as_str();
        if let Some(fault) = name_fault(name, METADATA_NAME_MAX) {
            let message = format!("the name {} in {what} {fault}", quote(name));
            cx.bad_value(&entry.name, message, &format!("1 to {METADATA_NAME_MAX} bytes"));
            continue;
        }
        if given.contains(&name) {
            let place = cx.place(&entry.name);
            let message = format!("metadata {} is given a second time", quote(name));
            cx.push(
                Diagnostic::warning(Code::Duplicate, &place, message).help("the last one wins"),
            );
        } else {
            given.push(name);
        }
        if entry.value.as_null_keyword().is_some() {
            items.retain(|item| item.name != name);
            continue;
        }
        let header_of = format!("the header of metadata {}", quote(name));
        let Some(header) = text(cx, &entry.value, &header_of, Text::HeaderName) else { continue };
        let full = items.len() == ITEMS_MAX;
        match items.iter_mut().find(|item| item.name == name) {
            Some(item) => item.header = header,
            None if full => {
                cx.too_many(Some(&entry.name), what);
                return;
            }
            None => items.push(MetadataItem { name: name.to_owned(), header }),
        }
    }
}

fn resp_map(cx: &mut Cx<'_>, value: &Value<'_>, what: &str) -> Option<Vec<(u16, u32)>> {
    value.as_array().or_else(|| cx.array(value, what, "`{\"status\": state}`"))?;
    let mut map: Vec<(u16, u32)> = Vec::new();
    for entry in cx.entries(value, what, "`{\"status\": state}`") {
        let code = entry.name.as_str();
        let status = code.parse::<u16>().ok().filter(|status| (100..1000).contains(status));
        let Some(status) = status else {
            let message = format!("{what} maps {}, which is no status", quote(code));
            cx.bad_value(&entry.name, message, "an HTTP status from 100 to 999");
            continue;
        };
        let state_of = format!("the state for status {status}");
        let Some(state) = cx.small::<u16>(&entry.value, &state_of) else { continue };
        if state < 1000 {
            let place = cx.place(&entry.value);
            let message = format!("{state_of} is {state}");
            let expected = "a state of the application, from 1000 to 65535";
            cx.push(if state == 0 {
                Diagnostic::error(Code::Range, &place, message).expected(expected)
            } else {
                Diagnostic::warning(Code::Suspicious, &place, message)
                    .expected(expected)
                    .help("it is not reported: smaller ones belong to the protocol")
            });
        }
        let state = u32::from(state);
        if let Some((_, known)) = map.iter_mut().find(|(known, _)| *known == status) {
            *known = state;
            let place = cx.place(&entry.name);
            let message = format!("status {status} is mapped a second time");
            cx.push(
                Diagnostic::warning(Code::Duplicate, &place, message).help("the last one wins"),
            );
        } else if map.len() == RESP_MAP_MAX {
            let place = cx.place(&entry.name);
            let message = format!("{what} has more than {RESP_MAP_MAX} entries");
            cx.push(
                Diagnostic::error(Code::Limit, &place, message)
                    .expected(format!("at most {RESP_MAP_MAX}")),
            );
            return None;
        } else {
            map.push((status, state));
        }
    }
    Some(map)
}

fn options(cx: &mut Cx<'_>, value: &Value<'_>, what: &str) -> Option<Vec<(String, String)>> {
    value.as_array().or_else(|| cx.array(value, what, "`{\"option\": \"value\"}`"))?;
    let mut options: Vec<(String, String)> = Vec::new();
    let entries = cx.entries(value, what, "`{\"option\": \"value\"}`");
    if cx.too_many(entries.get(ITEMS_MAX).copied(), what) {
        return None;
    }
    for entry in entries {
        let name = entry.name.as_str();
        let text = match &entry.value {
            Value::StringLit(_) => cx.text(&entry.value, &format!("option {}", quote(name))),
            Value::NumberLit(number) => Some(number.value.to_owned()),
            Value::BooleanLit(literal) => Some(literal.value.to_string()),
            other => {
                let message = format!("option {} is {}", quote(name), type_words(other));
                cx.bad_value(&entry.value, message, "a string, a number or a flag");
                None
            }
        };
        if let Some(text) = text {
            options.push((name.to_owned(), text));
        }
    }
    Some(options)
}
