//! `${name}` substitution.

use std::fmt;
use std::ops::Range;

/// Longest name between `${` and `}` in bytes.
pub const NAME_MAX: usize = 31;

/// Most bytes that one expansion may give: request lines and topics beyond it serve nobody.
pub const EXPANSION_MAX: usize = 65_535;

/// Text of the policy in which `${name}` stands for the value of a metadata item.
///
/// A `$` that is not followed by `{` stands for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Template(String);

/// Why a template could not be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpandError {
    /// The stream's `metadata` declares no item of this name.
    Undeclared(String),
    /// The name is longer than [`NAME_MAX`] bytes; this is how it starts.
    NameTooLong(String),
    /// A `${` without its `}`.
    Unterminated,
    /// CR, LF or NUL, which no URL, host or header may carry; the byte.
    Forbidden(u8),
    /// The result is longer than [`EXPANSION_MAX`] bytes.
    TooLong,
    /// A value makes a segment `.` or `..` of a path that the policy writes a part of.
    DotSegment,
    /// A value has this character, which would leave its level of a topic that the policy writes a
    /// part of.
    Topic(char),
}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExpandError::Undeclared(name) => {
                write!(f, "`${{{name}}}` is not declared in the stream's metadata")
            }
            ExpandError::NameTooLong(start) => {
                write!(f, "the name in `${{{start}…` is longer than {NAME_MAX} bytes")
            }
            ExpandError::Unterminated => f.write_str("`${` without a `}`"),
            ExpandError::Forbidden(b'\r') => f.write_str("a carriage return is not allowed here"),
            ExpandError::Forbidden(b'\n') => f.write_str("a line feed is not allowed here"),
            ExpandError::Forbidden(byte) => write!(f, "the byte {byte:#04x} is not allowed here"),
            ExpandError::TooLong => write!(f, "the result is longer than {EXPANSION_MAX} bytes"),
            ExpandError::DotSegment => {
                f.write_str("metadata may not make `.` or `..` a segment of the policy's path")
            }
            ExpandError::Topic('$') => {
                f.write_str("metadata may not begin the policy's topic with `$`")
            }
            ExpandError::Topic(c) => write!(f, "metadata may not have `{c}` in the policy's topic"),
        }
    }
}

impl std::error::Error for ExpandError {}

impl Template {
    /// A template of this text. Faults in it come out when it is expanded.
    pub fn new(text: impl Into<String>) -> Self {
        Template(text.into())
    }

    /// The text as the policy has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anything in it would be substituted.
    pub fn is_dynamic(&self) -> bool {
        self.0.contains("${")
    }

    /// The name, if the template is one `${name}` and nothing else.
    pub(crate) fn whole_name(&self) -> Option<&str> {
        let mut parts = Parts(&self.0);
        match (parts.next(), parts.next()) {
            (Some(Ok(Part::Name(name))), None) => Some(name),
            _ => None,
        }
    }

    /// Where the first of these characters is that the template itself has.
    pub(crate) fn find_literal(&self, wanted: &[char]) -> Option<usize> {
        let mut at = 0;
        for part in Parts(&self.0) {
            match part {
                Ok(Part::Literal(text)) => match text.find(wanted) {
                    Some(found) => return Some(at + found),
                    None => at += text.len(),
                },
                Ok(Part::Name(name)) => at += name.len() + 3,
                Err(_) => break,
            }
        }
        None
    }

    /// The names that it refers to, with the byte range of each whole `${name}`.
    pub fn names(&self) -> Vec<(&str, Range<usize>)> {
        let mut names = Vec::new();
        let mut at = 0;
        for part in Parts(&self.0) {
            match part {
                Ok(Part::Literal(text)) => at += text.len(),
                Ok(Part::Name(name)) => {
                    let end = at + name.len() + 3;
                    names.push((name, at..end));
                    at = end;
                }
                Err(_) => break,
            }
        }
        names
    }

