//! Overlays: what they change, what they leave, and what they may refer to.

use sspc_policy::{Parsed, Policy, Report, Source};

const BASE: &str = r#"{
  "retry": [{"default": {"backoff": [1000, 2000], "conceal": 5}}],
  "certs": [{"c1": "MAMCAQE="}, {"c2": "MAMCAQI="}],
  "trust_stores": [{"store": ["c1"]}],
  "s": [
    {"cap": {"endpoint": "cap.example", "port": 80}},
    {"captive": {"endpoint": "e", "port": 443, "tls": true, "nailed_up": true,
                 "tls_trust_store": "store", "retry": "default", "http_url": "a",
                 "metadata": [{"a": "x-a"}, {"b": "x-b"}]}}
  ]
}"#;

fn base() -> Policy {
    Policy::parse(&Source::new("base", BASE)).unwrap_or_else(|report| panic!("{report}")).policy
}

fn overlay(text: &str) -> Result<Parsed, Report> {
    base().with_overlay(&Source::new("over", text))
}

#[track_caller]
fn clean(text: &str) -> Policy {
    let parsed = overlay(text).unwrap_or_else(|report| panic!("{report}"));
    assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
    parsed.policy
}

#[test]
fn only_what_is_given_changes() {
    let policy = clean(r#"{"s":[{"captive":{"http_url":"b"}}]}"#);
    let mut expected = base();
    let mut captive = expected.streamtype("captive").unwrap().as_ref().clone();
    captive.http.url = "b".into();
    expected.streamtypes.insert("captive".into(), captive.into());
    assert_eq!(policy, expected);
}

#[test]
fn names_match_exactly() {
    let policy = clean(r#"{"s":[{"cap":{"port":81}}]}"#);
    assert_eq!(policy.streamtype("cap").unwrap().port, 81);
    assert_eq!(policy.streamtype("captive").unwrap().port, 443);
}

#[test]
fn false_and_null_take_things_back() {
    let policy = clean(
        r#"{"s":[{"captive":{"nailed_up":false,"retry":null,"http_url":null,
                             "metadata":[{"a":null}]}},
                 {"cap":null}]}"#,
    );
    let captive = policy.streamtype("captive").unwrap();
    assert!(!captive.nailed_up && captive.tls);
    assert!(captive.retry.is_none() && captive.http.url.is_empty());
    assert_eq!(captive.metadata.len(), 1);
    assert!(policy.streamtype("cap").is_none());
}

#[test]
fn metadata_is_replaced_by_name_and_else_appended() {
    let policy = clean(r#"{"s":[{"captive":{"metadata":[{"c":""},{"a":"y-a"}]}}]}"#);
    let items: Vec<(&str, Option<&str>)> = policy
        .streamtype("captive")
        .unwrap()
        .metadata
        .iter()
        .map(|item| (item.name.as_str(), item.header.as_deref()))
        .collect();
    assert_eq!(items, [("a", Some("y-a")), ("b", Some("x-b")), ("c", None)]);
}

#[test]
fn new_streamtypes_may_refer_to_the_base() {
    let policy = clean(
        r#"{"s":[{"new":{"endpoint":"e","port":443,"tls":true,"retry":"default",
                         "tls_trust_store":"store"}}]}"#,
    );
    let new = policy.streamtype("new").unwrap();
    assert_eq!(new.retry.as_ref().unwrap().conceal, 5);
    assert_eq!(new.trust_store.as_ref().unwrap().certs.len(), 1);
}

#[test]
fn changes_to_what_is_referred_to_reach_the_streams() {
    let policy = clean(
        r#"{"retry":[{"default":{"conceal":7}}],"trust_stores":[{"store":["c2","c1"]}],
            "certs":[{"c1":"MAMCAQk="}]}"#,
    );
    let captive = policy.streamtype("captive").unwrap();
    let retry = captive.retry.as_ref().unwrap();
    assert_eq!((retry.conceal, &retry.backoff_ms[..]), (7, &[1000, 2000][..]));
    assert_eq!(
        captive.trust_store.as_ref().unwrap().certs,
        [[0x30, 3, 2, 1, 2].into(), [0x30, 3, 2, 1, 9].into()]
    );
}

#[test]
fn a_change_of_protocol_takes_the_old_family_along() {
    let policy = overlay(r#"{"s":[{"captive":{"protocol":"mqtt","mqtt_topic":"x"}}]}"#);
    let captive = policy.unwrap().policy.streamtype("captive").unwrap().clone();
    assert!(captive.http.url.is_empty());
    assert_eq!(captive.metadata.len(), 2);
}

#[test]
fn a_later_duplicate_in_an_overlay_starts_from_the_base_again() {
    let parsed =
        overlay(r#"{"s":[{"cap":{"port":81,"tls":true}},{"cap":{"perf":true}}]}"#).unwrap();
    let cap = parsed.policy.streamtype("cap").unwrap();
    assert_eq!((cap.port, cap.tls, cap.perf), (80, false, true));
    assert_eq!(parsed.warnings.warnings().count(), 1);
}

#[test]
fn faults_are_in_the_overlay_and_leave_the_base_alone() {
    let before = base();
    let report = before
        .with_overlay(&Source::new(
            "over",
            "{\"s\":[{\"captive\":{\"retry\":\"nope\",\n\"http_url\":\"${zz}\",\"metadata\":[{\"b\":null}]}}]}",
        ))
        .unwrap_err();
    let lines: Vec<String> = report.to_string().lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "over:1:27: error: `retry` of streamtype `captive` refers to retry policy `nope`, \
             which is not defined",
            "over:2:13: error: `http_url` of streamtype `captive` uses `zz`, which the \
             streamtype's `metadata` does not declare (add `{\"zz\": \"\"}` to `metadata`)",
        ]
    );
    assert_eq!(before, base());
}

#[test]
fn what_the_overlay_breaks_in_the_base_is_found_at_its_name() {
    let report = base()
        .with_overlay(&Source::new(
            "one",
            r#"{"s":[{"cap":{"http_url":"${q}","metadata":[{"q":""}]}}]}"#,
        ))
        .unwrap()
        .policy
        .with_overlay(&Source::new("two", r#"{"s":[{"cap":{"metadata":[{"q":null}]}}]}"#))
        .unwrap_err();
    assert!(
        report.to_string().starts_with("two:1:8: error: `http_url` of streamtype `cap` uses `q`"),
        "{report}"
    );
}

#[test]
fn layers_may_complete_each_other() {
    let base = Source::new("base", r#"{"s":[{"t":{"port":80,"tls":1}}]}"#);
    let over = Source::new("over", r#"{"s":[{"t":{"endpoint":"e"}}]}"#);
    assert!(Policy::parse(&base).is_err());
    let parsed = Policy::parse_layers(&base, std::slice::from_ref(&over)).unwrap();
    assert_eq!(parsed.policy.streamtype("t").unwrap().port, 80);
    assert_eq!(parsed.warnings.diagnostics()[0].file, "base");
    // A layer that cannot be read does not drown its own fault in consequences.
    let broken = Source::new("base", "{");
    let report =
        Policy::parse_layers(&Source::new("base", "{]"), &[over.clone(), broken]).unwrap_err();
    assert_eq!(report.errors().count(), 1, "{report}");
}
