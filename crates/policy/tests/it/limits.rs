//! What a large policy may take. The sizes here would run out of memory, or of patience, if anything
//! were not bounded.

use std::fmt::Write as _;
use std::sync::Arc;

use sspc_policy::{DIAGNOSTICS_MAX, Policy, Source, VALUES_MAX};

fn errors(text: String) -> Vec<String> {
    let report = Policy::parse(&Source::new("p", text)).err();
    report.iter().flat_map(|report| report.errors()).map(ToString::to_string).collect()
}

/// A document of 16 MB made a tree of 1 GB.
#[test]
fn the_number_of_values_is_limited() {
    // A list, and in it objects with a value each.
    let list = |count: usize| format!(r#"{{"x":[{}]}}"#, vec![r#"{"a":1}"#; count].join(","));
    let most = (VALUES_MAX - 1) / 2;
    assert_eq!(errors(list(most)), [""; 0]);
    let said = errors(list(most + 1));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with("error: the policy has more than 250000 values"), "{said:?}");
    // It ends where the limit is, not at the end: the rest is not even looked at.
    let said = errors(format!("{}\u{1}", list(2 * most)));
    assert_eq!(said.len(), 1, "{said:?}");
}

/// Each mention of a certificate was a copy: a policy of 4 MB took 40 GB.
#[test]
fn certificates_are_kept_once() {
    use base64::Engine as _;
    let mut der = vec![0x30, 0x82, 0xbb, 0x80];
    der.resize(48_004, 0);
    let cert = base64::engine::general_purpose::STANDARD.encode(&der);
    let mut stores = String::new();
    let stack = vec![r#""c""#; 64].join(",");
    for store in 0..2_000 {
        let comma = if store == 0 { "" } else { "," };
        write!(stores, r#"{comma}{{"s{store}":[{stack}]}}"#).unwrap();
    }
    let text = format!(r#"{{"certs":[{{"c":"{cert}"}}],"trust_stores":[{stores}]}}"#);
    let policy = Policy::parse(&Source::new("p", text)).unwrap().policy;
    let one = &policy.certs["c"];
    assert_eq!(one.len(), der.len());
    for store in policy.trust_stores.values() {
        assert_eq!(store.certs.len(), 64);
        assert!(store.certs.iter().all(|cert| Arc::ptr_eq(cert, one)));
    }
}

/// A fault a byte was 16 million diagnostics, of which a thousand were kept.
#[test]
fn reading_stops_where_nothing_more_would_be_said() {
    for (text, code) in [
        (format!(r#"{{"a":"{}"#, "\u{1}".repeat(15 << 20)), "control character"),
        (format!(r#"{{"a":{}"#, "é".repeat(7 << 20)), "outside a string"),
    ] {
        let said = errors(text);
        assert_eq!(said.len(), DIAGNOSTICS_MAX);
        assert!(said.iter().all(|line| line.contains(code)), "{:?}", said.last());
    }
}

#[test]
fn a_file_that_never_ends_is_refused() {
    let error = Source::read("/dev/zero").unwrap_err();
    assert_eq!(error.to_string(), "larger than 16 MiB");
}

/// Each overlay copied all that was there before it.
#[test]
fn overlays_are_no_more_work_than_they_are_long() {
    let mut base = String::new();
    for name in 0..5_000 {
        let comma = if name == 0 { "" } else { "," };
        write!(base, r#"{comma}{{"t{name}":{{"endpoint":"e","port":80}}}}"#).unwrap();
    }
    let base = Source::new("base", format!(r#"{{"s":[{base}]}}"#));
    let overlays: Vec<Source> = (0..3_000)
        .map(|n| Source::new("o", format!(r#"{{"s":[{{"t{n}":{{"port":{}}}}}]}}"#, n + 1)))
        .collect();
    let policy = Policy::parse_layers(&base, &overlays).unwrap().policy;
    assert_eq!(policy.streamtypes.len(), 5_000);
    assert_eq!(policy.streamtype("t2999").unwrap().port, 3_000);
    assert_eq!(policy.streamtype("t3000").unwrap().port, 80);
}
