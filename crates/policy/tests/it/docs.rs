//! The documentation and the code say the same: keys, types, defaults, limits, and output.

use std::collections::BTreeSet;

use sspc_policy::{
    BACKOFF_MAX, ENTRIES_MAX, ITEMS_MAX, KeyInfo, METADATA_NAME_MAX, NESTING_MAX, Policy,
    RESP_MAP_MAX, SOURCE_MAX, STACK_MAX, STREAMTYPE_NAME_MAX, STRING_MAX, Section, Source, Status,
    TEMPLATE_NAME_MAX, VALUES_MAX, key_reference, not_behind_proxy,
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

/// Where the keys of each section are documented.
fn chapter(section: Section) -> (&'static str, &'static str) {
    match section {
        Section::Retry => ("The document", "retry"),
        Section::TrustStore => ("The document", "trust_stores"),
        Section::Auth => ("The document", "auth"),
        Section::Metric => ("The document", "metrics"),
        Section::StreamType => ("Streamtypes", ""),
        _ => ("The document", ""),
    }
}

/// The row that documents a key.
fn row(key: &KeyInfo) -> String {
    let KeyInfo { name, kind, default, protocols, meaning, .. } = key;
    let status = key.status_words();
    let cells = match key.section {
        Section::StreamType => vec![*kind, default, protocols, meaning, &status],
        Section::Top | Section::TrustStore => vec![*meaning, &status],
        _ => vec![*default, meaning, &status],
    };
    format!("| `{name}` | {} |", cells.join(" | "))
}

/// The rows of a part that document keys, and their line numbers; of all parts if it is empty and the
/// chapter is that of streamtypes.
fn key_rows(text: &str, section: Section) -> Vec<(usize, &str)> {
    let (chapter, part) = chapter(section);
    let (mut in_chapter, mut in_part) = ("", "");
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(heading) = line.strip_prefix("## ") {
            (in_chapter, in_part) = (heading, "");
        } else if let Some(heading) = line.strip_prefix("### ") {
            in_part = heading;
        }
        let here = in_chapter == chapter && (section == Section::StreamType || in_part == part);
        if here && line.starts_with("| `") {
            rows.push((number, line));
        }
    }
    rows
}

/// The key that a row is for.
fn key_of(row: &str) -> &str {
    row.trim_start_matches("| `").split('`').next().unwrap_or_default()
}

/// Each key has its row, with the table's words, and no row is for anything else; what is not done is
/// in a list of its own.
///
/// With `UPDATE_DOCS=1` rows that are there are brought up to date.
#[test]
fn every_key_has_one_row_with_the_tables_words() {
    let mut lines: Vec<String> = DOCS.lines().map(str::to_owned).collect();
    let mut faults = Vec::new();
    for section in Section::ALL {
        let documented = key_rows(DOCS, section);
        let keys = key_reference().into_iter().filter(|key| key.section == section);
        let keys: Vec<KeyInfo> = keys.collect();
        for (_, line) in &documented {
            if !keys.iter().any(|key| key.name == key_of(line)) {
                faults.push(format!("no such key: {line}"));
            }
        }
        for key in keys {
            let wanted = row(&key);
            let found: Vec<_> =
                documented.iter().filter(|(_, line)| key_of(line) == key.name).collect();
            match found.as_slice() {
                [(_, line)] if *line == wanted => {}
                [(number, _)] => {
                    faults.push(format!("line {} must be: {wanted}", number + 1));
                    lines[*number] = wanted;
                }
                [] => faults.push(format!("no row: {wanted}")),
                _ => faults.push(format!("several rows: {wanted}")),
            }
        }
    }
    let heading =
        lines.iter().position(|line| *line == "## What has no meaning behind a proxy").unwrap();
    let is_row = |(_, line): &(usize, &String)| line.starts_with('|');
    let rows = || lines.iter().enumerate().skip(heading).skip_while(|line| !is_row(line));
    let rows: Vec<usize> = rows().take_while(is_row).map(|(number, _)| number).skip(2).collect();
    let wanted: Vec<String> = not_behind_proxy()
        .iter()
        .map(|(what, instead)| format!("| {what} | {instead} |"))
        .collect();
    let (first, last) = (rows[0], rows[rows.len() - 1]);
    if lines[first..=last] != wanted {
        faults.push(format!("lines {} to {} must be:\n{}", first + 1, last + 1, wanted.join("\n")));
        lines.splice(first..=last, wanted);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.md");
        std::fs::write(path, lines.join("\n") + "\n").unwrap();
    }
    assert!(faults.is_empty(), "docs/policy.md; UPDATE_DOCS=1 mends rows:\n{}", faults.join("\n"));
}

/// A key that belongs to another one must name one that exists, and that does not belong to a third.
#[test]
fn keys_belong_to_keys_that_have_a_status_of_their_own() {
    let reference = key_reference();
    for key in &reference {
        if let Status::With(other) = key.status {
            let other = reference.iter().find(|known| known.name == other).unwrap();
            assert!(!matches!(other.status, Status::With(_)), "{} → {}", key.name, other.name);
        }
    }
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
