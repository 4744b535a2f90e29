//! A JSON Schema of policies, from the tables of keys: for editors and for those who make policies.

use serde_json::{Map, Value, json};

use crate::keys::{FieldKind, Key, PlainKey, PlainKind, STREAM_KEYS, Section, key_reference};
use crate::parse::{
    BACKOFF_MAX, ENTRIES_MAX, ITEMS_MAX, NUMBER, STACK_MAX, STRING_MAX, TOKEN_PATTERN,
};
use crate::types::{METADATA_NAME_MAX, Protocol, RESP_MAP_MAX, STREAMTYPE_NAME_MAX};

/// The schema, in JSON Schema 2020-12.
///
/// It is of JSON: comments and commas before `]` are no part of that. It refuses what parsing refuses or
/// warns of because of its type, its range or its name; what is wrong between values it does not know.
pub fn schema() -> Value {
    let entries = |what: &str| json!({ "$ref": format!("#/$defs/{what}") });
    let mut top = plain(Section::Top);
    for (key, value) in [
        (
            "retry",
            named(json!({ "type": "object", "additionalProperties": false,
            "properties": plain(Section::Retry) })),
        ),
        ("certs", named(json!({ "type": "string" }))),
        ("trust_stores", list(entries("trust_store"), ENTRIES_MAX)),
        ("auth", list(object(Section::Auth, &["name"]), ENTRIES_MAX)),
        ("metrics", list(object(Section::Metric, &[]), ITEMS_MAX)),
        ("s", list(entries("streamtypes"), ENTRIES_MAX)),
    ] {
        if let Some(Value::Object(property)) = top.get_mut(key) {
            property.extend(value.as_object().cloned().unwrap_or_default());
        }
    }
    let stack = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1,
        "maxItems": STACK_MAX });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Secure Streams policy",
        "type": "object",
        "additionalProperties": false,
        "properties": top,
        "$defs": {
            "trust_store": { "anyOf": [
                object(Section::TrustStore, &["name", "stack"]),
                { "type": "object", "additionalProperties": stack,
                  "not": { "anyOf": [{ "required": ["name"] }, { "required": ["stack"] }] } },
            ] },
            "streamtypes": {
                "type": "object",
                "propertyNames": { "minLength": 1, "maxLength": STREAMTYPE_NAME_MAX },
                "additionalProperties": { "$ref": "#/$defs/streamtype" },
            },
            "streamtype": {
                "description": "null, in an overlay, removes the streamtype",
                "type": ["object", "null"],
                "additionalProperties": false,
                "properties": STREAM_KEYS.iter().map(streamtype_key).collect::<Map<_, _>>(),
            },
        },
    })
}

/// A list of objects whose keys are names.
fn named(of: Value) -> Value {
    list(json!({ "type": "object", "additionalProperties": of }), ENTRIES_MAX)
}

fn list(items: Value, most: usize) -> Value {
    json!({ "type": "array", "items": items, "maxItems": most })
}

fn object(section: Section, required: &[&str]) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": plain(section),
        "required": required })
}

/// The keys of a section.
fn plain(section: Section) -> Map<String, Value> {
    let property = |key: &PlainKey| {
        let mut property = match key.kind {
            PlainKind::Text => json!({ "type": ["string", "null"], "maxLength": STRING_MAX }),
            PlainKind::Number(most) => number(most),
            PlainKind::Delays => list(number(u32::MAX.into()), BACKOFF_MAX),
            PlainKind::Names => json!({ "type": "array", "items": { "type": "string" },
                "minItems": 1, "maxItems": STACK_MAX }),
            PlainKind::List => json!({ "type": "array" }),
        };
        describe(&mut property, section, key.name);
        (key.name.to_owned(), property)
    };
    section.plain_keys().iter().map(property).collect()
}

/// Digits, bare or in quotes.
fn number(most: u64) -> Value {
    json!({ "type": ["integer", "string", "null"], "minimum": 0, "maximum": most, "pattern": NUMBER })
}

