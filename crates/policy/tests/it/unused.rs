//! What is defined and not used is said where it is defined.

use sspc_policy::{Code, Policy, Source};

use crate::support::report;

fn unused(text: &str) -> Vec<String> {
    let report = report(text);
    let unused = report.diagnostics().iter().filter(|diagnostic| diagnostic.code == Code::Unused);
    unused.map(ToString::to_string).collect()
}

const S: &str = r#""s":[{"t":{"endpoint":"e","port":1"#;

#[test]
fn each_kind_of_definition() {
    for (defined, key, place, line) in [
        (
            r#""retry":[{"r":{"conceal":1}}]"#,
            "retry",
            12,
            "retry policy `r` is not used (no streamtype has it)",
        ),
        (
            r#""certs":[{"c":"MAMCAQE="}],"trust_stores":[{"r":["c"]}]"#,
            "tls_trust_store",
            46,
            "trust store `r` is not used (no streamtype has it)",
        ),
        (
            r#""auth":[{"name":"r","type":"sigv4"}]"#,
            "use_auth",
            18,
            "`auth` entry `r` is not used (no streamtype has it)",
        ),
    ] {
        let without = format!("{{{defined},{S}}}}}]}}");
        assert_eq!(unused(&without), [format!("p:1:{place}: warning: {line}")]);
        let with = format!("{{{defined},{S},\"{key}\":\"r\"}}}}]}}");
        assert_eq!(unused(&with), [""; 0], "{with}");
    }
}

#[test]
fn certificates_are_used_by_trust_stores_and_servers() {
    let certs = r#""certs":[{"a":"MAMCAQE="},{"b":"MAMCAQE="},{"c":"MAMCAQE="}]"#;
    let text = format!(
        r#"{{{certs},{S},"server":true,"server_cert":"b"}}}}],"trust_stores":[{{"s":["a"]}}]}}"#
    );
    assert_eq!(
        unused(&text),
        [
            "p:1:46: warning: certificate `c` is not used (no trust store has it)",
            "p:1:150: warning: trust store `s` is not used (no streamtype has it)",
        ]
    );
}

#[test]
fn a_policy_without_streamtypes_is_of_no_use() {
    for text in ["{}", r#"{"s":[]}"#] {
        let line = "p:1:1: warning: the policy has no streamtypes (the proxy refuses every client)";
        assert_eq!(unused(text), [line]);
    }
}

/// What is wrong about a reference would be said twice.
#[test]
fn of_a_policy_that_is_wrong_nothing_is_said_to_be_unused() {
    let text = format!(r#"{{"retry":[{{"default":{{}}}}],{S},"retry":"defualt"}}}}]}}"#);
    assert_eq!(unused(&text), [""; 0]);
}

#[test]
fn an_overlay_may_use_what_its_base_defines() {
    let base = Source::new("base", format!(r#"{{"retry":[{{"r":{{}}}}],{S}}}}}]}}"#));
    let overlay = Source::new("site", r#"{"s":[{"t":{"retry":"r"}}]}"#);
    assert_eq!(Policy::parse(&base).unwrap().warnings.warnings().count(), 1);
    let parsed = Policy::parse_layers(&base, &[overlay]).unwrap();
    assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
}
