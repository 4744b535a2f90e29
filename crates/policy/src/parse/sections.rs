//! The parts of a document that streamtypes refer to: `retry`, `certs`, `trust_stores`, `auth`
//! and `metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use jsonc_parser::ast::{Object, Value};

use crate::auth::AuthMethod;
use crate::diagnostics::{Code, Diagnostic};
use crate::draft::StoreDraft;
use crate::keys::Section;
use crate::parse::tables::Earlier;
use crate::parse::value::{ENTRIES_MAX, ITEMS_MAX, ParseContext};
use crate::quote::quote;
use crate::retry::Retry;
use crate::types::{Auth, Metric};

/// Most delays of one `backoff`.
pub const BACKOFF_MAX: usize = 64;
/// Most certificates in one trust store.
pub const STACK_MAX: usize = 64;
/// The reference refuses certificates from this size on, bytes.
const REFERENCE_DER_MAX: usize = 3_072;
/// Most certificates of a trust store in the reference.
const REFERENCE_STACK_MAX: usize = 6;
/// Longest text of a certificate in bytes.
const CERTIFICATE_TEXT_MAX: usize = 64 << 10;

/// What a document says twice about a retry policy and the like.
const REPLACED: &str = "the last one wins outright; nothing of the first is kept";

pub(crate) fn retry(
    context: &mut ParseContext<'_>,
    value: &Value<'_>,
    before: &mut Earlier<Retry>,
    out: &mut BTreeMap<String, Retry>,
) {
    let entries = context.entries(value, "`retry`", "retry policies", ENTRIES_MAX);
    for entry in entries.unwrap_or_default() {
        let name = entry.name.as_str().to_owned();
        context.again("retry", &name, &entry.name, REPLACED);
        let Some(object) = context.object(&entry.value, &format!("retry policy {}", quote(&name)))
        else {
            continue;
        };
        let mut retry = before.of(&name, out).unwrap_or_default();
        retry.name.clone_from(&name);
        retry_keys(context, object, &mut retry);
        out.insert(name, retry);
    }
}

fn retry_keys(context: &mut ParseContext<'_>, object: &Object<'_>, retry: &mut Retry) {
    let of = format!("retry policy {}", quote(&retry.name));
    let properties = context.properties(object, &[]);
    for (index, property) in properties.iter().enumerate() {
        let value = &property.value;
        let key = property.name.as_str();
        let what = format!("`{key}` of {of}");
        match key {
            "backoff" => {
                if let Some(delays) = backoff(context, value, &what) {
                    retry.backoff_ms = delays;
                }
            }
            "conceal" => set(&mut retry.conceal, context.small(value, &what)),
            "jitterpc" => set(&mut retry.jitter_percent, jitter(context, value, &what)),
            "svalidping" => set(&mut retry.valid_ping_s, context.small(value, &what)),
            "svalidhup" => set(&mut retry.valid_hup_s, context.small(value, &what)),
            _ => {
                context.unknown_key(property, &of, Section::Retry.names());
                context.begins_another(property, "retry policy", properties.len() - index - 1);
                continue;
            }
        }
    }
    validity(context, object, retry, &of);
}

/// Warns of a ping that is never sent.
fn validity(context: &mut ParseContext<'_>, object: &Object<'_>, retry: &Retry, of: &str) {
    let (ping, hup) = (retry.valid_ping_s, retry.valid_hup_s);
    if ping == 0 || hup > ping {
        return;
    }
    let given = |key: &str| object.properties.iter().rfind(|p| p.name.as_str() == key);
    // An overlay may have changed either; what it left alone has been said of its base.
    let Some(property) = given("svalidhup").or_else(|| given("svalidping")) else { return };
    let location = context.location(&property.value);
    let message = match hup {
        0 => format!("{of} never pings: without `svalidhup` silence is not watched"),
        _ => format!("{of} hangs up after {hup} s, before its ping at {ping} s"),
    };
    context.push(
        Diagnostic::warning(Code::Suspicious, &location, message)
            .expected("an `svalidhup` of more than `svalidping`"),
    );
}

