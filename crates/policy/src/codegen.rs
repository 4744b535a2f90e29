//! The names of a policy as constants of a program, so that a misspelt one does not compile.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::types::Policy;

/// What the constants are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Language {
    /// A module of Rust: each streamtype is a module with `STREAMTYPE` and `META_NAME`.
    Rust,
    /// A header for C and C++: `SS_STREAMTYPE` and `SS_STREAMTYPE_META_NAME`.
    C,
}

impl Policy {
    /// Constants for the names of streamtypes, and of the metadata that they declare.
    pub fn constants(&self, language: Language) -> String {
        match language {
            Language::Rust => self.rust(),
            Language::C => self.c(),
        }
    }

    fn rust(&self) -> String {
        let mut out = String::from("//! Made by `sspc policy codegen --rust`; not to be edited.\n");
        let mut modules = Identifiers::default();
        for streamtype in self.streamtypes.values() {
            let module = modules.take(&words(&streamtype.name).to_ascii_lowercase());
            let name = rust_literal(&streamtype.name);
            // Writing to a string cannot fail.
            let _ = write!(
                out,
                "\n/// Streamtype and metadata.\n#[allow(dead_code)]\npub mod {module} {{\n    \
                 /// The streamtype.\n    pub const STREAMTYPE: &str = {name};\n"
            );
            let mut items = Identifiers::default();
            for item in &streamtype.metadata {
                let constant =
                    items.take(&format!("META_{}", words(&item.name).to_ascii_uppercase()));
                let name = rust_literal(&item.name);
                let _ = write!(
                    out,
                    "    /// Name of a metadata item.\n    pub const {constant}: &str = {name};\n"
                );
            }
            out.push_str("}\n");
        }
        out
    }

    fn c(&self) -> String {
        let mut out = String::from(
            "/* Made by `sspc policy codegen --c`; not to be edited. */\n#ifndef SSPC_POLICY_NAMES_H\n\
             #define SSPC_POLICY_NAMES_H\n",
        );
        let mut taken = Identifiers::default();
        for streamtype in self.streamtypes.values() {
            let prefix =
                taken.take(&format!("SS_{}", words(&streamtype.name).to_ascii_uppercase()));
            let _ = write!(out, "\n#define {prefix} {}\n", c_literal(&streamtype.name));
            for item in &streamtype.metadata {
                let words = words(&item.name).to_ascii_uppercase();
                let constant = taken.take(&format!("{prefix}_META_{words}"));
                let _ = writeln!(out, "#define {constant} {}", c_literal(&item.name));
            }
        }
        out.push_str("\n#endif\n");
        out
    }
}

/// The identifiers that are taken.
#[derive(Default)]
struct Identifiers(HashSet<String>);

impl Identifiers {
    /// This identifier, or it with a number behind it if it is taken or reserved.
    fn take(&mut self, wanted: &str) -> String {
        let is_reserved = KEYWORDS.contains(&wanted);
        let mut identifier = if is_reserved { format!("{wanted}_") } else { wanted.to_owned() };
        let mut number = 2;
        while !self.0.insert(identifier.clone()) {
            identifier = format!("{wanted}_{number}");
            number += 1;
        }
        identifier
    }
}

/// Letters, digits and single `_` between them, with a letter first.
fn words(name: &str) -> String {
    let parts = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    let joined = parts.collect::<Vec<_>>().join("_");
    if joined.starts_with(|c: char| c.is_ascii_alphabetic()) {
        joined
    } else {
        format!("n{joined}")
    }
}

fn rust_literal(text: &str) -> String {
    format!("{text:?}")
}

/// Other bytes than plain ones are written in octal: at most three digits, so the next character is not read as one.
fn c_literal(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            // `??` begins a trigraph.
            b'"' | b'\\' | b'?' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out.push('"');
    out
}

/// Words that are no names of modules, in any edition of Rust.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "union",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_words() {
        for (name, identifier) in [
            ("mintest", "mintest"),
            ("__default", "default"),
            ("a-b.c", "a_b_c"),
            ("4u", "n4u"),
            ("é", "n"),
            ("", "n"),
        ] {
            assert_eq!(words(name), identifier, "{name}");
        }
    }

    #[test]
    fn identifiers_are_different() {
        let mut identifiers = Identifiers::default();
        let all = ["a", "a", "a_2", "a", "self"].map(|wanted| identifiers.take(wanted));
        assert_eq!(all, ["a", "a_2", "a_2_2", "a_3", "self_"]);
    }

    #[test]
    fn text_of_c_ends_where_it_ends() {
        assert_eq!(c_literal("a\"b\\c??/é1"), r#""a\"b\\c\?\?/\303\2511""#);
    }
}
