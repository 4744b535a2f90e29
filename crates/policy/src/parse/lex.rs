//! From text to a JSON tree: the policy's dialect on top of a strict JSON parser.
//!
//! The dialect: `#` comments, a comma before `]`, documents that end too early, and a `}` where
//! `]` belongs or one `}` too many, which deployed policies have. A first pass over the bytes
//! blanks the comments out, byte for byte so that positions stay true, mends the brackets, and
//! stops what would only confuse the parser: deep nesting, and strings and brackets that do not
//! close. It reports more than one fault where it can tell where the next thing starts.

use std::ops::Range;
use std::sync::Arc;

use jsonc_parser::ast::Value;
use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use crate::diagnostics::{Code, Diagnostic, Report};
use crate::quote::quote;
use crate::source::{Document, Location, SOURCE_MAX};

/// Most values of one document, keys not counted: what the tree takes goes by their number, some
/// hundred bytes each, and 10,000 streamtypes of 20 keys have fewer.
pub const VALUES_MAX: usize = 250_000;

/// Deepest nesting of objects and arrays. A policy needs six.
pub const NESTING_MAX: usize = 64;

/// The document's text as strict JSON of the same positions; `None` if there is no going on.
pub(crate) fn prepare(document: &Arc<Document>, report: &mut Report) -> Option<String> {
    let mut lexer = Lexer {
        document,
        report,
        out: document.text.clone().into_bytes(),
        open: Vec::new(),
        last: None,
        values: 0,
        key: false,
        done: false,
    };
    lexer.run()?;
    // Only ASCII was put in, and only for whole characters.
    String::from_utf8(lexer.out).ok()
}

/// Parses prepared text; the tree's positions are the document's.
pub(crate) fn tree<'t>(
    document: &Arc<Document>,
    text: &'t str,
    report: &mut Report,
) -> Option<Value<'t>> {
    let options = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        // Before `]` it is the dialect's; before `}` the first pass has reported it.
        allow_trailing_commas: true,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    match parse_to_ast(text, &CollectOptions::default(), &options) {
        Ok(result) => {
            if result.value.is_none() {
                let location = Location::new(document, 0..0);
                let diagnostic =
                    Diagnostic::error(Code::Syntax, &location, "the document is empty");
                report.push(diagnostic.expected("`{`"));
            }
            result.value
        }
        Err(error) => {
            report.push(syntax_error(document, &error));
            None
        }
    }
}

fn syntax_error(document: &Arc<Document>, error: &ParseError) -> Diagnostic {
    use ParseErrorKind as Kind;
    let range = error.range();
    let location = Location::new(document, range.start..range.end);
    let found = match document.slice(&location.span) {
        "" => "the end".to_owned(),
        text => quote(text),
    };
    let (message, expected) = match error.kind() {
        Kind::ExpectedColonAfterObjectKey => (format!("found {found} after a key"), "`:`"),
        Kind::ExpectedObjectValue | Kind::UnexpectedColon => {
            (format!("found {found} in place of a value"), "a value")
        }
        Kind::ExpectedComma => ("two values without a comma between them".to_owned(), "`,`"),
        Kind::MultipleRootJsonValues => {
            (format!("found {found} after the end of the policy"), "nothing more")
        }
        Kind::ExpectedStringObjectProperty | Kind::UnexpectedTokenInObject => {
            (format!("found {found} in an object"), "a key in double quotes, or `}`")
        }
        Kind::UnexpectedWord | Kind::UnexpectedToken | Kind::UnexpectedComma => (
            format!("found {found} in place of a value"),
            "a string, number, `true`, `false`, `null`, `{` or `[`",
        ),
        Kind::String(kind) => {
            (format!("{} in a string", kind.to_string().to_lowercase()), "JSON's escapes")
        }
        Kind::HexadecimalNumbersNotAllowed
        | Kind::UnaryPlusNumbersNotAllowed
        | Kind::BareDecimalPointNumbersNotAllowed
        | Kind::NonFiniteNumbersNotAllowed
        | Kind::ExpectedDigit
        | Kind::ExpectedDigitFollowingNegativeSign
        | Kind::ExpectedPlusMinusOrDigitInNumberLiteral => {
            (format!("{found} is not a number of JSON"), "decimal digits")
        }
        other => (other.to_string().to_lowercase(), "JSON"),
    };
    Diagnostic::error(Code::Syntax, &location, message).expected(expected)
}

struct Lexer<'a> {
    document: &'a Arc<Document>,
    report: &'a mut Report,
    /// The text, with what JSON does not know blanked out.
    out: Vec<u8>,
    /// The brackets that are open, and where.
    open: Vec<(u8, usize)>,
    /// The last byte that means something, and where it is.
    last: Option<(u8, usize)>,
    /// How many values there can be so far: one after each comma, one in each bracket.
    values: usize,
    /// Whether the next string in an object is a key.
    key: bool,
    /// Whether a bracket came after the document was closed: one remark on them is enough.
    done: bool,
}

