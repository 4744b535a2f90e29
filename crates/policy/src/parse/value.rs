//! Reading single values out of the tree, and saying what is wrong with them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::Ranged;

use crate::diagnostics::{Code, Diagnostic, Report};
use crate::quote::quote;
use crate::source::{Document, Location};

/// Numbers in quotes, as a regular expression.
pub(crate) const NUMBER: &str = "^[0-9]+$";
/// What [`is_token`] takes, as a regular expression.
pub(crate) const TOKEN_PATTERN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

/// Longest string in bytes, except for certificates.
pub const STRING_MAX: usize = 4_096;

/// Longest string that the reference keeps whole.
const REFERENCE_STRING_MAX: usize = 253;

/// Most entries of a list inside an entry, such as `metadata`, and of `metrics`.
pub const ITEMS_MAX: usize = 256;

/// Most entries of `s`, `retry`, `certs`, `trust_stores` and `auth` in one document.
pub const ENTRIES_MAX: usize = 10_000;

/// The document being read and where its faults go.
pub(crate) struct ParseContext<'a> {
    pub(crate) document: &'a Arc<Document>,
    pub(crate) report: &'a mut Report,
    /// What the reference would read otherwise.
    pub(crate) differences: &'a mut Report,
    /// Whether there is a policy below.
    pub(crate) is_overlay: bool,
    /// What this document has defined so far, by section and name.
    pub(crate) seen: HashMap<(&'static str, String), Location>,
}