/// Percent; as in deployed proxies 0 stands for the default.
fn jitter(context: &mut ParseContext<'_>, value: &Value<'_>, what: &str) -> Option<u8> {
    let percent = context.small(value, what)?;
    if percent != 0 {
        return Some(percent);
    }
    let location = context.location(value);
    let default = Retry::JITTER_DEFAULT_PERCENT;
    let message = format!("{what} is 0, which is taken as {default}");
    context.push(
        Diagnostic::warning(Code::Suspicious, &location, message)
            .help("the smallest that has an effect is 1"),
    );
    Some(default)
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn backoff(context: &mut ParseContext<'_>, value: &Value<'_>, what: &str) -> Option<Vec<u32>> {
    let delays = context.elements(value, what, "delays in ms", BACKOFF_MAX)?;
    let item = format!("a delay in {what}");
    if delays.len() > 1 {
        context.differs(value, format!("libwebsockets keeps only the first delay of {what}"), "");
    }
    Some(delays.iter().filter_map(|delay| context.small(delay, &item)).collect())
}

pub(crate) fn certs(
    context: &mut ParseContext<'_>,
    value: &Value<'_>,
    out: &mut BTreeMap<String, Arc<[u8]>>,
) {
    let entries = context.entries(value, "`certs`", "certificates", ENTRIES_MAX);
    for entry in entries.unwrap_or_default() {
        let name = entry.name.as_str();
        context.again("certs", name, &entry.name, "the last one wins");
        let what = format!("certificate {}", quote(name));
        let Some(text) = context.text_of(&entry.value, &what, CERTIFICATE_TEXT_MAX) else {
            continue;
        };
        match certificate(&text) {
            Ok(der) => {
                if text.trim_start().starts_with('-') {
                    let message = format!("libwebsockets refuses the policy: {what} is PEM");
                    context.differs(&entry.value, message, "it reads the base64 of DER alone");
                } else if der.len() >= REFERENCE_DER_MAX {
                    let (bytes, max) = (der.len(), REFERENCE_DER_MAX - 1);
                    let message = format!("libwebsockets refuses the policy: {what} is too long");
                    let help = format!("it has {bytes} bytes of DER, and at most {max} are read");
                    context.differs(&entry.value, message, &help);
                }
                out.insert(name.to_owned(), der.into());
            }
            Err(fault) => {
                let location = context.location(&entry.value);
                context.push(
                    Diagnostic::error(Code::Certificate, &location, format!("{what} {fault}"))
                        .expected("one X.509 certificate: base64 of its DER, or PEM"),
                );
                // Kept as a name, so that what refers to it is not an error of its own.
                out.insert(name.to_owned(), Arc::default());
            }
        }
    }
}

/// The DER of a certificate in base64, with or without PEM armour.
fn certificate(text: &str) -> Result<Vec<u8>, String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut body = text.trim();
    if body.starts_with("-----") {
        body = body.strip_prefix(BEGIN).ok_or("has PEM armour of something else")?;
        let (inner, after) = body.split_once(END).ok_or("has PEM armour without its end")?;
        if !after.trim().is_empty() {
            return Err("is followed by more; give each certificate an entry of its own".to_owned());
        }
        body = inner;
    }
    let compact: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(&compact)
        .map_err(|error| format!("is not base64: {}", error.to_string().to_lowercase()))?;
    match sequence_length(&der) {
        None => Err("is not DER: it does not start with a SEQUENCE".to_owned()),
        Some(length) if length == der.len() => Ok(der),
        Some(length) => Err(format!("is cut off or has too much: {} bytes of {length}", der.len())),
    }
}