impl Lexer<'_> {
    fn report(&mut self, code: Code, span: Range<usize>, message: impl Into<String>) -> &mut Self {
        let location = Location::new(self.document, span);
        self.report.push(Diagnostic::error(code, &location, message));
        self
    }

    fn fail(&mut self, code: Code, span: Range<usize>, message: &str, help: &str) -> Option<()> {
        let location = Location::new(self.document, span);
        self.report.push(Diagnostic::error(code, &location, message).help(help));
        None
    }

    /// Says how something that is not JSON is taken.
    fn mend(&mut self, at: usize, message: String, expected: &str, help: &str) {
        if self.report.is_full() {
            return;
        }
        let location = Location::new(self.document, at..at + 1);
        let diagnostic = Diagnostic::warning(Code::Syntax, &location, message).help(help);
        self.report.push(match expected {
            "" => diagnostic,
            expected => diagnostic.expected(expected),
        });
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.document.text.as_bytes().get(at).copied()
    }

    fn blank(&mut self, span: Range<usize>) {
        if let Some(bytes) = self.out.get_mut(span) {
            bytes.fill(b' ');
        }
    }

    fn run(&mut self) -> Option<()> {
        if self.document.text.len() > SOURCE_MAX {
            let message = format!("the policy is larger than {} MiB", SOURCE_MAX >> 20);
            self.report(Code::Limit, 0..0, message);
            return None;
        }
        let mut at = 0;
        if self.document.text.starts_with('\u{feff}') {
            at = '\u{feff}'.len_utf8();
            self.blank(0..at);
        }
        while let Some(byte) = self.byte(at) {
            if self.report.is_closed() {
                return None;
            }
            if matches!(byte, b'{' | b'[' | b',') {
                self.values += 1;
                if self.values > VALUES_MAX {
                    let message = format!("the policy has more than {VALUES_MAX} values");
                    self.report(Code::Limit, at..at + 1, message);
                    return None;
                }
            }
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    at += 1;
                    continue;
                }
                b'#' => {
                    let end = self.comment_end(at);
                    self.blank(at..end);
                    at = end;
                    continue;
                }
                b'"' => {
                    let end = self.string(at)?;
                    self.last = Some((b'"', at));
                    at = end;
                    continue;
                }
                b'{' | b'[' => self.opens(byte, at)?,
                b'}' | b']' => self.closes(byte, at)?,
                b',' => self.key = self.open.last().is_some_and(|(bracket, _)| *bracket == b'{'),
                b':' => self.key = false,
                b'/' => {
                    return self.fail(
                        Code::Syntax,
                        at..at + 1,
                        "found `/` outside a string",
                        "comments start with `#`",
                    );
                }
                b'\'' => {
                    return self.fail(
                        Code::Syntax,
                        at..at + 1,
                        "found `'` outside a string",
                        "strings are in double quotes",
                    );
                }
                0x80.. => {
                    let rest = self.document.text.get(at..).unwrap_or("");
                    let character = rest.chars().next().unwrap_or('\u{fffd}');
                    let span = at..at + character.len_utf8();
                    let message = format!("found U+{:04X} outside a string", u32::from(character));
                    self.report(Code::Syntax, span.clone(), message).blank(span.clone());
                    at = span.end;
                    continue;
                }
                _ => {}
            }
            self.last = Some((byte, at));
            at += 1;
        }
        self.ends()
    }

    /// Passes over the string that starts at `start`; returns where it ends.
    fn string(&mut self, start: usize) -> Option<usize> {
        let mut at = start + 1;
        loop {
            match self.byte(at) {
                Some(b'"') => return Some(at + 1),
                Some(b'\\') if self.byte(at + 1).is_some_and(|byte| byte >= b' ') => at += 2,
                Some(b'\n' | b'\r') => {
                    return self
                        .fail(
                            Code::Syntax,
                            start..at,
                            "this string does not end on its line",
                            "close it with `\"`, and write a line feed in it as `\\n`",
                        )
                        .map(|()| at);
                }
                Some(control @ ..b' ') => {
                    let message = format!("a string contains the control character {control:#04x}");
                    let location = Location::new(self.document, at..at + 1);
                    let help = match control {
                        b'\t' => "write a tab as `\\t`".to_owned(),
                        _ => format!("write it as `\\u{control:04x}`"),
                    };
                    self.report
                        .push(Diagnostic::error(Code::Syntax, &location, message).help(help));
                    self.blank(at..at + 1);
                    at += 1;
                    if self.report.is_closed() {
                        return None;
                    }
                }
                Some(_) => at += 1,
                None => {
                    return self
                        .fail(
                            Code::Truncated,
                            start..at,
                            "the document ends inside this string",
                            "the file may have been cut off",
                        )
                        .map(|()| at);
                }
            }
        }
    }

    fn opens(&mut self, bracket: u8, at: usize) -> Option<()> {
        if self.open.len() == NESTING_MAX {
            let message = format!("nested more than {NESTING_MAX} levels deep");
            self.report(Code::Limit, at..at + 1, message);
            return None;
        }
        self.open.push((bracket, at));
        self.key = bracket == b'{';
        Some(())
    }

    fn closes(&mut self, bracket: u8, at: usize) -> Option<()> {
        let shown = char::from(bracket);
        match self.open.pop() {
            Some((b'{', _)) if bracket == b'}' => {
                if let Some((b',', comma)) = self.last {
                    let location = Location::new(self.document, comma..comma + 1);
                    self.report.push(
                        Diagnostic::error(Code::Syntax, &location, "a comma before `}`")
                            .expected("another key")
                            .help("only `]` may follow a comma"),
                    );
                }
            }
            Some((b'[', _)) if bracket == b']' => {}
            Some((open, opened)) => {
                let after_value = !matches!(self.last, Some((b'[' | b',' | b':', _)));
                if bracket != b'}' || !after_value {
                    let message = self.mismatch(shown, open, opened);
                    self.report(Code::Syntax, at..at + 1, message);
                    return None;
                }
                self.brace_in_list(at, opened);
            }
            None if self.last.is_none() => {
                self.report(Code::Syntax, at..at + 1, format!("`{shown}` closes nothing"));
                return None;
            }
            None => {
                if !self.done {
                    let message = format!("`{shown}` closes nothing");
                    self.mend(at, message, "", "taken as if the document ended before it");
                    self.done = true;
                }
                self.blank(at..at + 1);
            }
        }
        self.key = false;
        Some(())
    }

    fn mismatch(&self, bracket: char, open: u8, opened: usize) -> String {
        let (line, column) = self.document.position(opened);
        let open = char::from(open);
        format!("`{bracket}` does not close the `{open}` of line {line}, column {column}")
    }

    /// Takes a `}` after a value of the list that `opened` for what it most likely is.
    fn brace_in_list(&mut self, at: usize, opened: usize) {
        let message = self.mismatch('}', b'[', opened);
        let next = self.next(at + 1);
        if matches!(next, Some(b']' | b',')) {
            self.open.push((b'[', opened));
            self.blank(at..at + 1);
            self.mend(at, message, "", "taken as if it were not there");
            return;
        }
        if let Some(byte) = self.out.get_mut(at) {
            *byte = b']';
        }
        self.mend(at, message, "`]`", "taken as if the list were closed here");
        if next.is_none() && self.open.pop_if(|(bracket, _)| *bracket == b'{').is_some() {
            // What was left out is the `]` before it: the `}` itself is one more bracket.
            self.out.push(b'}');
        }
    }

    /// The next byte from `at` on that means something.
    fn next(&self, mut at: usize) -> Option<u8> {
        loop {
            match self.byte(at)? {
                b' ' | b'\t' | b'\r' | b'\n' => at += 1,
                b'#' => at = self.comment_end(at),
                byte => return Some(byte),
            }
        }
    }

    /// Where the comment that starts at `at` ends.
    fn comment_end(&self, at: usize) -> usize {
        let rest = self.document.text.as_bytes().get(at..).unwrap_or(&[]);
        at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
    }

    /// Closes what is still open at the end, if something whole came last.
    fn ends(&mut self) -> Option<()> {
        if self.open.is_empty() {
            return Some(());
        }
        let end = self.document.text.trim_end().len();
        let start = self.document.text.get(..end).and_then(|t| t.char_indices().next_back());
        let location = Location::new(self.document, start.map_or(0, |(at, _)| at)..end);
        let whole = match self.last {
            Some((b':', _)) => false,
            Some((b'"', _)) => !self.key,
            _ => true,
        };
        if let (Some((b',', comma)), true) = (self.last, whole) {
            self.blank(comma..comma + 1);
        }
        let open: Vec<String> = self
            .open
            .iter()
            .map(|&(bracket, at)| {
                let (line, column) = self.document.position(at);
                format!("`{}` of {line}:{column}", char::from(bracket))
            })
            .collect();
        let message = format!("the document ends too early: still open are {}", open.join(", "));
        if !whole {
            let diagnostic = Diagnostic::error(Code::Truncated, &location, message);
            self.report.push(diagnostic.expected("a value after the last key"));
            return None;
        }
        self.report.push(
            Diagnostic::warning(Code::Truncated, &location, message)
                .help("taken as if they were closed here; the file may have been cut off"),
        );
        // A comment may have been last: the line it is on is blank by now, so this is outside it.
        for (bracket, _) in self.open.iter().rev() {
            self.out.push(if *bracket == b'{' { b'}' } else { b']' });
        }
        Some(())
    }
}