    /// The text with each `${name}` replaced by its value, byte for byte.
    ///
    /// `lookup` gives the value for a name: `Some(b"")` for an item that is declared but not set,
    /// `None` for one that is not declared.
    ///
    /// # Errors
    /// The first name that is not declared or is malformed, or a result that is too long.
    pub fn expand<'v>(
        &self,
        lookup: impl Fn(&str) -> Option<&'v [u8]>,
    ) -> Result<Vec<u8>, ExpandError> {
        self.expand_checked(lookup, |_, _| Ok::<(), ExpandError>(())).map(|(text, _)| text)
    }

    /// Like [`Template::expand`], and where in the result each value is; it may be empty.
    ///
    /// # Errors
    /// Those of `expand`, and what `check` says of a name and its value.
    pub(crate) fn expand_checked<'v, E: From<ExpandError>>(
        &self,
        lookup: impl Fn(&str) -> Option<&'v [u8]>,
        check: impl Fn(&str, &[u8]) -> Result<(), E>,
    ) -> Result<(Vec<u8>, Vec<Range<usize>>), E> {
        let mut out = Vec::with_capacity(self.0.len());
        let mut values = Vec::new();
        for part in Parts(&self.0) {
            match part? {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Name(name) => {
                    let value = value_of(name, &lookup)?;
                    check(name, value)?;
                    values.push(out.len()..out.len() + value.len());
                    out.extend_from_slice(value);
                }
            }
            if out.len() > EXPANSION_MAX {
                return Err(ExpandError::TooLong.into());
            }
        }
        Ok((out, values))
    }

    /// Like [`Template::expand`], for topics and topic filters of MQTT.
    ///
    /// The client chooses all of it if the template is one `${name}`. In any other a value stays in the
    /// level where the policy puts it: it has no `/` and no wildcard, and does not begin the topic with
    /// the `$` of the broker's own.
    ///
    /// # Errors
    /// Those of `expand`, and [`ExpandError::Topic`].
    pub fn expand_topic<'v>(
        &self,
        lookup: impl Fn(&str) -> Option<&'v [u8]>,
    ) -> Result<Vec<u8>, ExpandError> {
        if self.whole_name().is_some() {
            return self.expand(lookup);
        }
        let (topic, values) = self.expand_checked(lookup, |_, value| {
            let leaves = |byte: &&u8| matches!(byte, b'/' | b'+' | b'#');
            value.iter().find(leaves).map_or(Ok(()), |&byte| Err(ExpandError::Topic(byte.into())))
        })?;
        if topic.first() == Some(&b'$') && values.iter().any(|value| value.contains(&0)) {
            return Err(ExpandError::Topic('$'));
        }
        Ok(topic)
    }

    /// Like [`Template::expand`], for the path and query of a URL.
    ///
    /// Bytes that a request line cannot carry are percent-encoded: space, controls, `"`, `<`, `>`,
    /// `` ` `` and whatever is not ASCII. All else stays as it is, `%` too. A `#` in a value is
    /// encoded like them; one in the template itself begins the fragment, which is left out, since
    /// it is never sent (RFC 9110 §7.1).
    ///
    /// What the template itself says of the path stays in the path: before it a `?` in a value is
    /// encoded, and no value may make a segment `.` or `..` beside it, percent-encoded or not.
    ///
    /// # Errors
    /// Those of `expand`, CR, LF or NUL anywhere in the result, and [`ExpandError::DotSegment`].
    pub fn expand_url<'v>(
        &self,
        lookup: impl Fn(&str) -> Option<&'v [u8]>,
    ) -> Result<String, ExpandError> {
        let sent = self.find_literal(&['#']).unwrap_or(self.0.len());
        let sent = Template::new(self.0.get(..sent).unwrap_or_default());
        let expanded = sent.expand_path_and_query(lookup)?;
        let path = sent.find_literal(&['?']).unwrap_or(sent.0.len());
        let path = sent.0.get(..path).unwrap_or_default();
        let binds = |part| matches!(part, Ok(Part::Literal(text)) if text.contains(|c| c != '/'));
        if Parts(path).any(binds) {
            let end = expanded.iter().position(|&byte| byte == b'?').unwrap_or(expanded.len());
            let made = expanded.get(..end).unwrap_or_default();
            if Template::new(path).gains_dot_segments(made)? {
                return Err(ExpandError::DotSegment);
            }
        }
        url_encode(&expanded)
    }

    /// The expanded text, in which a `?` that a value has before text of the template is encoded,
    /// unless the query has begun.
    fn expand_path_and_query<'v>(
        &self,
        lookup: impl Fn(&str) -> Option<&'v [u8]>,
    ) -> Result<Vec<u8>, ExpandError> {
        let parts = Parts(&self.0).collect::<Result<Vec<_>, _>>()?;
        let last_literal = parts.iter().rposition(|part| matches!(part, Part::Literal(_)));
        let mut out = Vec::with_capacity(self.0.len());
        let mut in_query = false;
        for (index, part) in parts.iter().enumerate() {
            match part {
                Part::Literal(text) => {
                    in_query |= text.contains('?');
                    out.extend_from_slice(text.as_bytes());
                }
                Part::Name(name) => {
                    let value = value_of(name, &lookup)?;
                    let in_path = !in_query && last_literal.is_some_and(|last| index < last);
                    for &byte in value {
                        match byte {
                            b'?' if in_path => out.extend_from_slice(b"%3F"),
                            byte => out.push(byte),
                        }
                    }
                }
            }
            if out.len() > EXPANSION_MAX {
                return Err(ExpandError::TooLong);
            }
        }
        Ok(out)
    }

    /// Whether values made more segments of this path `.` or `..` than the template itself has.
    pub(crate) fn gains_dot_segments(&self, expanded: &[u8]) -> Result<bool, ExpandError> {
        let without_values = self.expand(|_| Some(b"x"))?;
        Ok(dot_segments(expanded) > dot_segments(&without_values))
    }

    /// Where the template itself has the fragment of a URL, with its `#`.
    pub(crate) fn fragment(&self) -> Option<Range<usize>> {
        self.find_literal(&['#']).map(|hash| hash..self.0.len())
    }
}

