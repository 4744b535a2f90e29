//! What is shown is a policy that means the same, whatever the policy holds.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};
use sspc_policy::{Policy, Source};

fn parse(text: &str) -> Policy {
    let parsed = Policy::parse(&Source::new("p", text));
    parsed.unwrap_or_else(|report| panic!("{report}\n{text}")).policy
}

#[track_caller]
fn assert_shown_means_the_same(text: &str) {
    let policy = parse(text);
    let shown = policy.show();
    assert_eq!(parse(&shown), policy, "{shown}");
    for name in policy.streamtypes.keys() {
        let part = parse(&policy.show_streamtype(name).unwrap());
        assert_eq!(part.streamtype(name), policy.streamtype(name));
    }
}

/// Text that did not fit on a line of 72 columns was laid out as if it were a list of itself, for
/// ever: showing any policy with such a text overflowed the stack.
#[test]
fn texts_of_any_length_are_shown() {
    for length in (0..=200).chain([4_096]) {
        let text = "t".repeat(length);
        assert_shown_means_the_same(&format!(
            r#"{{"s":[{{"t":{{"endpoint":"e","port":80,"http_url":"{text}","payload_fmt":"{text}"}}}}]}}"#
        ));
    }
}

#[test]
fn the_layout_is_one_key_a_line() {
    let shown = parse(
        r#"{"retry":[{"r":{"backoff":[1,2]}}],"certs":[{"c":"MAA="}],
            "trust_stores":[{"store":["c"]}],
            "s":[{"t":{"endpoint":"e","port":80,"metadata":[{"a":"x-a","b":""}]}}]}"#,
    )
    .show();
    let start = r#"{
  "retry": [
    {
      "r": {
        "backoff": [1, 2],
        "conceal": 0,
        "jitterpc": 30,
        "svalidping": 0,
        "svalidhup": 0
      }
    }
  ],
  "certs": [
    {
      "c": "MAA="
    }
  ],
  "trust_stores": [
    {
      "name": "store",
      "stack": [
        "c"
      ]
    }
  ],
  "s": [
    {
      "t": {
        "endpoint": "e",
        "port": 80,
        "protocol": "h1",
"#;
    assert!(shown.starts_with(start), "{shown}");
    assert!(
        shown.contains("\n        \"metadata\": [{\"a\": \"x-a\"}, {\"b\": \"\"}],\n"),
        "{shown}"
    );
    assert!(shown.ends_with("\n      }\n    }\n  ]\n}\n"), "{shown}");
}

/// Text of any characters that JSON can hold, but NUL: short ones, and ones over any line's length.
fn text() -> impl Strategy<Value = String> {
    let most = prop_oneof![Just(8_usize), Just(80), Just(300)];
    most.prop_flat_map(|most| vec(any::<char>(), 0..most))
        .prop_map(|chars| chars.into_iter().filter(|c| *c != '\0').collect())
}

/// Text of one line that refers to no metadata.
fn line() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace(['\r', '\n', '$'], " "))
}

/// Text that a header can carry.
fn header_value() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.chars().filter(|c| !c.is_control()).collect())
}

/// A name of up to 30 bytes, of one to four bytes a character.
fn name() -> impl Strategy<Value = String> {
    "[a-zé\u{20ac}\u{1f600} \"\\\\/]{1,7}"
}

/// The DER of something that could be a certificate.
fn der() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..1_000).prop_map(|body| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[0x30, 0x82][..], &length, &body].concat()
    })
}

/// A list as the policy has it: one object an entry.
fn entries<V: Into<Value>>(pairs: impl IntoIterator<Item = (String, V)>) -> Value {
    pairs.into_iter().map(|(name, value)| json!({ name: value.into() })).collect()
}

prop_compose! {
    fn streamtype()(
        ws in any::<bool>(),
        url in line(),
        texts in vec(text(), 3),
        header_values in vec(header_value(), 4),
        options in btree_map(text(), text(), 0..20),
        metadata in btree_map(name(), prop_oneof![Just(""), Just("x-header")], 0..100),
        resp_map in btree_map(100_u16..1_000, 1_000_u16.., 0..=16),
        numbers in any::<[u32; 3]>(),
    ) -> Value {
        let mut keys = json!({
            "endpoint": "example.com", "port": 443, "http_url": url, "rideshare": texts[0],
            "payload_fmt": texts[1], "via-socks5": texts[2], "options": entries(options),
            "metadata": entries(metadata), "timeout_ms": numbers[0], "client_buflen": numbers[1],
            "proxy_buflen": numbers[2],
        });
        let more = if ws {
            json!({"protocol": "ws", "ws_subprotocol": header_values[0]})
        } else {
            let resp_map = resp_map.into_iter().map(|(status, state)| (status.to_string(), state));
            json!({
                "http_multipart_name": header_values[1], "http_mime_content_type": header_values[2],
                "http_auth_preamble": header_values[3], "http_resp_map": entries(resp_map),
            })
        };
        keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        keys
    }
}

prop_compose! {
    fn policy()(
        streamtypes in btree_map(name(), streamtype(), 0..4),
        certs in btree_map(text(), der(), 1..5),
        retry in btree_map(text(), vec(any::<u32>(), 0..=64), 0..4),
        kinds in btree_map(text().prop_filter("a name", |text| !text.is_empty()), text(), 0..4),
        reports in btree_map(text(), text(), 0..20),
        stack in vec(any::<prop::sample::Index>(), 1..=64),
    ) -> Value {
        use base64::Engine as _;
        let names: Vec<&String> = certs.keys().collect();
        let stack: Vec<&String> = stack.iter().map(|index| *index.get(&names)).collect();
        let encode = |der| base64::engine::general_purpose::STANDARD.encode(der);
        json!({
            "certs": entries(certs.iter().map(|(name, der)| (name.clone(), encode(der)))),
            "trust_stores": [{"name": "store", "stack": stack}],
            "retry": entries(retry.into_iter().map(|(name, delays)| (name, json!({"backoff": delays})))),
            "auth": kinds.iter().map(|(name, kind)| json!({"name": name, "type": kind, "streamtype": kind}))
                .collect::<Vec<_>>(),
            "metrics": reports.iter().map(|(name, report)| json!({"name": name, "report": report}))
                .collect::<Vec<_>>(),
            "s": entries(streamtypes),
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_shown_means_the_same_whatever_its_size_and_its_characters(policy in policy()) {
        assert_shown_means_the_same(&policy.to_string());
    }
}
