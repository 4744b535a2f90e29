//! What parsing has to say, and the forms it is said in.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::quote::shorten;
use crate::source::{Document, Location};
use crate::suggest::suggest;

/// Most diagnostics that a report holds; what is beyond them would not be read.
pub const DIAGNOSTICS_MAX: usize = 1_000;

/// Most mistaken names that a report guesses the meaning of: each is compared to many, and the author
/// of more is not misspelling.
const SUGGESTIONS_MAX: usize = 100;

/// Longest line that is rendered whole, bytes; of longer ones the part around the fault is.
const LINE_MAX: usize = 2_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy cannot be used.
    Error,
    /// The policy can be used, but may not do what its author meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// What kind of thing it is; stable, for tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Code {
    /// Not JSON, beyond what the policy's dialect allows.
    Syntax,
    /// The document ends before its brackets are closed.
    Truncated,
    /// A limit of size, depth or number is exceeded.
    Limit,
    /// A value of the wrong JSON type.
    Type,
    /// A number out of its range.
    Range,
    /// Text that is not valid for its purpose.
    Value,
    /// A key that the policy does not know.
    UnknownKey,
    /// A key that streams of this protocol do not use.
    WrongProtocol,
    /// Something defined twice.
    Duplicate,
    /// A reference to something that is not defined.
    UnknownReference,
    /// A reference that only matches as the beginning of a name.
    PrefixReference,
    /// Not a certificate.
    Certificate,
    /// A `${name}` that can never be expanded.
    Undeclared,
    /// A stream that can never connect.
    NeverConnects,
    /// A streamtype that a proxy does not offer to its clients.
    Refused,
    /// A key or a value that the proxy does not support.
    NotDone,
    /// Something that is defined and not used.
    Unused,
    /// Valid, but unlikely to be meant.
    Suspicious,
    /// What the reference would read or do otherwise.
    Reference,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 19] = [
        Code::Syntax,
        Code::Truncated,
        Code::Limit,
        Code::Type,
        Code::Range,
        Code::Value,
        Code::UnknownKey,
        Code::WrongProtocol,
        Code::Duplicate,
        Code::UnknownReference,
        Code::PrefixReference,
        Code::Certificate,
        Code::Undeclared,
        Code::NeverConnects,
        Code::Refused,
        Code::NotDone,
        Code::Unused,
        Code::Suspicious,
        Code::Reference,
    ];

    /// The code as tools see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Syntax => "syntax",
            Code::Truncated => "truncated",
            Code::Limit => "limit",
            Code::Type => "type",
            Code::Range => "range",
            Code::Value => "value",
            Code::UnknownKey => "unknown-key",
            Code::WrongProtocol => "wrong-protocol",
            Code::Duplicate => "duplicate",
            Code::UnknownReference => "unknown-reference",
            Code::PrefixReference => "prefix-reference",
            Code::Certificate => "certificate",
            Code::Undeclared => "undeclared",
            Code::NeverConnects => "never-connects",
            Code::Refused => "refused",
            Code::NotDone => "not-done",
            Code::Unused => "unused",
            Code::Suspicious => "suspicious",
            Code::Reference => "reference",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One error or warning, with its location in the text.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing it is.
    pub code: Code,
    /// Name of the document.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Bytes of the document that it is about.
    pub span: Range<usize>,
    /// The offending text, shortened if it is long.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What was expected there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip)]
    document: Arc<Document>,
}

impl Diagnostic {
    pub(crate) fn new(
        severity: Severity,
        code: Code,
        location: &Location,
        message: impl Into<String>,
    ) -> Self {
        let (line, column) = location.document.position(location.span.start);
        Self {
            severity,
            code,
            file: location.document.name.clone(),
            line,
            column,
            span: location.span.clone(),
            text: shorten(location.document.slice(&location.span)),
            message: message.into(),
            expected: None,
            help: None,
            document: Arc::clone(&location.document),
        }
    }