fn value_of<'v>(
    name: &str,
    lookup: impl Fn(&str) -> Option<&'v [u8]>,
) -> Result<&'v [u8], ExpandError> {
    lookup(name).ok_or_else(|| ExpandError::Undeclared(name.to_owned()))
}

/// How many segments of a path some server takes for `.` or `..`: percent-encoded ones too, those
/// between backslashes, and those with parameters.
fn dot_segments(path: &[u8]) -> usize {
    let decoded: Vec<u8> = percent_encoding::percent_decode(path).collect();
    let segments = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
    let names = segments.filter_map(|segment| segment.split(|&byte| byte == b';').next());
    names.filter(|name| matches!(name, [b'.'] | [b'.', b'.'])).count()
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Template {
    fn from(text: &str) -> Self {
        Template::new(text)
    }
}

fn url_encode(bytes: &[u8]) -> Result<String, ExpandError> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\r' | b'\n' | 0 => return Err(ExpandError::Forbidden(byte)),
            ..=b' ' | 0x7f.. | b'"' | b'#' | b'<' | b'>' | b'`' => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
            _ => out.push(char::from(byte)),
        }
    }
    if out.len() > EXPANSION_MAX { Err(ExpandError::TooLong) } else { Ok(out) }
}

enum Part<'a> {
    Literal(&'a str),
    Name(&'a str),
}

/// Walks a template's text; ends after the first error.
struct Parts<'a>(&'a str);

