//! One streamtype's object, key by key.

use jsonc_parser::ast::{Object, Value};

use crate::diagnostics::{Code, Diagnostic};
use crate::draft::{Draft, Setting, key_of};
use crate::keys::{ALIASES, FieldKind, Key, Reference, STREAM_KEYS, TextRule, stream_key};
use crate::parse::value::{
    ITEMS_MAX, ParseContext, is_header_value, is_token, name_fault, type_words,
};
use crate::quote::quote;
use crate::suggest::did_you_mean;
use crate::template::Template;
use crate::types::{METADATA_NAME_MAX, MetadataItem, Protocol, RESP_MAP_MAX};

/// Applies an object to a draft: only what is given changes, `null` takes a key back.
pub(crate) fn apply(context: &mut ParseContext<'_>, object: &Object<'_>, draft: &mut Draft) {
    let of = format!("streamtype {}", quote(&draft.streamtype.name));
    let properties = context.properties(object, &["metadata"]);
    for (index, property) in properties.iter().enumerate() {
        let name = property.name.as_str();
        if stream_key(name).is_none_or(|key| key.is_ours) {
            context.begins_another(property, "streamtype", properties.len() - index - 1);
        }
        let Some(key) = stream_key(name) else {
            match ALIASES.iter().find(|(alias, _)| *alias == name) {
                Some((_, meant)) => {
                    let location = context.location(&property.name);
                    let message = format!("unknown key {} in {of}", quote(name));
                    context.push(
                        Diagnostic::warning(Code::UnknownKey, &location, message)
                            .help(format!("it is ignored; the key is called `{meant}`")),
                    );
                }
                None => context.unknown_key(property, &of, STREAM_KEYS.iter().map(|key| key.name)),
            }
            continue;
        };
        let setting = Setting {
            key: context.location(&property.name),
            value: context.location(&property.value),
        };
        draft.settings.insert(key.name, setting);
        if property.value.as_null_keyword().is_some() {
            key.reset(&mut draft.streamtype);
            draft.references.remove(key.name);
        } else {
            let errors = context.report.error_count();
            set(context, key, &property.value, draft);
            if context.report.error_count() > errors {
                draft.faulty.insert(key.name);
            }
        }
    }
}

