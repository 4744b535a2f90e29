//! A value of the policy acts as it is given, or a warning says what acts instead.

use serde_json::Value;
use sspc_policy::{Policy, Section, Source, key_reference};

/// Every width's limits, every default, and what is near them.
const VALUES: [u64; 30] = [
    0,
    1,
    2,
    3,
    7,
    8,
    29,
    30,
    31,
    80,
    99,
    100,
    255,
    256,
    300,
    443,
    999,
    1_000,
    2_999,
    3_000,
    32_767,
    32_768,
    32_769,
    65_535,
    65_536,
    65_537,
    4_294_967_294,
    4_294_967_295,
    4_294_967_296,
    1 << 63,
];

/// The value that a policy with `text` has at a JSON pointer as it is shown; `None` if parsing had
/// anything to say about the value, which is the last thing before `rest`.
fn effective(text: &str, rest: &str, pointer: &str) -> Option<Value> {
    let at = text.len() - rest.len();
    let parsed = match Policy::parse(&Source::new("p", text)) {
        Ok(parsed) => parsed,
        Err(report) => {
            assert!(report.errors().any(|error| error.span.end == at), "{report}\n{text}");
            return None;
        }
    };
    if parsed.warnings.diagnostics().iter().any(|warning| warning.span.end == at) {
        return None;
    }
    let shown: Value = serde_json::from_str(&parsed.policy.show()).unwrap();
    Some(shown.pointer(pointer).cloned().unwrap_or(Value::Null))
}

/// `"proxy_buflen": 32768` was taken for no `proxy_buflen` at all, since it was the default once, and
/// the proxy's own default is another. So each key gets its own default too, and all values near it.
#[test]
fn the_number_given_is_the_number_that_acts() {
    let reference = key_reference();
    let keys = reference.iter().filter(|key| key.section == Section::StreamType);
    let numbers: Vec<_> = keys.filter(|key| key.kind == "number").collect();
    assert!(numbers.len() > 12, "{numbers:?}");
    for key in numbers {
        let protocol = if key.protocols == "mqtt" { "mqtt" } else { "h1" };
        let name = key.name;
        for value in VALUES {
            let before = if name == "port" { "" } else { r#""port":1,"# };
            let rest = r#","mqtt_topic":"t"}}]}"#;
            let start =
                format!(r#"{{"s":[{{"t":{{"endpoint":"e","protocol":"{protocol}",{before}"#);
            let text = format!(r#"{start}"{name}":{value}{rest}"#);
            if name == "port" && value == 0 {
                // An error at the streamtype: it can never connect.
                continue;
            }
            let Some(acts) = effective(&text, rest, &format!("/s/0/t/{name}")) else { continue };
            let none = value == 0 && key.default == "none" && name != "client_cert";
            let expected = if none { Value::Null } else { value.into() };
            assert_eq!(acts, expected, "{name}: {value}");
        }
    }
    let entries = [
        (r#"{"retry":[{"r":{"#, "}}]}", "/retry/0/r", "conceal jitterpc svalidping svalidhup"),
        (r#"{"retry":[{"r":{"svalidhup":65535,"#, "}}]}", "/retry/0/r", "svalidping"),
        (r#"{"retry":[{"r":{"backoff":[7,"#, "]}}]}", "/retry/0/r", "backoff"),
        (r#"{"auth":[{"name":"a","#, "}]}", "/auth/0", "blob"),
        (r#"{"metrics":[{"#, "}]}", "/metrics/0", "us_schedule us_halflife min_outlier"),
    ];
    for (start, rest, pointer, keys) in entries {
        for (name, value) in keys.split(' ').flat_map(|name| VALUES.map(|value| (name, value))) {
            let (setting, pointer) = match name {
                "backoff" => (value.to_string(), format!("{pointer}/backoff/1")),
                _ => (format!(r#""{name}":{value}"#), format!("{pointer}/{name}")),
            };
            let text = format!("{start}{setting}{rest}");
            if let Some(acts) = effective(&text, rest, &pointer) {
                assert_eq!(acts, Value::from(value), "{text}");
            }
        }
    }
}

/// The statuses and states of `http_resp_map` are numbers too.
#[test]
fn mapped_states_are_those_given() {
    for value in VALUES {
        let rest = "}]}}]}";
        let text = format!(
            r#"{{"s":[{{"t":{{"endpoint":"e","port":1,"http_resp_map":[{{"404":{value}{rest}"#
        );
        if let Some(acts) = effective(&text, rest, "/s/0/t/http_resp_map/0/404") {
            assert_eq!(acts, Value::from(value));
        }
    }
}

#[test]
fn flags_and_texts_are_those_given() {
    for key in key_reference().iter().filter(|key| key.section == Section::StreamType) {
        let values = match key.kind {
            "flag" => ["true", "false"],
            "text" | "text `${}`" => ["\"GET\"", "\"x/y?z\""],
            _ => continue,
        };
        let protocols = key.protocols.split(' ').next().map(|word| word.replace("all", "h1"));
        let start = format!(r#"{{"s":[{{"t":{{"protocol":"{}","#, protocols.unwrap());
        let other = if key.name == "endpoint" {
            r#","port":1}}]}"#
        } else {
            r#","endpoint":"e","port":1}}]}"#
        };
        for value in values.into_iter().filter(|_| key.name != "protocol") {
            let text = format!("{start}\"{}\":{value}{other}", key.name);
            if let Some(acts) = effective(&text, other, &format!("/s/0/t/{}", key.name)) {
                assert_eq!(acts.to_string(), value, "{text}");
            }
        }
    }
}
