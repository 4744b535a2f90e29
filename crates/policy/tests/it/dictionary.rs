//! The fuzzer's dictionary knows every key.

use std::collections::BTreeSet;

use sspc_policy::{Protocol, key_reference};

const DICTIONARY: &str = include_str!("../../../../fuzz/dictionaries/policy.dict");

/// Words that are no keys and mean something all the same.
const OTHERS: [&str; 12] = [
    "${a}",
    "content-type:",
    "default",
    "false",
    "http://",
    "https://",
    "le_compatible",
    "null",
    "sigv4",
    "true",
    "+@",
    "+/",
];

#[test]
fn the_dictionary_of_policies_has_every_word() {
    let protocols = Protocol::ALL.map(Protocol::as_str);
    let keys = key_reference().into_iter().map(|key| key.name);
    let words: BTreeSet<&str> = keys.chain(protocols).chain(OTHERS).collect();
    // Each in quotes, as in a policy, and that in quotes once more.
    let lines: Vec<String> = words.iter().map(|word| format!(r#""\"{word}\"""#)).collect();
    let expected =
        format!("# Checked by crates/policy/tests/it/dictionary.rs.\n{}\n", lines.join("\n"));
    assert!(DICTIONARY == expected, "fuzz/dictionaries/policy.dict must be\n{expected}");
}
