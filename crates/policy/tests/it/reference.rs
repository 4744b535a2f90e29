//! What the reference would read or do otherwise is said to those who ask.

use sspc_policy::{Code, Policy, Source};

/// The differences of a policy as lines.
fn differences(text: &str) -> Vec<String> {
    let parsed = Policy::parse(&Source::new("p", text));
    let parsed = parsed.unwrap_or_else(|report| panic!("{text}\n{report}"));
    assert!(parsed.differences.diagnostics().iter().all(|d| d.code == Code::Reference));
    assert!(parsed.warnings.diagnostics().iter().all(|d| d.code != Code::Reference));
    parsed.differences.diagnostics().iter().map(ToString::to_string).collect()
}

/// What is said of a streamtype `t` with these keys that connects over h1.
fn of_stream(keys: &str) -> Vec<String> {
    differences(&format!(
        r#"{{"s":[{{"t":{{"endpoint":"e","port":1,"http_method":"GET",{keys}}}}}]}}"#
    ))
}

#[track_caller]
fn one(said: &[String], start: &str) {
    let [line] = said else { panic!("{said:#?}") };
    assert!(line.contains(&format!(": warning: libwebsockets {start}")), "{line}");
}

#[test]
fn a_policy_of_its_own_has_none() {
    let text = r#"{"retry":[{"r":{"backoff":[1000],"conceal":5}}],"certs":[{"c":"MAMCAQE="}],
        "trust_stores":[{"name":"st","stack":["c"]}],
        "s":[{"t":{"endpoint":"e","port":443,"tls":true,"protocol":"h2","http_method":"GET",
                   "http_url":"x","retry":"r","tls_trust_store":"st","metadata":[{"a":"x-a"}]}},
             {"r":{"endpoint":"e","port":1,"protocol":"raw"}}]}"#;
    assert_eq!(differences(text), [""; 0]);
}

