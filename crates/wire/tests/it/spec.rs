//! The specification as a document: its numbers, its links, and what is normative in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use sspc_sim::spec;

/// Each file of the specification and what is in it.
fn documents() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(spec::DIRECTORY).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".md") {
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    assert!(found.len() >= 10, "{:?}", found.keys());
    found
}

/// The statements: behind a number in bold who has to fulfil it, in brackets.
fn statements(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("**[").skip(1).map(|part| {
        let (id, rest) = part.split_once("]**").unwrap();
        (id, rest)
    })
}

/// True for what looks like a number of a statement: a capital, a hyphen, digits.
fn is_id(text: &str) -> bool {
    let Some((letter, digits)) = text.split_once('-') else { return false };
    letter.len() == 1
        && letter.bytes().all(|byte| byte.is_ascii_uppercase())
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// All numbers, each of which has one statement.
fn ids() -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for (name, text) in documents() {
        for (id, _) in statements(&text) {
            assert!(is_id(id), "{name}: {id:?}");
            assert!(ids.insert(id.to_owned()), "{name}: two statements have the number {id}");
        }
    }
    ids
}

#[test]
fn each_number_has_one_statement_and_the_letter_of_its_file() {
    let index = &documents()["README.md"];
    for (name, text) in documents() {
        for (id, _) in statements(&text) {
            let letter = &id[..1];
            let row = index.lines().find(|line| line.contains(&format!("| {letter} |"))).unwrap();
            let is_here = row.contains(&format!("({name})")) || name == "README.md";
            assert!(is_here, "{name}: [{id}]");
        }
    }
    assert!(ids().len() > 200);
}

#[test]
fn each_number_that_is_named_exists() {
    let ids = ids();
    for (name, text) in documents() {
        for part in text.split('[').skip(1) {
            let Some((named, _)) = part.split_once(']') else { continue };
            if is_id(named) {
                assert!(ids.contains(named), "{name} names [{named}], which is no statement");
            }
        }
    }
    for file in spec::all_files() {
        for vector in &file.vectors {
            assert!(vector.statements().count() > 0, "{}: {}", file.name, vector.name());
            for id in vector.statements() {
                assert!(ids.contains(id), "{}: {} names {id}", file.name, vector.name());
            }
            if let Some(violates) = vector.0.get("violates") {
                assert!(ids.contains(spec::text(violates, "statement")));
            }
        }
    }
}

#[test]
fn links_lead_to_the_file_that_has_the_number() {
    let all = documents();
    for (name, text) in &all {
        for part in text.split('[').skip(1) {
            let Some((named, rest)) = part.split_once("](") else { continue };
            let Some((target, _)) = rest.split_once(')') else { continue };
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { name } else { file };
            let path = format!("{}/{file}", spec::DIRECTORY);
            assert!(fs::exists(&path).unwrap(), "{name} leads to {target}");
            let Some(there) = all.get(file) else { continue };
            if is_id(named) {
                assert!(there.contains(&format!("**[{named}]**")), "{name}: [{named}]({target})");
            }
            let has_anchor = there.lines().any(|line| anchor_of(line).as_deref() == Some(anchor));
            assert!(anchor.is_empty() || has_anchor, "{name} leads to {target}");
        }
    }
}

/// What a heading is called in links.
fn anchor_of(line: &str) -> Option<String> {
    let title = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))?;
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
}

/// What is in capitals binds somebody: it stands in a statement, and that says whom.
#[test]
fn what_is_normative_has_a_number_and_a_class() {
    const CLASSES: [&str; 8] = [
        "all",
        "client",
        "client of bit 31",
        "proxy",
        "mux end",
        "mux client",
        "mux proxy",
        "packet end",
    ];
    for (name, text) in documents() {
        if name == "deployed.md" {
            continue;
        }
        for (id, rest) in statements(&text) {
            let classes = rest.trim_start_matches([' ', '|']);
            let classes = classes.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            let (classes, _) = classes.unwrap_or_else(|| panic!("[{id}] binds nobody"));
            for class in classes.split(", ") {
                assert!(CLASSES.contains(&class), "[{id}] binds {class:?}");
            }
        }
        let mut in_statement = false;
        for line in text.lines() {
            let goes_on = !line.is_empty() && !line.starts_with(['-', '#', '|', '`']);
            in_statement = line.contains("**[") || in_statement && goes_on;
            let binds = ["MUST", "SHOULD", "MAY"]
                .iter()
                .any(|word| line.split(|c: char| !c.is_alphabetic()).any(|found| found == *word));
            let explains = line.starts_with("The key words") || line.contains("RFC 2119");
            let counts = line.starts_with("- **[G-1]**");
            assert!(!binds || in_statement || explains || counts, "{name}: {line}");
        }
    }
}

/// A statement without a vector is not wrong; but those of the frames all have one.
#[test]
fn the_statements_about_frames_have_vectors() {
    let files = spec::all_files();
    let tested: BTreeSet<&str> = files
        .iter()
        .flat_map(|file| &file.vectors)
        .flat_map(|vector| vector.statements())
        .collect();
    let written = tested.len();
    assert!(written > 100, "{written} statements have vectors");
    let frames: Vec<String> = (1..=11).map(|number| format!("F-{number}")).collect();
    for id in frames.iter().filter(|id| !["F-4", "F-8"].contains(&&***id)) {
        assert!(tested.contains(&**id), "no vector tests {id}");
    }
}
