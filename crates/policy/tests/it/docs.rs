//! The documentation and the code say the same: keys, types, defaults, limits, and output.

use std::collections::BTreeSet;

use sspc_policy::{
    BACKOFF_MAX, ENTRIES_MAX, ITEMS_MAX, METADATA_NAME_MAX, NESTING_MAX, Policy, RESP_MAP_MAX,
    SOURCE_MAX, STACK_MAX, STREAMTYPE_NAME_MAX, STRING_MAX, Section, Source, TEMPLATE_NAME_MAX,
    VALUES_MAX, key_reference,
};

const DOCS: &str = include_str!("../../../../docs/policy.md");

/// The cells of each table row under headings for which `wanted` is true.
fn rows(wanted: impl Fn(&str, &str) -> bool) -> Vec<Vec<&'static str>> {
    let (mut chapter, mut part) = ("", "");
    let mut rows = Vec::new();
    for line in DOCS.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            (chapter, part) = (heading, "");
        } else if let Some(heading) = line.strip_prefix("### ") {
            part = heading;
        } else if let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix('|'))
            && wanted(chapter, part)
        {
            rows.push(row.split(" |").map(str::trim).collect());
        }
    }
    rows
}

/// What the code blocks with this information string hold.
fn blocks(info: &str) -> Vec<&'static str> {
    let fence = format!("\n```{info}\n");
    let starts = DOCS.match_indices(&fence).map(|(at, _)| at + fence.len());
    starts.filter_map(|start| DOCS[start..].split("```").next()).collect()
}

/// The keys in backticks of a row's first cell.
fn keys(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(", ").filter_map(|key| key.strip_prefix('`')?.strip_suffix('`'))
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    for (section, chapter, part) in [
        (Section::Top, "The document", ""),
        (Section::Retry, "The document", "retry"),
        (Section::TrustStore, "The document", "trust_stores"),
        (Section::Auth, "The document", "auth"),
        (Section::Metric, "The document", "metrics"),
    ] {
        let rows = rows(|c, p| c == chapter && p == part);
        let documented: BTreeSet<&str> = rows.iter().flat_map(|row| keys(row[0])).collect();
        let reference = key_reference();
        let known: BTreeSet<&str> =
            reference.iter().filter(|key| key.section == section).map(|key| key.name).collect();
        assert_eq!(documented, known, "{part}");
    }
}

#[test]
fn types_defaults_and_protocols_of_a_streamtypes_keys_are_true() {
    let documented: BTreeSet<Vec<&str>> = rows(|chapter, _| chapter == "Streamtypes")
        .into_iter()
        .filter(|row| row[0].starts_with('`'))
        .map(|row| row[..4].to_vec())
        .collect();
    let reference = key_reference();
    let names: Vec<String> = reference.iter().map(|key| format!("`{}`", key.name)).collect();
    let known: BTreeSet<Vec<&str>> = reference
        .iter()
        .zip(&names)
        .filter(|(key, _)| key.section == Section::StreamType)
        .map(|(key, name)| vec![name.as_str(), key.kind, key.default, key.protocols])
        .collect();
    let missing: Vec<_> = known.difference(&documented).collect();
    let wrong: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "missing {missing:#?}\nwrong {wrong:#?}");
}

#[test]
fn limits_are_true() {
    let expected = [
        ("a document", format!("{} MiB", SOURCE_MAX >> 20)),
        ("values of a document", VALUES_MAX.to_string()),
        ("nesting", format!("{NESTING_MAX} levels")),
        ("a string", format!("{STRING_MAX} bytes")),
        ("a streamtype's name", format!("{STREAMTYPE_NAME_MAX} bytes")),
        ("a metadata name", format!("{METADATA_NAME_MAX} bytes")),
        ("a name in `${}`", format!("{TEMPLATE_NAME_MAX} bytes")),
        ("entries of `http_resp_map`", RESP_MAP_MAX.to_string()),
        ("entries of `metadata`, `options` and `metrics`", ITEMS_MAX.to_string()),
        ("entries of `s`, `retry`, `certs`, `trust_stores` and `auth`", ENTRIES_MAX.to_string()),
        ("delays of `backoff`", BACKOFF_MAX.to_string()),
        ("certificates of a trust store", STACK_MAX.to_string()),
    ];
    let rows = rows(|chapter, _| chapter == "Limits");
    let documented: Vec<(&str, String)> =
        rows[1..].iter().filter(|row| row[0] != "---").map(|row| (row[0], row[1].into())).collect();
    assert_eq!(documented, expected);
}

#[test]
fn examples_are_right_and_overlays_fit() {
    let policies = blocks("json policy");
    assert_eq!(policies.len(), 2);
    for text in &policies {
        let parsed = Policy::parse(&Source::new("docs", *text)).unwrap();
        assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
    }
    let base = Policy::parse(&Source::new("docs", policies[0])).unwrap().policy;
    let [overlay] = blocks("json overlay")[..] else { panic!("one overlay") };
    let parsed = base.with_overlay(&Source::new("docs", overlay)).unwrap();
    assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
    assert_eq!(parsed.policy.streamtype("weather").unwrap().metadata.len(), 2);
}

#[test]
fn the_output_that_is_shown_is_the_output() {
    let [wrong] = blocks("json wrong")[..] else { panic!("one wrong policy") };
    let report = Policy::parse(&Source::new("policy.json", wrong)).unwrap_err();
    let [shown] = blocks("text report")[..] else { panic!("one report") };
    assert_eq!(report.render(false), shown);
    let [lines] = blocks("text lines")[..] else { panic!("one list of lines") };
    assert_eq!(format!("{}\n", report.diagnostics()[0]), lines);
}

#[test]
fn codes_are_the_documented_ones() {
    let rows = rows(|chapter, _| chapter == "Errors and warnings");
    let documented: BTreeSet<&str> = rows.iter().flat_map(|row| keys(row[0])).collect();
    let known: BTreeSet<&str> = sspc_policy::Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(documented, known);
    for code in sspc_policy::Code::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}
