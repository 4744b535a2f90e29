//! From text to [`Policy`].
//!
//! Documents are applied one after the other to a [`Builder`], which keeps references as names;
//! when all are in, [`finish`](Builder::finish) looks the names up and has the result checked.
//! So nothing depends on the order in which things are written, and an overlay may refer to what
//! its base defines.

mod lex;
mod resolve;
mod sections;
mod stream;
mod tables;
pub(crate) mod value;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jsonc_parser::ast::Value;

use crate::diagnostics::{Code, Diagnostic, Report};
use crate::draft::Draft;
use crate::keys::Section;
use crate::quote::quote;
use crate::source::{Document, Location, Source};
use crate::types::{Policy, STREAMTYPE_NAME_MAX};
use crate::way_out::WayOut;

pub use lex::{NESTING_MAX, VALUES_MAX};
pub use sections::{BACKOFF_MAX, STACK_MAX};
use tables::{Before, Earlier, Tables};
pub use value::{ENTRIES_MAX, ITEMS_MAX, STRING_MAX};
pub(crate) use value::{NUMBER, TOKEN_PATTERN};
use value::{ParseContext, name_fault};

/// What a successful parse gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parsed {
    /// The policy.
    pub policy: Policy,
    /// What its author should look at; never contains an error.
    pub warnings: Report,
    /// What the reference would read or do otherwise, all of [`Code::Reference`]: for those whose
    /// policy is also for deployed proxies.
    pub differences: Report,
}

impl Policy {
    /// Parses one document and checks it.
    ///
    /// # Errors
    /// Everything that was found, warnings too, if there is at least one error.
    pub fn parse(source: &Source) -> Result<Parsed, Report> {
        Self::parse_layers(source, &[])
    }

    /// Parses a document and overlays it with others, the last one on top, and checks the result.
    ///
    /// Unlike [`Policy::parse`] and then [`Policy::with_overlay`], what the base leaves out an
    /// overlay may supply.
    ///
    /// # Errors
    /// Everything that was found, warnings too, if there is at least one error.
    pub fn parse_layers(base: &Source, overlays: &[Source]) -> Result<Parsed, Report> {
        let mut builder = Builder::default();
        builder.apply(base);
        for overlay in overlays {
            builder.apply(overlay);
        }
        builder.finish()
    }

    /// Applies an overlay and checks what it touches. `self` stays as it is.
    ///
    /// # Errors
    /// Everything that was found, warnings too, if there is at least one error.
    pub fn with_overlay(&self, overlay: &Source) -> Result<Parsed, Report> {
        let mut builder = Builder::of(self);
        builder.apply(overlay);
        builder.finish()
    }
}