impl ParseContext<'_> {
    pub(crate) fn location(&self, node: &impl Ranged) -> Location {
        let range = node.range();
        Location::new(self.document, range.start..range.end)
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.report.push(diagnostic);
    }

    pub(crate) fn error(&mut self, code: Code, node: &impl Ranged, message: impl Into<String>) {
        let location = self.location(node);
        self.push(Diagnostic::error(code, &location, message));
    }

    /// A value of the wrong type.
    pub(crate) fn wrong_type(&mut self, value: &Value<'_>, what: &str, expected: &str) {
        let location = self.location(value);
        let message = format!("{what} is {}", type_words(value));
        self.push(Diagnostic::error(Code::Type, &location, message).expected(expected));
    }

    /// Text that is not valid for its purpose.
    pub(crate) fn bad_value(&mut self, node: &impl Ranged, message: String, expected: &str) {
        let location = self.location(node);
        self.push(Diagnostic::error(Code::Value, &location, message).expected(expected));
    }

    /// A string of at most `max` bytes.
    pub(crate) fn text_of(&mut self, value: &Value<'_>, what: &str, max: usize) -> Option<String> {
        let Some(literal) = value.as_string_lit() else {
            self.wrong_type(value, what, "a string");
            return None;
        };
        let text = literal.value.as_ref();
        if text.len() > max {
            let message = format!("{what} has {} bytes", text.len());
            let location = self.location(value);
            let expected = format!("at most {max} bytes");
            self.push(Diagnostic::error(Code::Limit, &location, message).expected(expected));
            return None;
        }
        if let Some(at) = text.find('\0') {
            let location = self.within(value, at..at + 1);
            let message = format!("{what} contains NUL");
            self.push(Diagnostic::error(Code::Value, &location, message));
            return None;
        }
        Some(text.to_owned())
    }

    /// A string of ordinary length.
    pub(crate) fn text(&mut self, value: &Value<'_>, what: &str) -> Option<String> {
        let text = self.text_of(value, what, STRING_MAX)?;
        if text.len() > REFERENCE_STRING_MAX {
            // It comes to the reference's parser in pieces.
            let kept = text.len() % (REFERENCE_STRING_MAX + 1);
            let message = format!("libwebsockets keeps only the last {kept} bytes of {what}");
            let help = format!("at most {REFERENCE_STRING_MAX} are kept whole");
            self.differs(value, message, &help);
        }
        Some(text)
    }

    /// Something that the reference would read otherwise.
    pub(crate) fn differs(&mut self, node: &impl Ranged, message: impl Into<String>, help: &str) {
        let location = self.location(node);
        self.differences.push(Diagnostic::difference(&location, message, help));
    }

    /// A key that the reference takes for the name of another definition.
    pub(crate) fn begins_another(&mut self, property: &ObjectProp<'_>, kind: &str, rest: usize) {
        let name = quote(property.name.as_str());
        let message = format!("libwebsockets takes {name} for the name of a new {kind}");
        let help = match rest {
            0 => "no key comes after it, so that one is empty".to_owned(),
            1 => "the key after it becomes the new one's".to_owned(),
            rest => format!("the {rest} keys after it become the new one's"),
        };
        self.differs(&property.name, message, &help);
    }

    /// The reference takes a text that does not begin with a brace for a file's name.
    pub(crate) fn check_start(&mut self) {
        if !self.document.text.starts_with('{') {
            let location = Location::new(self.document, 0..0);
            let message =
                "libwebsockets takes a text that does not begin with `{` for a file's name";
            let help = "that is for texts in programs; in a file it is no matter";
            self.differences.push(Diagnostic::difference(&location, message, help));
        }
    }

    /// A number of at most `max`: digits, bare or in quotes.
    pub(crate) fn number(&mut self, value: &Value<'_>, what: &str, max: u64) -> Option<u64> {
        let expected = format!("a number from 0 to {max}");
        let text = match value {
            Value::NumberLit(number) => number.value,
            Value::StringLit(string) => string.value.as_ref(),
            Value::BooleanLit(literal) if literal.value => {
                let location = self.location(value);
                let message = format!("{what} is `true`, which is taken as 1");
                self.push(Diagnostic::warning(Code::Type, &location, message).expected(expected));
                return Some(1);
            }
            _ => {
                self.wrong_type(value, what, &expected);
                return None;
            }
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (prefix, rest) = text.split_at(digits);
        let location = self.location(value);
        if prefix.is_empty() || rest.starts_with(['e', 'E']) {
            let (code, message) = match text.strip_prefix('-') {
                Some(_) => (Code::Range, format!("{what} is negative: {}", quote(text))),
                None => (Code::Type, format!("{what} is {}", quote(text))),
            };
            self.push(Diagnostic::error(code, &location, message).expected(expected));
            return None;
        }
        let number = prefix.parse::<u64>().ok().filter(|number| *number <= max);
        match number {
            None => {
                let message = format!("{what} is out of range: {prefix}");
                self.push(Diagnostic::error(Code::Range, &location, message).expected(expected));
            }
            Some(number) if !rest.is_empty() => {
                let message = format!("{what} is {}, which is taken as {number}", quote(text));
                self.push(Diagnostic::warning(Code::Type, &location, message).expected(expected));
            }
            Some(_) => {}
        }
        number
    }

    /// A number that fits `T`.
    pub(crate) fn small<T: TryFrom<u64> + Into<u64> + Bounded>(
        &mut self,
        value: &Value<'_>,
        what: &str,
    ) -> Option<T> {
        self.number(value, what, T::MAX.into()).and_then(|number| T::try_from(number).ok())
    }

    /// A flag; anything but a literal leaves it as it is.
    pub(crate) fn flag(&mut self, value: &Value<'_>, what: &str) -> Option<bool> {
        if let Some(literal) = value.as_boolean_lit() {
            if self.is_overlay && !literal.value {
                let help = "flags can be set in an overlay, and not cleared";
                self.differs(value, format!("libwebsockets leaves {what} as it is"), help);
            }
            return Some(literal.value);
        }
        let location = self.location(value);
        let message = format!("{what} is {}, which neither sets nor clears it", type_words(value));
        self.push(
            Diagnostic::warning(Code::Type, &location, message)
                .expected("a bare `true` or `false`"),
        );
        None
    }

    /// The elements of a list, at most `max`: it is an error to have more. `None` if it is no list.
    pub(crate) fn elements<'v, 't>(
        &mut self,
        value: &'v Value<'t>,
        what: &str,
        of: &str,
        max: usize,
    ) -> Option<&'v [Value<'t>]> {
        let Some(array) = value.as_array() else {
            self.wrong_type(value, what, &format!("a list of {of}, in `[` and `]`"));
            return None;
        };
        if let Some(first) = array.elements.get(max) {
            self.too_many(first, what, max);
        }
        array.elements.get(..max.min(array.elements.len()))
    }

    pub(crate) fn object<'v, 't>(
        &mut self,
        value: &'v Value<'t>,
        what: &str,
    ) -> Option<&'v Object<'t>> {
        let object = value.as_object();
        if object.is_none() {
            self.wrong_type(value, what, "an object, in `{` and `}`");
        }
        object
    }

    /// The entries of a list of objects whose keys are names, at most `max`; several keys in an
    /// object are several entries. `None` if it is no list.
    pub(crate) fn entries<'v, 't>(
        &mut self,
        value: &'v Value<'t>,
        what: &str,
        of: &str,
        max: usize,
    ) -> Option<Vec<&'v ObjectProp<'t>>> {
        let elements = self.elements(value, what, of, usize::MAX)?;
        let item = format!("an entry of {what}");
        let mut entries = Vec::new();
        for element in elements {
            if self.report.is_closed() {
                break;
            }
            let Some(object) = self.object(element, &item) else { continue };
            for property in &object.properties {
                if entries.len() == max {
                    self.too_many(&property.name, what, max);
                    return Some(entries);
                }
                entries.push(property);
            }
        }
        Some(entries)
    }

    /// Reports a list of more than `max` entries, at the first one too many.
    pub(crate) fn too_many(&mut self, node: &impl Ranged, what: &str, max: usize) {
        let location = self.location(node);
        let message = format!("{what} has more than {max} entries");
        self.push(
            Diagnostic::error(Code::Limit, &location, message).expected(format!("at most {max}")),
        );
    }

    /// Notes that this document defines `name`; warns and is true if it has done so before.
    pub(crate) fn again(
        &mut self,
        section: &'static str,
        name: &str,
        node: &impl Ranged,
        effect: &str,
    ) -> bool {
        let location = self.location(node);
        match self.seen.insert((section, name.to_owned()), location.clone()) {
            None => false,
            Some(_) if self.report.is_full() => true,
            Some(first) => {
                let (line, column) = self.document.position(first.span.start);
                let message =
                    format!("{} is given a second time; first at {line}:{column}", quote(name));
                self.push(Diagnostic::warning(Code::Duplicate, &location, message).help(effect));
                true
            }
        }
    }

    /// The properties of an object, with a warning for each key that comes twice, unless it is
    /// one of `lists`, which add up.
    pub(crate) fn properties<'v, 't>(
        &mut self,
        object: &'v Object<'t>,
        lists: &[&str],
    ) -> &'v [ObjectProp<'t>] {
        let mut first: HashMap<&str, usize> = HashMap::new();
        for property in &object.properties {
            if self.report.is_full() {
                break;
            }
            let name = property.name.as_str();
            if lists.contains(&name) {
                continue;
            }
            if let Some(start) = first.insert(name, property.name.range().start) {
                let (line, column) = self.document.position(start);
                let location = self.location(&property.name);
                let message =
                    format!("{} is given a second time; first at {line}:{column}", quote(name));
                self.push(
                    Diagnostic::warning(Code::Duplicate, &location, message)
                        .help("the last one wins"),
                );
            }
        }
        &object.properties
    }

    /// A key that nobody knows.
    pub(crate) fn unknown_key(
        &mut self,
        property: &ObjectProp<'_>,
        of: &str,
        known: impl IntoIterator<Item = &'static str>,
    ) {
        if self.report.is_full() {
            return;
        }
        let name = property.name.as_str();
        let location = self.location(&property.name);
        let message = format!("unknown key {} in {of}", quote(name));
        let help = match self.report.suggest(name, known) {
            Some(suggestion) => format!("it is ignored; {suggestion}"),
            None => "it is ignored".to_owned(),
        };
        self.push(Diagnostic::warning(Code::UnknownKey, &location, message).help(help));
    }

    /// The location of a part of a string's text.
    pub(crate) fn within(&self, value: &Value<'_>, part: Range<usize>) -> Location {
        self.location(value).within(part)
    }
}

/// The largest value of a type, as numbers of the policy are bounded by it.
pub(crate) trait Bounded {
    const MAX: Self;
}

impl Bounded for u8 {
    const MAX: u8 = u8::MAX;
}

impl Bounded for u16 {
    const MAX: u16 = u16::MAX;
}

impl Bounded for u32 {
    const MAX: u32 = u32::MAX;
}

pub(crate) fn type_words(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(literal) if literal.value => "`true`",
        Value::BooleanLit(_) => "`false`",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "`null`",
    }
}

/// Whether this can be the name of an HTTP header or a method: a token of RFC 9110.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether this can stand in the value of an HTTP header.
pub(crate) fn is_header_value(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && c != '\t')
}

/// A fault in a name that streams are told apart by.
pub(crate) fn name_fault(name: &str, max: usize) -> Option<String> {
    if name.is_empty() {
        Some("is empty".to_owned())
    } else if name.len() > max {
        Some(format!("has {} bytes", name.len()))
    } else if name.chars().any(char::is_control) {
        Some("contains a control character".to_owned())
    } else {
        None
    }
}