#[test]
fn keys_that_it_does_not_know_begin_another_definition() {
    assert_eq!(
        of_stream(r#""aux":1,"tls":true,"timeout_ms":5"#),
        [
            "p:1:57: warning: libwebsockets takes `aux` for the name of a new streamtype (the 2 keys \
          after it become the new one's)"
        ]
    );
    // Keys that only this project has are no different.
    assert_eq!(
        of_stream(r#""allow_private":true"#),
        [
            "p:1:57: warning: libwebsockets takes `allow_private` for the name of a new streamtype (no \
          key comes after it, so that one is empty)"
        ]
    );
    let retry = r#"{"retry":[{"r":{"x":1,"conceal":5}}],"s":[{"t":{"endpoint":"e","port":1,"protocol":"raw","retry":"r"}}]}"#;
    one(&differences(retry), "takes `x` for the name of a new retry policy (the key after it");
}

#[test]
fn values_that_it_reads_otherwise() {
    let url = |length: usize| of_stream(&format!("\"http_url\":\"{}\"", "u".repeat(length)));
    assert_eq!(url(253), [""; 0]);
    one(&url(254), "keeps only the last 0 bytes of `http_url`");
    one(&url(300), "keeps only the last 46 bytes of `http_url`");
    let backoff = r#"{"retry":[{"r":{"backoff":[1,2]}}],"s":[{"t":{"endpoint":"e","port":1,"protocol":"raw","retry":"r"}}]}"#;
    one(&differences(backoff), "keeps only the first delay of `backoff` of retry policy `r`");
    one(&of_stream(r#""protocol":"h3""#), "4.4 refuses the policy: it does not know `h3`");
    one(
        &differences(&format!(
            "\n{}",
            r#"{"s":[{"t":{"endpoint":"e","port":1,"protocol":"raw"}}]}"#
        )),
        "takes a text that does not begin with `{` for a file's name",
    );
}

#[test]
fn certificates_and_trust_stores() {
    let stream = r#""s":[{"t":{"endpoint":"e","port":1,"protocol":"raw","tls":true,"tls_trust_store":"st"}}]"#;
    let policy = |certs: &str, stores: &str| {
        differences(&format!(r#"{{"certs":{certs},"trust_stores":{stores},{stream}}}"#))
    };
    let (cert, long) = (r#"[{"c":"MAMCAQE="}]"#, r#"[{"name":"st","stack":["c"]}]"#);
    assert_eq!(policy(cert, long), [""; 0]);
    one(&policy(cert, r#"[{"st":["c"]}]"#), "does not read trust store `st`");
    one(&policy(cert, r#"[{"stack":["c"],"name":"st"}]"#), "crashes: `stack` is before `name`");
    let many = r#"[{"name":"st","stack":["c","c","c","c","c","c","c"]}]"#;
    one(&policy(cert, many), "refuses the policy: trust store `st` is too long");
    let pem = r#"[{"c":"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----"}]"#;
    one(&policy(pem, long), "refuses the policy: certificate `c` is PEM");
}

#[test]
fn references_go_back_and_to_the_newest() {
    let stream = r#""s":[{"t":{"endpoint":"e","port":1,"protocol":"raw","retry":"def"}}]"#;
    let retry = |names: &[&str]| {
        let entries: Vec<String> =
            names.iter().map(|name| format!(r#"{{"{name}":{{}}}}"#)).collect();
        format!(r#""retry":[{}]"#, entries.join(","))
    };
    assert_eq!(differences(&format!("{{{},{stream}}}", retry(&["default", "def"]))), [""; 0]);
    one(
        &differences(&format!("{{{},{stream}}}", retry(&["def", "default"]))),
        "takes `def` for retry policy `default`",
    );
    one(
        &differences(&format!("{{{stream},{}}}", retry(&["def"]))),
        "refuses the policy: retry policy `def` is unknown",
    );
}

#[test]
fn what_it_does_otherwise_when_it_connects() {
    let stream = |keys: &str| differences(&format!(r#"{{"s":[{{"t":{{{keys}}}}}]}}"#));
    one(&stream(r#""endpoint":"e","port":1"#), "crashes when it connects streamtype `t`");
    one(
        &stream(r#""endpoint":"e","port":1,"http_method":"REPORT""#),
        "never sends the request of streamtype `t`",
    );
    one(
        &stream(r#""endpoint":"e","port":1,"protocol":"ws","http_url":"/x""#),
        "puts a second `/` in front of `http_url`",
    );
    one(&stream(r#""endpoint":"http://e","protocol":"ws""#), "asks for `//` with streamtype `t`");
    let long = format!(r#""endpoint":"{}","port":1,"protocol":"raw""#, "e".repeat(96));
    one(&stream(&long), "cannot connect streamtype `t`: its `endpoint` is too long");
    one(
        &stream(r#""endpoint":"e","port":1,"protocol":"mqtt","mqtt_subscribe":"x""#),
        "crashes if a client of streamtype `t` sends",
    );
    one(
        &stream(r#""endpoint":"e","port":1,"protocol":"mqtt","mqtt_topic":"x","http_url":"y""#),
        "overwrites one of the mqtt_* keys with `http_url`",
    );
}

#[test]
fn overlays() {
    let base = r#"{"retry":[{"r":{}}],"s":[{"t":{"endpoint":"e","port":1,"protocol":"raw","tls":true,"retry":"r"}}]}"#;
    let over = |text: &str| {
        let layers = Policy::parse_layers(&Source::new("p", base), &[Source::new("o", text)]);
        let differences = layers.unwrap().differences;
        differences.diagnostics().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(over(r#"{"s":[{"t":{"port":2}}]}"#), [""; 0]);
    one(&over(r#"{"s":[{"t":{"tls":false}}]}"#), "leaves `tls` of streamtype `t` as it is");
    one(&over(r#"{"s":[{"t":{"retry":"r"}}]}"#), "refuses the overlay: it names retry policy `r`");
    one(
        &over(r#"{"s":[{"u":{"endpoint":"e","port":1,"protocol":"raw"}}]}"#),
        "never shows a streamtype of an overlay",
    );
}
