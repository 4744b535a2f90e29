//! docs/security.md and docs/encryption.md: each claim has its test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

const PAGES: [&str; 2] =
    [include_str!("../../../../docs/security.md"), include_str!("../../../../docs/encryption.md")];

/// Rows of the tables whose second column is tests.
fn claims() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut claims = Vec::new();
    let mut lines = PAGES.into_iter().flat_map(str::lines);
    while lines.any(|line| line == "| claim | held by |") {
        let rows = lines.by_ref().skip(1).take_while(|line| line.starts_with('|'));
        claims.extend(rows.map(|row| {
            let (claim, tests) = row.trim_matches('|').rsplit_once('|').expect("two columns");
            (claim.trim(), tests.split('`').skip(1).step_by(2).collect())
        }));
    }
    claims
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether there is a test of this name, in any crate.
pub(crate) fn is_test(name: &str) -> bool {
    static SOURCES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut found = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut found);
        found.into_iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    });
    SOURCES.iter().any(|source| {
        let Some(at) = source.find(&format!("fn {name}()")) else { return false };
        source[..at].lines().rev().take(4).any(|line| line.contains("test"))
    })
}

#[test]
fn each_claim_of_the_security_pages_has_its_test() {
    let claims = claims();
    assert!(claims.len() > 20, "{claims:?}");
    for (claim, tests) in claims {
        assert!(!tests.is_empty(), "{claim:?} has no test");
        for test in tests {
            assert!(is_test(test), "{claim:?}: there is no test {test}");
        }
    }
}