fn streamtype_key(key: &Key) -> (String, Value) {
    let text = || json!({ "type": ["string", "null"], "maxLength": STRING_MAX });
    let items = |of: Value, names: Value, most: usize| {
        json!({ "type": ["array", "null"], "maxItems": most,
            "items": { "type": "object", "propertyNames": names, "additionalProperties": of } })
    };
    let mut property = match key.kind {
        FieldKind::Flag(_) => json!({ "type": ["boolean", "null"] }),
        FieldKind::Text(..) | FieldKind::Template(_) | FieldKind::Url(_) | FieldKind::Refer(_) => {
            text()
        }
        FieldKind::U8(most, _) => number(most.into()),
        FieldKind::U16(_) | FieldKind::MaybeU16(_) => number(u16::MAX.into()),
        FieldKind::U32(_) | FieldKind::MaybeU32(_) => number(u32::MAX.into()),
        FieldKind::Index(_) => number(u8::MAX.into()),
        FieldKind::Protocol(_) => {
            let words = Protocol::ALL.map(Protocol::as_str);
            json!({ "enum": words.map(Value::from).into_iter().chain([Value::Null]).collect::<Vec<_>>() })
        }
        FieldKind::Method(_) => json!({ "type": ["string", "null"], "pattern": TOKEN_PATTERN }),
        FieldKind::Metadata => items(
            json!({ "type": ["string", "null"] }),
            json!({ "minLength": 1, "maxLength": METADATA_NAME_MAX }),
            ITEMS_MAX,
        ),
        FieldKind::RespMap => {
            items(number(u16::MAX.into()), json!({ "pattern": NUMBER }), RESP_MAP_MAX)
        }
        FieldKind::Options => {
            items(json!({ "type": ["string", "number", "boolean"] }), json!({}), ITEMS_MAX)
        }
        FieldKind::Ignored => json!({}),
    };
    describe(&mut property, Section::StreamType, key.name);
    (key.name.to_owned(), property)
}

/// Says what a key means, and whether the proxy does it.
fn describe(property: &mut Value, section: Section, name: &str) {
    let key = key_reference().into_iter().find(|key| key.section == section && key.name == name);
    if let (Some(key), Value::Object(property)) = (key, property) {
        let default = match key.default {
            "" | "none" | "empty" => String::new(),
            default => format!("; default: {default}"),
        };
        let protocols = match key.protocols {
            "" | "all" => String::new(),
            protocols => format!("; for {protocols}"),
        };
        let text = format!("{}{default}{protocols}. Done: {}", key.meaning, key.status_words());
        property.insert("description".to_owned(), text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that the schema allows at this place.
    fn keys(pointer: &str) -> Vec<String> {
        let schema = schema();
        let properties = schema.pointer(pointer).and_then(Value::as_object);
        properties.map(|found| found.keys().cloned().collect()).unwrap_or_default()
    }

    #[test]
    fn it_has_every_key_and_no_other() {
        for (section, pointer) in [
            (Section::Top, "/properties"),
            (Section::Retry, "/properties/retry/items/additionalProperties/properties"),
            (Section::TrustStore, "/$defs/trust_store/anyOf/0/properties"),
            (Section::Auth, "/properties/auth/items/properties"),
            (Section::Metric, "/properties/metrics/items/properties"),
            (Section::StreamType, "/$defs/streamtype/properties"),
        ] {
            let reference = key_reference().into_iter().filter(|key| key.section == section);
            let mut known: Vec<String> = reference.map(|key| key.name.to_owned()).collect();
            let mut allowed = keys(pointer);
            known.sort();
            allowed.sort();
            assert_eq!(allowed, known, "{section:?}");
        }
    }

    #[test]
    fn each_key_says_what_it_means() {
        let schema = schema();
        let port = &schema["$defs"]["streamtype"]["properties"]["port"];
        let text = port["description"].as_str().unwrap_or_default();
        assert!(text.starts_with("TCP port. 0 is an error"), "{text}");
        assert!(text.ends_with("; default: 0. Done: yes"), "{text}");
        assert_eq!(port["maximum"], 65_535);
    }
}
