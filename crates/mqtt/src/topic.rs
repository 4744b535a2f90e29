//! Names of topics, filters for them, and which match (4.7 of both editions).

use crate::EncodeError;
use crate::wire::is_text;

/// Whether messages can be published to this: not empty, at most 65,535 bytes of UTF-8 without NUL,
/// no wildcard.
///
/// # Errors
/// What is wrong; `field` says what it is, such as `topic`.
pub fn check_name(topic: &[u8], field: &'static str) -> Result<(), EncodeError> {
    check_text(topic, field)?;
    if topic.is_empty() || topic.iter().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(EncodeError::Topic(field));
    }
    Ok(())
}

/// Whether it can be subscribed to: as a name, but wildcards may be whole levels, `#` the last one.
///
/// # Errors
/// What is wrong.
pub fn check_filter(filter: &[u8]) -> Result<(), EncodeError> {
    check_text(filter, "topic filter")?;
    let levels: Vec<_> = shared(filter).split(|byte| *byte == b'/').collect();
    let last = levels.len() - 1;
    let is_bad = |(at, level): (usize, &&[u8])| {
        let has = |wildcard| level.contains(&wildcard);
        level.len() > 1 && (has(b'+') || has(b'#')) || **level == *b"#" && at != last
    };
    if shared(filter).is_empty() || levels.iter().enumerate().any(is_bad) {
        return Err(EncodeError::Filter);
    }
    Ok(())
}

fn check_text(text: &[u8], field: &'static str) -> Result<(), EncodeError> {
    match text {
        _ if text.len() > usize::from(u16::MAX) => Err(EncodeError::TooLong(field)),
        _ if !is_text(text) => Err(EncodeError::NotText(field)),
        _ => Ok(()),
    }
}

/// Whether a message to `topic` is one of those that `filter` asks for.
pub fn matches(filter: &[u8], topic: &[u8]) -> bool {
    let mut levels = topic.split(|byte| *byte == b'/');
    let mut first = true;
    for wanted in shared(filter).split(|byte| *byte == b'/') {
        // Wildcards do not stand for the broker's own topics.
        let may_be_any = !first || !topic.starts_with(b"$");
        first = false;
        if wanted == b"#" {
            return may_be_any;
        }
        match levels.next() {
            Some(level) if wanted == level => {}
            Some(_) if wanted == b"+" && may_be_any => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Without `$share/GROUP/`, which says only with whom messages are shared.
fn shared(filter: &[u8]) -> &[u8] {
    let rest = filter.strip_prefix(b"$share/".as_slice());
    let split = |rest: &'_ [u8]| rest.iter().position(|byte| *byte == b'/');
    match rest.and_then(|rest| rest.get(split(rest)? + 1..)) {
        Some(inner) => inner,
        None => filter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_by_level() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
            ("a/+", "a/b", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("+/+", "/b", true),
            ("+", "/b", false),
            ("#", "a/b/c", true),
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/#", "ab", false),
            ("a/b/#", "a", false),
            ("+/b/#", "a/b/c/d", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/+", "$SYS/x", true),
            ("$share/g/a/+", "a/b", true),
            ("$share/g/a/+", "b/b", false),
            ("$share/g/#", "$SYS/x", false),
        ] {
            assert_eq!(matches(filter.as_bytes(), topic.as_bytes()), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn names_have_no_wildcards_and_filters_have_them_as_whole_levels() {
        for good in ["a", "/", "a/b", "$SYS/x", "a//b", "é"] {
            assert_eq!(check_name(good.as_bytes(), "topic"), Ok(()), "{good}");
            assert_eq!(check_filter(good.as_bytes()), Ok(()), "{good}");
        }
        for good in ["+", "#", "a/+/b", "a/#", "$share/g/+/#"] {
            assert!(check_name(good.as_bytes(), "topic").is_err(), "{good}");
            assert_eq!(check_filter(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in ["", "a+", "#/a", "a/#/b", "a/b#", "a\0", "$share/g/", "$share/g/#/a"] {
            assert!(check_filter(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for bad in ["", "a\0b"] {
            assert!(check_name(bad.as_bytes(), "topic").is_err(), "{bad:?}");
        }
        assert!(check_name(b"\xff", "topic").is_err());
        assert!(check_name(&[b'x'; 65_536], "topic").is_err());
        assert!(check_name(&[b'x'; 65_535], "topic").is_ok());
    }
}