fn set(context: &mut ParseContext<'_>, key: &Key, value: &Value<'_>, draft: &mut Draft) {
    let what = key_of(key.name, &draft.streamtype);
    let streamtype = &mut draft.streamtype;
    match key.kind {
        FieldKind::Flag(field) => put((field.get_mut)(streamtype), context.flag(value, &what)),
        FieldKind::Text(kind, field) => {
            put((field.get_mut)(streamtype), text(context, value, &what, kind));
        }
        FieldKind::Template(field) => {
            let template = template(context, value, &what);
            put(
                (field.get_mut)(streamtype),
                template.map(|template| Some(template).filter(not_empty)),
            );
        }
        FieldKind::Url(field) => put((field.get_mut)(streamtype), template(context, value, &what)),
        FieldKind::U8(max, field) => {
            let number = context.number(value, &what, max.into());
            put((field.get_mut)(streamtype), number.and_then(|number| u8::try_from(number).ok()));
        }
        FieldKind::U16(field) => put((field.get_mut)(streamtype), context.small(value, &what)),
        FieldKind::U32(field) => put((field.get_mut)(streamtype), context.small(value, &what)),
        FieldKind::Index(field) => {
            put((field.get_mut)(streamtype), context.small(value, &what).map(Some))
        }
        FieldKind::MaybeU16(field) => {
            put(
                (field.get_mut)(streamtype),
                context.small(value, &what).map(|n| Some(n).filter(|n| *n != 0)),
            );
        }
        FieldKind::MaybeU32(field) => {
            put(
                (field.get_mut)(streamtype),
                context.small(value, &what).map(|n| Some(n).filter(|n| *n != 0)),
            );
        }
        FieldKind::Protocol(field) => {
            put((field.get_mut)(streamtype), protocol(context, value, &what))
        }
        FieldKind::Method(field) => put((field.get_mut)(streamtype), method(context, value, &what)),
        FieldKind::Refer(reference) => refer(context, value, &what, key.name, reference, draft),
        FieldKind::Metadata => metadata(context, value, &what, &mut streamtype.metadata),
        FieldKind::RespMap => put(&mut streamtype.http.resp_map, resp_map(context, value, &what)),
        FieldKind::Options => put(&mut streamtype.options, options(context, value, &what)),
        FieldKind::Ignored => {}
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
fn text(
    context: &mut ParseContext<'_>,
    value: &Value<'_>,
    what: &str,
    kind: TextRule,
) -> Option<Option<String>> {
    let text = context.text(value, what)?;
    if text.is_empty() {
        return Some(None);
    }
    match kind {
        TextRule::Free => Some(Some(text)),
        TextRule::HeaderName => header_name(context, value, what, &text).map(Some),
        TextRule::HeaderValue if is_header_value(&text) => Some(Some(text)),
        TextRule::HeaderValue => {
            let message = format!("{what} is {}, with a control character", quote(&text));
            context.bad_value(value, message, "text that a header can carry");
            None
        }
    }
}

/// A header's name without the colon that policies may put after it.
fn header_name(
    context: &mut ParseContext<'_>,
    value: &Value<'_>,
    what: &str,
    text: &str,
) -> Option<String> {
    let name = text.strip_suffix(':').unwrap_or(text);
    if is_token(name) {
        return Some(name.to_owned());
    }
    let message = format!("{what} is {}, which is not a header name", quote(text));
    context.bad_value(value, message, "letters, digits and any of !#$%&'*+-.^_`|~");
    None
}

fn template(context: &mut ParseContext<'_>, value: &Value<'_>, what: &str) -> Option<Template> {
    let text = context.text(value, what)?;
    if let Some((at, _)) = text.char_indices().find(|(_, c)| matches!(c, '\r' | '\n')) {
        let location = context.within(value, at..at + 1);
        let message = format!("{what} contains a line break");
        context
            .push(Diagnostic::error(Code::Value, &location, message).expected("text of one line"));
        return None;
    }
    Some(Template::new(text))
}

fn protocol(context: &mut ParseContext<'_>, value: &Value<'_>, what: &str) -> Option<Protocol> {
    let text = context.text(value, what)?;
    let protocol = Protocol::from_word(&text);
    if protocol.is_none() {
        let location = context.location(value);
        let message = format!("{what} is {}", quote(&text));
        let diagnostic = Diagnostic::error(Code::Value, &location, message)
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
            None => context.report.suggest(&text, Protocol::ALL.map(Protocol::as_str)),
        };
        context.push(match suggestion {
            Some(suggestion) => diagnostic.help(suggestion),
            None => diagnostic,
        });
    }
    protocol
}

fn method(context: &mut ParseContext<'_>, value: &Value<'_>, what: &str) -> Option<String> {
    let text = context.text(value, what)?;
    if !is_token(&text) {
        let message = format!("{what} is {}", quote(&text));
        context.bad_value(value, message, "a method such as `GET` or `POST`");
        return None;
    }
    let upper = text.to_ascii_uppercase();
    if upper != text {
        let location = context.location(value);
        let message = format!("{what} is {}; methods are case-sensitive", quote(&text));
        context.push(
            Diagnostic::warning(Code::Suspicious, &location, message)
                .help(did_you_mean([upper.as_str()])),
        );
    }
    Some(text)
}

fn refer(
    context: &mut ParseContext<'_>,
    value: &Value<'_>,
    what: &str,
    key: &'static str,
    reference: Reference,
    draft: &mut Draft,
) {
    let Some(name) = context.text(value, what) else { return };
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

fn metadata(
    context: &mut ParseContext<'_>,
    value: &Value<'_>,
    what: &str,
    items: &mut Vec<MetadataItem>,
) {
    let mut given: Vec<&str> = Vec::new();
    let entries = context.entries(value, what, "`{\"name\": \"header\"}`", ITEMS_MAX);
    for entry in entries.unwrap_or_default() {
        let name = entry.name.as_str();
        if let Some(fault) = name_fault(name, METADATA_NAME_MAX) {
            let message = format!("the name {} in {what} {fault}", quote(name));
            context.bad_value(&entry.name, message, &format!("1 to {METADATA_NAME_MAX} bytes"));
            continue;
        }
        if given.contains(&name) {
            let location = context.location(&entry.name);
            let message = format!("metadata {} is given a second time", quote(name));
            context.push(
                Diagnostic::warning(Code::Duplicate, &location, message).help("the last one wins"),
            );
        } else {
            given.push(name);
        }
        if entry.value.as_null_keyword().is_some() {
            items.retain(|item| item.name != name);
            continue;
        }
        let header_of = format!("the header of metadata {}", quote(name));
        let Some(header) = text(context, &entry.value, &header_of, TextRule::HeaderName) else {
            continue;
        };
        let full = items.len() == ITEMS_MAX;
        match items.iter_mut().find(|item| item.name == name) {
            Some(item) => item.header = header,
            None if full => {
                context.too_many(&entry.name, what, ITEMS_MAX);
                return;
            }
            None => items.push(MetadataItem { name: name.to_owned(), header }),
        }
    }
}

fn resp_map(
    context: &mut ParseContext<'_>,
    value: &Value<'_>,
    what: &str,
) -> Option<Vec<(u16, u32)>> {
    let mut map: Vec<(u16, u32)> = Vec::new();
    for entry in context.entries(value, what, "`{\"status\": state}`", RESP_MAP_MAX)? {
        let code = entry.name.as_str();
        let status = code.parse::<u16>().ok().filter(|status| (100..1000).contains(status));
        let Some(status) = status else {
            let message = format!("{what} maps {}, which is not a status", quote(code));
            context.bad_value(&entry.name, message, "an HTTP status from 100 to 999");
            continue;
        };
        let state_of = format!("the state for status {status}");
        let Some(state) = context.small::<u16>(&entry.value, &state_of) else { continue };
        if state < 1000 {
            let location = context.location(&entry.value);
            let message = format!("{state_of} is {state}");
            let expected = "a state of the application, from 1000 to 65535";
            context.push(if state == 0 {
                Diagnostic::error(Code::Range, &location, message).expected(expected)
            } else {
                Diagnostic::warning(Code::Suspicious, &location, message)
                    .expected(expected)
                    .help("it is not reported: smaller ones belong to the protocol")
            });
        }
        let state = u32::from(state);
        if let Some((_, known)) = map.iter_mut().find(|(known, _)| *known == status) {
            *known = state;
            let location = context.location(&entry.name);
            let message = format!("status {status} is mapped a second time");
            context.push(
                Diagnostic::warning(Code::Duplicate, &location, message).help("the last one wins"),
            );
        } else {
            map.push((status, state));
        }
    }
    Some(map)
}

fn options(
    context: &mut ParseContext<'_>,
    value: &Value<'_>,
    what: &str,
) -> Option<Vec<(String, String)>> {
    let mut options: Vec<(String, String)> = Vec::new();
    for entry in context.entries(value, what, "`{\"option\": \"value\"}`", ITEMS_MAX)? {
        let name = entry.name.as_str();
        let text = match &entry.value {
            Value::StringLit(_) => context.text(&entry.value, &format!("option {}", quote(name))),
            Value::NumberLit(number) => Some(number.value.to_owned()),
            Value::BooleanLit(literal) => Some(literal.value.to_string()),
            other => {
                let message = format!("option {} is {}", quote(name), type_words(other));
                context.bad_value(&entry.value, message, "a string, a number or a flag");
                None
            }
        };
        if let Some(text) = text {
            options.push((name.to_owned(), text));
        }
    }
    Some(options)
}