    pub(crate) fn error(code: Code, location: &Location, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, location, message)
    }

    pub(crate) fn warning(code: Code, location: &Location, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, location, message)
    }

    /// What the reference would do otherwise.
    pub(crate) fn difference(location: &Location, message: impl Into<String>, help: &str) -> Self {
        let difference = Self::warning(Code::Reference, location, message);
        if help.is_empty() { difference } else { difference.help(help) }
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The diagnostic with the line it is about, as compilers show it; no newline at the end.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        // Only the lines concerned: the renderer's work then does not grow with the document.
        let text = &self.document.text;
        let end = self.span.end.min(text.len());
        let start = self.span.start.min(end);
        let first = text.get(..start).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
        let last = text.get(end..).and_then(|t| t.find('\n')).map_or(text.len(), |at| end + at);
        let long = last - first > LINE_MAX;
        let (first, last) = if long {
            let first = text.ceil_char_boundary(start.saturating_sub(LINE_MAX / 4).max(first));
            (first, text.floor_char_boundary((first + LINE_MAX).min(last)).max(start))
        } else {
            (first, last)
        };
        let end = end.min(last);
        let mut annotation = AnnotationKind::Primary.span(start - first..end - first);
        if let Some(expected) = &self.expected {
            annotation = annotation.label(format!("expected {expected}"));
        }
        let snippet = Snippet::source(text.get(first..last).unwrap_or(""))
            .line_start(self.line)
            .annotation(annotation);
        let title = level.primary_title(self.message.as_str()).id(self.code.as_str());
        let mut group: Group<'_> = if long {
            // The snippet no longer knows the column: it starts within the line.
            let origin = Origin::path(self.file.as_str()).line(self.line).char_column(self.column);
            title.element(origin).element(snippet)
        } else {
            title.element(snippet.path(self.file.as_str()))
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

/// The form of one line: `file:line:column: error: message; expected …; help`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}: {}",
            self.file, self.line, self.column, self.severity, self.message
        )?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// All that parsing found, in the order of the text.
///
/// `Display` gives one line a diagnostic, serde a list of objects.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    /// How many errors there were, the ones that found no room included.
    #[serde(skip)]
    errors: usize,
    /// How many names were looked for something similar to.
    #[serde(skip)]
    suggestions: usize,
}

impl Report {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        // The first error must get in however many warnings came before: it fails the policy.
        let first_error = diagnostic.severity == Severity::Error && self.errors == 0;
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        if first_error || !self.is_full() {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Whether there is no room for another warning.
    pub(crate) fn is_full(&self) -> bool {
        self.diagnostics.len() >= DIAGNOSTICS_MAX
    }

    /// Whether nothing more would be kept, not even an error.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_full() && self.has_errors()
    }

    /// What [`suggest`] says, for the first names that are mistaken.
    pub(crate) fn suggest<'k>(
        &mut self,
        word: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<String> {
        if self.suggestions == SUGGESTIONS_MAX || self.is_full() {
            return None;
        }
        self.suggestions += 1;
        suggest(word, known)
    }

    /// How many errors were pushed so far.
    pub(crate) fn error_count(&self) -> usize {
        self.errors
    }

    /// Adds what another report has, each at its place.
    pub fn extend(&mut self, other: Report) {
        other.diagnostics.into_iter().for_each(|diagnostic| self.push(diagnostic));
        let mut documents: Vec<Arc<Document>> = Vec::new();
        for Diagnostic { document, .. } in &self.diagnostics {
            if !documents.iter().any(|known| Arc::ptr_eq(known, document)) {
                documents.push(Arc::clone(document));
            }
        }
        self.sort(&documents);
    }

    /// Puts diagnostics in the order of their documents as given, and of the text in each.
    pub(crate) fn sort(&mut self, documents: &[Arc<Document>]) {
        self.diagnostics.sort_by_key(|diagnostic| {
            let document = documents.iter().position(|d| Arc::ptr_eq(d, &diagnostic.document));
            (document, diagnostic.span.start)
        });
    }

    /// Everything, in the order of the text.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The errors alone.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// The warnings alone.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Warning)
    }

    /// Whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Every diagnostic with the lines it is about, for a person; empty or ends with a newline.
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            out.push_str(&diagnostic.render(color));
            out.push('\n');
        }
        out
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}
