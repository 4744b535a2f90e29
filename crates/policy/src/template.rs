//! `${name}` substitution.

use std::fmt;

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

    /// The names that it refers to, with the byte range of each whole `${name}`.
    pub fn names(&self) -> Vec<(&str, std::ops::Range<usize>)> {
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
        let mut out = Vec::with_capacity(self.0.len());
        for part in Parts(&self.0) {
            match part? {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Name(name) => out.extend_from_slice(
                    lookup(name).ok_or_else(|| ExpandError::Undeclared(name.to_owned()))?,
                ),
            }
            if out.len() > EXPANSION_MAX {
                return Err(ExpandError::TooLong);
            }
        }
        Ok(out)
    }

    /// Like [`Template::expand`], for the path and query of a URL.
    ///
    /// Bytes that a request line cannot carry are percent-encoded: space, controls, `"`, `<`, `>`,
    /// `` ` `` and whatever is not ASCII. All else stays as it is, `%` too. A `#` in a value is
    /// encoded like them; one in the template itself begins the fragment, which is left out, since
    /// it is never sent (RFC 9110 §7.1).
    ///
    /// # Errors
    /// Those of `expand`, and CR, LF or NUL anywhere in the result.
    pub fn expand_url<'v>(
        &self,
        lookup: impl Fn(&str) -> Option<&'v [u8]>,
    ) -> Result<String, ExpandError> {
        let sent = match self.fragment() {
            Some(fragment) => self.0.get(..fragment.start).unwrap_or_default(),
            None => &self.0,
        };
        url_encode(&Template::new(sent).expand(lookup)?)
    }

    /// The expanded text of a whole URL up to its fragment.
    ///
    /// What begins the text is taken as a URL or a part of one, be it written here or the value of a
    /// name, and a `#` in it begins the fragment; so does any other `#` that is written here. In the
    /// values of later names it is data, and percent-encoded.
    ///
    /// # Errors
    /// Those of [`Template::expand`].
    pub(crate) fn expand_without_fragment<'v>(
        &self,
        lookup: impl Fn(&str) -> Option<&'v [u8]>,
    ) -> Result<Vec<u8>, ExpandError> {
        let mut out = Vec::with_capacity(self.0.len());
        for (index, part) in Parts(&self.0).enumerate() {
            let (text, is_data) = match part? {
                Part::Literal(text) => (text.as_bytes(), false),
                Part::Name(name) => {
                    let value =
                        lookup(name).ok_or_else(|| ExpandError::Undeclared(name.to_owned()))?;
                    (value, index > 0)
                }
            };
            if is_data {
                for byte in text {
                    match byte {
                        b'#' => out.extend_from_slice(b"%23"),
                        byte => out.push(*byte),
                    }
                }
            } else if let Some(end) = text.iter().position(|byte| *byte == b'#') {
                out.extend_from_slice(text.get(..end).unwrap_or_default());
                break;
            } else {
                out.extend_from_slice(text);
            }
            if out.len() > EXPANSION_MAX {
                return Err(ExpandError::TooLong);
            }
        }
        Ok(out)
    }

    /// Where the template itself has the fragment of a URL, with its `#`.
    pub(crate) fn fragment(&self) -> Option<std::ops::Range<usize>> {
        let mut at = 0;
        for part in Parts(&self.0) {
            match part {
                Ok(Part::Literal(text)) => match text.find('#') {
                    Some(hash) => return Some(at + hash..self.0.len()),
                    None => at += text.len(),
                },
                Ok(Part::Name(name)) => at += name.len() + 3,
                Err(_) => break,
            }
        }
        None
    }
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
        let whole = |text: &str| {
            let bytes = Template::new(text).expand_without_fragment(hash);
            String::from_utf8(bytes.unwrap()).unwrap()
        };
        assert_eq!(whole("http://h/${x}/b#c"), "http://h/C%23 d/b");
        assert_eq!(whole("${x}/b"), "C");
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
