//! Patterns: `*` stands for any bytes, also none, and `?` for one character.

use std::fmt;

/// A pattern for names and values. There is no escape: names and values with `*` or `?` in them match
/// patterns that have the same there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// A pattern; any text is one.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches everything.
    pub fn is_everything(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether all of the text matches. Takes time in proportion to the product of both lengths at most, and
    /// no memory.
    pub fn matches(&self, text: &str) -> bool {
        matches(&self.0, text)
    }

    /// The same of a value that may be anything: what is not UTF-8 matches only what matches everything.
    pub fn matches_bytes(&self, value: &[u8]) -> bool {
        match std::str::from_utf8(value) {
            Ok(text) => self.matches(text),
            Err(_) => self.is_everything(),
        }
    }
}

/// Goes on from the last `*` that could stand for more: those before it need no second look.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut last_star: Option<(&str, &str)> = None;
    loop {
        let mut rest = pattern.chars();
        match (rest.next(), text.chars().next()) {
            (Some('*'), _) => {
                pattern = rest.as_str();
                last_star = Some((pattern, text));
            }
            (Some(wanted), Some(is)) if wanted == is || wanted == '?' => {
                pattern = rest.as_str();
                text = after_first(text);
            }
            (None, None) => return true,
            _ => {
                let Some((behind, from)) = &mut last_star else { return false };
                // The star stands for one character more.
                if from.is_empty() {
                    return false;
                }
                *from = after_first(from);
                (pattern, text) = (*behind, *from);
            }
        }
    }
}

fn after_first(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The plain definition.
    fn defined(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                (0..=text.len()).any(|skipped| defined(rest, &text[skipped..]))
            }
            (Some((wanted, pattern)), Some((is, text))) => {
                (wanted == is || *wanted == '?') && defined(pattern, text)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_matches_as_defined(pattern in "[ab*?é]{0,8}", text in "[ab*é]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                Glob::new(&*pattern).matches(&text),
                defined(&chars(&pattern), &chars(&text))
            );
        }
    }

    #[test]
    fn a_value_is_matched_as_a_whole_whatever_is_in_it() {
        let path = Glob::new("/v1/*");
        assert!(path.matches_bytes(b"/v1/a/b?c"));
        assert!(path.matches_bytes(b"/v1/"));
        assert!(!path.matches_bytes(b"/v2/x\n/v1/"));
        assert!(path.matches_bytes(b"/v1/a\n\0b"));
        assert!(!path.matches_bytes(b"/v1/\xff"));
        assert!(Glob::new("*").matches_bytes(b"\xff"));
        assert!(!Glob::new("").matches("x") && !Glob::new("").is_everything());
    }

    #[test]
    fn a_hostile_value_does_not_make_it_slow() {
        let pattern = Glob::new("*a".repeat(50) + "b");
        assert!(!pattern.matches(&"a".repeat(64 * 1024)));
    }
}