/// The whole length of the DER SEQUENCE that the bytes start with.
fn sequence_length(der: &[u8]) -> Option<usize> {
    let (&[0x30, first], rest) = der.split_first_chunk::<2>()? else { return None };
    if first < 0x80 {
        return Some(usize::from(first) + 2);
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let length = rest
        .get(..count)?
        .iter()
        .fold(0_usize, |length, &byte| length.wrapping_shl(8) | usize::from(byte));
    length.checked_add(2 + count)
}

pub(crate) fn trust_stores(
    context: &mut ParseContext<'_>,
    value: &Value<'_>,
    out: &mut BTreeMap<String, StoreDraft>,
) {
    const WHAT: &str = "`trust_stores`";
    let elements = context.elements(value, WHAT, "trust stores", ENTRIES_MAX);
    for element in elements.unwrap_or_default() {
        let Some(object) = context.object(element, "a trust store") else { continue };
        let long = object
            .properties
            .iter()
            .any(|p| Section::TrustStore.names().any(|key| key == p.name.as_str()));
        if long {
            long_store(context, object, out);
        } else {
            for property in &object.properties {
                if out.len() >= ENTRIES_MAX {
                    context.too_many(&property.name, WHAT, ENTRIES_MAX);
                    return;
                }
                let name = property.name.as_str();
                context.again("trust_stores", name, &property.name, "the last one wins");
                let message = format!("libwebsockets does not read trust store {}", quote(name));
                let help = "it knows `{\"name\": …, \"stack\": […]}` alone";
                context.differs(&property.name, message, help);
                let draft = stack(context, &property.value, name);
                out.insert(name.to_owned(), draft);
            }
        }
    }
}

/// `{"name": "x", "stack": ["a", "b"]}`
fn long_store(
    context: &mut ParseContext<'_>,
    object: &Object<'_>,
    out: &mut BTreeMap<String, StoreDraft>,
) {
    let mut name = None;
    let mut list = None;
    for property in context.properties(object, &[]) {
        match property.name.as_str() {
            "name" => {
                name = context.text(&property.value, "a trust store's `name`");
                if let Some(name) = &name {
                    context.again("trust_stores", name, &property.value, "the last one wins");
                }
            }
            "stack" => {
                if name.is_none() {
                    let message = "libwebsockets crashes: `stack` is before `name`";
                    context.differs(&property.name, message, "");
                }
                list = Some(&property.value);
            }
            _ => context.unknown_key(property, "a trust store", Section::TrustStore.names()),
        }
    }
    let Some(name) = name else {
        if !object.properties.iter().any(|p| p.name.as_str() == "name") {
            context.error(Code::Value, object, "a trust store without a `name`");
        }
        return;
    };
    let draft = match list {
        Some(list) => stack(context, list, &name),
        None => {
            let message = format!("trust store {} has no `stack`", quote(&name));
            context.error(Code::Value, object, message);
            StoreDraft::default()
        }
    };
    out.insert(name, draft);
}

fn stack(context: &mut ParseContext<'_>, value: &Value<'_>, name: &str) -> StoreDraft {
    let mut draft = StoreDraft::default();
    let what = format!("trust store {}", quote(name));
    let names = context.elements(value, &what, "names of certificates", STACK_MAX);
    let Some(names) = names else { return draft };
    if let Some(excess) = names.get(REFERENCE_STACK_MAX) {
        let message = format!("libwebsockets refuses the policy: {what} is too long");
        context.differs(excess, message, &format!("at most {REFERENCE_STACK_MAX} are read"));
    }
    if names.is_empty() {
        context.bad_value(value, format!("{what} is empty"), "at least one certificate");
    }
    for element in names {
        if let Some(cert) = context.text(element, &format!("a certificate's name in {what}")) {
            draft.stack.push((cert, Some(context.location(element))));
        }
    }
    draft
}

pub(crate) fn auth(
    context: &mut ParseContext<'_>,
    value: &Value<'_>,
    out: &mut BTreeMap<String, Auth>,
) {
    let elements = context.elements(value, "`auth`", "authentication entries", ENTRIES_MAX);
    for element in elements.unwrap_or_default() {
        let Some(object) = context.object(element, "an entry of `auth`") else { continue };
        let mut auth = Auth::default();
        for property in context.properties(object, &[]) {
            let value = &property.value;
            match property.name.as_str() {
                "name" => {
                    set(&mut auth.name, context.text(value, "`name` of an `auth` entry"));
                    if !auth.name.is_empty() {
                        context.again("auth", &auth.name, value, "the last one wins");
                    }
                }
                "type" => {
                    set(&mut auth.kind, context.text(value, "`type` of an `auth` entry"));
                    if auth.method() == AuthMethod::Blob {
                        let location = context.location(value);
                        let message = format!("unknown `type` {} of auth", quote(&auth.kind));
                        let types = AuthMethod::TYPES.map(|(name, _)| format!("`{name}`"));
                        context.push(
                            Diagnostic::warning(Code::Value, &location, message)
                                .expected(types.join(" or "))
                                .help("streams that use it have `http_auth_header` alone"),
                        );
                    }
                }
                "streamtype" => {
                    auth.streamtype = context
                        .text(value, "`streamtype` of an `auth` entry")
                        .filter(|text| !text.is_empty());
                }
                "blob" => set(&mut auth.blob, context.small(value, "`blob` of an `auth` entry")),
                "token_endpoint" => {
                    let what = "`token_endpoint` of an `auth` entry";
                    auth.token_endpoint = context.text(value, what).filter(|text| !text.is_empty());
                }
                "scope" => {
                    auth.scope = context
                        .text(value, "`scope` of an `auth` entry")
                        .filter(|text| !text.is_empty());
                }
                _ => context.unknown_key(property, "an entry of `auth`", Section::Auth.names()),
            }
        }
        if auth.name.is_empty() {
            context.error(Code::Value, object, "an entry of `auth` without a `name`");
            continue;
        }
        if auth.method().is_oauth2()
            && let Err(why) = auth.token_request()
        {
            let what = format!("`token_endpoint` of `auth` entry {}", quote(&auth.name));
            let message = match auth.token_endpoint {
                None => format!("{what} is missing"),
                Some(_) => format!("{what} cannot be used: {why}"),
            };
            context.error(Code::Value, object, message);
            continue;
        }
        out.insert(auth.name.clone(), auth);
    }
}

pub(crate) fn metrics(context: &mut ParseContext<'_>, value: &Value<'_>, out: &mut Vec<Metric>) {
    let elements = context.elements(value, "`metrics`", "metrics entries", ITEMS_MAX);
    for element in elements.unwrap_or_default() {
        let Some(object) = context.object(element, "an entry of `metrics`") else { continue };
        let mut metric = Metric::default();
        for property in context.properties(object, &[]) {
            let value = &property.value;
            let key = property.name.as_str();
            let what = format!("`{key}` of a metric");
            match key {
                "name" => set(&mut metric.name, context.text(value, &what)),
                "us_schedule" => {
                    set(&mut metric.schedule_us, context.number(value, &what, u64::MAX))
                }
                "us_halflife" => set(&mut metric.halflife_us, context.small(value, &what)),
                "min_outlier" => set(&mut metric.min_outlier, context.small(value, &what)),
                "report" => {
                    metric.report = context.text(value, &what).filter(|text| !text.is_empty());
                }
                _ => {
                    context.unknown_key(property, "an entry of `metrics`", Section::Metric.names())
                }
            }
        }
        let full = out.len() == ITEMS_MAX;
        match out.iter_mut().find(|known| known.name == metric.name) {
            Some(known) => *known = metric,
            None if full => {
                context.too_many(element, "`metrics`", ITEMS_MAX);
                return;
            }
            None => out.push(metric),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_come_bare_or_in_armour() {
        assert_eq!(certificate("MAMCAQE=").unwrap(), [0x30, 3, 2, 1, 1]);
        let pem = "-----BEGIN CERTIFICATE-----\nMAMC\nAQE=\n-----END CERTIFICATE-----\n";
        assert_eq!(certificate(pem).unwrap(), [0x30, 3, 2, 1, 1]);
        assert!(certificate(&pem.repeat(2)).unwrap_err().contains("followed by more"));
        assert!(certificate("MAMC").unwrap_err().contains("cut off"));
        assert!(certificate("MAMCAQE").unwrap_err().contains("not base64"));
        assert!(certificate("AgEB").unwrap_err().contains("not DER"));
        assert!(certificate("").unwrap_err().contains("not DER"));
        assert!(certificate("MIQ=").unwrap_err().contains("not DER"));
        let key = "-----BEGIN PRIVATE KEY-----\nMAMCAQE=\n-----END PRIVATE KEY-----";
        assert!(certificate(key).unwrap_err().contains("something else"));
    }

    #[test]
    fn lengths_of_any_form_are_read() {
        assert_eq!(sequence_length(&[0x30, 0x82, 1, 2]), Some(0x102 + 4));
        assert_eq!(sequence_length(&[0x30, 0x85, 1, 2, 3, 4, 5]), None);
        assert_eq!(sequence_length(&[0x30, 0x80]), None);
        assert_eq!(sequence_length(&[0x30]), None);
        let huge = sequence_length(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]);
        assert!(huge.is_none_or(|length| length > 0xffff_ffff));
    }
}