/// Where documents define things: by section and name, and the document's own keys by `""` and key.
pub(crate) type Places = BTreeMap<(&'static str, String), Location>;

/// A policy on its way: what the documents so far have said.
#[derive(Default)]
pub(crate) struct Builder {
    documents: Vec<Arc<Document>>,
    report: Report,
    tables: Tables,
    places: Places,
    differences: Report,
    /// Whether there is a policy below.
    is_overlay: bool,
    /// Whether a document could not be read at all: then nothing is known to be missing.
    unread: bool,
}

impl Builder {
    /// A builder that starts from a finished policy.
    fn of(policy: &Policy) -> Self {
        Self { tables: Tables::of(policy), is_overlay: true, ..Self::default() }
    }

    /// Applies a document on top of what is there.
    fn apply(&mut self, source: &Source) {
        let document = Document::new(source);
        self.documents.push(Arc::clone(&document));
        let Some(text) = lex::prepare(&document, &mut self.report) else {
            self.unread = true;
            return;
        };
        let Some(root) = lex::tree(&document, &text, &mut self.report) else {
            self.unread = true;
            return;
        };
        let mut context = ParseContext {
            document: &document,
            report: &mut self.report,
            differences: &mut self.differences,
            is_overlay: std::mem::replace(&mut self.is_overlay, true),
            seen: HashMap::new(),
        };
        context.check_start();
        let Some(object) = context.object(&root, "the policy") else { return };
        let mut before = Before::default();
        let lists = ["retry", "certs", "trust_stores", "auth", "metrics", "s"];
        for property in context.properties(object, &lists) {
            let value = &property.value;
            let place = (("", property.name.as_str().to_owned()), context.location(&property.name));
            self.places.extend([place]);
            match property.name.as_str() {
                "release" | "product" | "schema-version" => {}
                "via-socks5" => via_socks5(&mut context, value, &mut self.tables.via_socks5),
                "retry" => {
                    sections::retry(&mut context, value, &mut before.retry, &mut self.tables.retry);
                }
                "certs" => sections::certs(&mut context, value, &mut self.tables.certs),
                "trust_stores" => {
                    sections::trust_stores(&mut context, value, &mut self.tables.stores);
                }
                "auth" => sections::auth(&mut context, value, &mut self.tables.auth),
                "metrics" => sections::metrics(&mut context, value, &mut self.tables.metrics),
                "s" => {
                    streamtypes(&mut context, value, &mut before.streams, &mut self.tables.streams)
                }
                _ => context.unknown_key(property, "the policy", Section::Top.names()),
            }
        }
        self.places.extend(context.seen);
    }

    /// Looks up what is referred to, and checks it all.
    fn finish(mut self) -> Result<Parsed, Report> {
        let policy = if self.unread {
            Policy::default()
        } else {
            let elsewhere = self.documents.last().map(|last| Location::new(last, 0..0));
            let elsewhere = elsewhere.as_ref();
            let (report, differences) = (&mut self.report, &mut self.differences);
            resolve::finish(self.tables, &self.places, elsewhere, report, differences)
        };
        self.report.sort(&self.documents);
        self.differences.sort(&self.documents);
        if self.report.has_errors() {
            return Err(self.report);
        }
        Ok(Parsed { policy, warnings: self.report, differences: self.differences })
    }
}

fn via_socks5(context: &mut ParseContext<'_>, value: &Value<'_>, out: &mut Option<String>) {
    if value.as_null_keyword().is_some() {
        *out = None;
        return;
    }
    let Some(text) = context.text(value, "`via-socks5`") else { return };
    if text.is_empty() {
        *out = None;
        return;
    }
    if text.parse::<WayOut>().is_ok() {
        *out = Some(text);
    } else {
        let expected = "`host:port` or `user:password@host:port`";
        context.bad_value(value, format!("`via-socks5` is {}", quote(&text)), expected);
    }
}

fn streamtypes(
    context: &mut ParseContext<'_>,
    value: &Value<'_>,
    before: &mut Earlier<Draft>,
    out: &mut BTreeMap<String, Draft>,
) {
    const REPLACED: &str = "the last one wins outright; nothing of the first is kept";
    let entries = context.entries(value, "`s`", "streamtypes", ENTRIES_MAX);
    for entry in entries.unwrap_or_default() {
        let name = entry.name.as_str();
        if name.is_empty() {
            let location = context.location(&entry.name);
            context.push(
                Diagnostic::warning(Code::Refused, &location, "a streamtype without a name")
                    .help("it is left out: no client can ask for it"),
            );
            continue;
        }
        if let Some(fault) = name_fault(name, STREAMTYPE_NAME_MAX) {
            let message = format!("the streamtype name {} {fault}", quote(name));
            context.bad_value(&entry.name, message, &format!("1 to {STREAMTYPE_NAME_MAX} bytes"));
            continue;
        }
        context.again("s", name, &entry.name, REPLACED);
        let earlier = before.of(name, out);
        if entry.value.as_null_keyword().is_some() && out.remove(name).is_some() {
            continue;
        }
        if context.is_overlay && earlier.is_none() {
            context.differs(
                &entry.name,
                "libwebsockets never shows a streamtype of an overlay",
                "",
            );
        }
        let mut draft = earlier.unwrap_or_else(|| Draft::new(name));
        draft.location = Some(context.location(&entry.name));
        match context.object(&entry.value, &format!("streamtype {}", quote(name))) {
            Some(object) => stream::apply(context, object, &mut draft),
            // One fault is enough: nothing else can be said about it.
            None => (draft.location, draft.unreadable) = (None, true),
        }
        out.insert(name.to_owned(), draft);
    }
}