impl<'a> Iterator for Parts<'a> {
    type Item = Result<Part<'a>, ExpandError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some(after) = self.0.strip_prefix("${") else {
            let (literal, rest) = self.0.split_at(self.0.find("${").unwrap_or(self.0.len()));
            self.0 = rest;
            return Some(Ok(Part::Literal(literal)));
        };
        self.0 = "";
        match after.split_once('}') {
            None => Some(Err(ExpandError::Unterminated)),
            Some((name, _)) if name.len() > NAME_MAX => {
                Some(Err(ExpandError::NameTooLong(name.chars().take(NAME_MAX).collect())))
            }
            Some((name, rest)) => {
                self.0 = rest;
                Some(Ok(Part::Name(name)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<&'static [u8]> {
        match name {
            "x" => Some(b"value"),
            "unset" => Some(b""),
            "space" => Some(b"a b\x7f\xc3\xa9%"),
            "crlf" => Some(b"a\r\nHost: evil"),
            _ => None,
        }
    }

    fn expand(text: &str) -> Result<String, ExpandError> {
        Template::new(text).expand(lookup).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn declared_names_are_replaced_and_unset_ones_vanish() {
        assert_eq!(expand("a/${x}/b${unset}${x}").unwrap(), "a/value/bvalue");
        assert_eq!(expand("").unwrap(), "");
    }

    #[test]
    fn values_stay_in_their_level_of_a_topic() {
        let with = |text: &str, value: &str| {
            let lookup = |name: &str| match name {
                "x" => Some(value.as_bytes()),
                _ => Some(b"".as_slice()),
            };
            Template::new(text).expand_topic(lookup).map(|topic| String::from_utf8(topic).unwrap())
        };
        for (text, value, expected) in [
            ("a/${x}/b", "lamp", "a/lamp/b"),
            ("a/${x}/b", "", "a//b"),
            ("a/${x}/b", "$lamp", "a/$lamp/b"),
            ("a/${x}/#", "lamp", "a/lamp/#"),
            ("$share/${x}/t", "group", "$share/group/t"),
            ("$SYS${unset}/${x}", "load", "$SYS/load"),
            ("${x}", "$SYS/#", "$SYS/#"),
            ("${x}", "a/+/b", "a/+/b"),
        ] {
            assert_eq!(with(text, value).as_deref(), Ok(expected), "{text} {value}");
        }
        for (text, value, forbidden) in [
            ("a/${x}/b", "+", '+'),
            ("a/${x}", "#", '#'),
            ("a/${x}/b", "lamp/set", '/'),
            ("a/${x}", "../b", '/'),
            ("${x}/b", "$SYS", '$'),
            ("${unset}${x}", "$SYS", '$'),
            ("${x}/b", "$share/g", '/'),
        ] {
            assert_eq!(with(text, value), Err(ExpandError::Topic(forbidden)), "{text} {value}");
        }
    }

    #[test]
    fn a_dollar_without_a_brace_is_itself() {
        assert_eq!(expand("$ $x $$ $").unwrap(), "$ $x $$ $");
        assert_eq!(expand("$${x}").unwrap(), "$value");
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(expand("a${nope}"), Err(ExpandError::Undeclared("nope".into())));
        assert_eq!(expand("a${x"), Err(ExpandError::Unterminated));
        let name = "n".repeat(32);
        assert!(matches!(expand(&format!("${{{name}}}")), Err(ExpandError::NameTooLong(_))));
        let name = "é".repeat(31);
        assert!(matches!(expand(&format!("${{{name}}}")), Err(ExpandError::NameTooLong(_))));
    }

    #[test]
    fn urls_are_encoded_and_cannot_break_the_request_line() {
        let url = |text: &str| Template::new(text).expand_url(lookup);
        assert_eq!(url("q=${space}").unwrap(), "q=a%20b%7F%C3%A9%");
        assert_eq!(url("get?${crlf}"), Err(ExpandError::Forbidden(b'\r')));
    }

    /// A fragment was sent, as `%23` and what follows.
    #[test]
    fn fragments_are_not_sent_but_values_are() {
        let hash = |name: &str| (name == "x").then_some(b"C# d".as_slice());
        let url = |text: &str| Template::new(text).expand_url(hash);
        assert_eq!(url("a#b").unwrap(), "a");
        assert_eq!(url("#b").unwrap(), "");
        assert_eq!(url("a?q=${x}&r#${x}").unwrap(), "a?q=C%23%20d&r");
        assert_eq!(Template::new("a${x}b#c").fragment(), Some(6..8));
        assert_eq!(Template::new("a${#}").fragment(), None);
    }

    /// A client could leave the path that the policy wrote, or drop its end into the query.
    #[test]
    fn what_the_policy_writes_of_a_path_stays() {
        let url = |text: &str, value: &str| {
            Template::new(text).expand_url(|name| (name == "x").then_some(value.as_bytes()))
        };
        for value in [
            "..", "../a", "a/../b", "a/..", ".", "%2e%2E/a", ".%2e", "..%2fa", "..%5Ca", "..\\a",
            "..;a=b/c", "a/..?b", "..#",
        ] {
            for template in ["/public/${x}", "v1/${x}/data", "v1/${x}?q", "/${x}/a"] {
                let text = url(template, value);
                // The `#` is data, and so no end of a segment.
                let fine = value == "..#" || (value == "a/..?b" && template != "/public/${x}");
                let expected = if fine { None } else { Some(ExpandError::DotSegment) };
                assert_eq!(text.err(), expected, "{template} {value}");
            }
            // Nothing of the policy's is left behind there.
            for template in ["${x}", "/${x}"] {
                assert!(url(template, value).is_ok(), "{template} {value}");
            }
        }
        assert_eq!(url("a/.${x}/b", ""), Err(ExpandError::DotSegment));
        assert_eq!(url("a/.${x}/b", "."), Err(ExpandError::DotSegment));
        assert_eq!(url("a/%2${x}/b", "e"), Err(ExpandError::DotSegment));
        assert_eq!(url("a/../${x}", "b").unwrap(), "a/../b");
        assert_eq!(url("a/${x}", "b/c...d/.e/f.").unwrap(), "a/b/c...d/.e/f.");
        assert_eq!(url("a?b=${x}", "../..").unwrap(), "a?b=../..");

        assert_eq!(url("v1/${x}/data", "a?b").unwrap(), "v1/a%3Fb/data");
        assert_eq!(url("v1/${x}?q=${x}", "a?b").unwrap(), "v1/a%3Fb?q=a?b");
        assert_eq!(url("v1/${x}", "a?b&c").unwrap(), "v1/a?b&c");
        assert_eq!(url("v1/${x}${x}", "a?b").unwrap(), "v1/a?ba?b");
    }

    #[test]
    fn names_come_with_their_ranges() {
        let template = Template::new("a${x}é${unset}");
        assert_eq!(template.names(), [("x", 1..5), ("unset", 7..15)]);
    }

    #[test]
    fn huge_expansions_stop() {
        let big = vec![b'a'; 40_000];
        let template = Template::new("${x}${x}");
        assert_eq!(template.expand(|_| Some(&big)), Err(ExpandError::TooLong));
    }
}
