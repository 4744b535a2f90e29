//! Log lines that repeat are summed up, so that no client can fill a disk with them.
//!
//! Lines count as repeated if they come from the same place in the program, say the same kind of
//! thing and are about the same client. Within a minute one warning is logged, and at its end how
//! many more there were. That holds for all warnings and errors, and above a number of lines for
//! what `-v` shows; what happens inside, at `-vv` and `-vvv`, is logged as it comes.

mod table;

use std::fmt::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use table::{Key, Summary, Table};

/// The target of summaries, which are not summed up.
const TARGET: &str = "sspc::repeats";
/// The most of a line that a summary repeats, bytes.
const TEXT_MAX: usize = 500;

/// Leaves out lines that repeat. [`Repeats::start`] makes the thread that tells how many.
#[derive(Clone, Default)]
pub(super) struct Repeats {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    table: Mutex<Table>,
    /// There is a summary to wait for.
    changed: Condvar,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repeats {
    /// Logs summaries when they are due, from a thread of its own: lines come from threads without a
    /// runtime too.
    pub(super) fn start(&self) {
        let shared = Arc::clone(&self.shared);
        // Without a thread repeated lines are left out all the same.
        let _ = thread::Builder::new().name("logs".to_owned()).spawn(move || {
            loop {
                shared.wait();
                let due = shared.table().due(Instant::now());
                due.iter().for_each(log);
            }
        });
    }
}

impl Shared {
    /// Waits until a summary is due.
    fn wait(&self) {
        let mut table = self.table();
        loop {
            let now = Instant::now();
            let waited = match table.next_due() {
                None => self.changed.wait(table),
                Some(at) if at <= now => return,
                Some(at) => self
                    .changed
                    .wait_timeout(table, at - now)
                    .map(|(table, _)| table)
                    .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
            };
            table = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn log(summary: &Summary) {
    let Summary { level, client, count, last, seconds } = summary;
    let client = client.as_deref();
    // The level is part of what the macros make at compile time.
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                target: TARGET,
                client,
                "{count} more like this within {seconds} s, the last: {last}"
            )
        };
    }
    match *level {
        Level::ERROR => log!(error),
        Level::WARN => log!(warn),
        _ => log!(info),
    }
}

/// Whom a span is about.
struct Client(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Repeats {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(client), Some(span)) = (fields.client, context.span(id)) {
            span.extensions_mut().insert(Client(client));
        }
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || !is_summed_up(metadata) {
            return true;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let client = fields.client.take().or_else(|| {
            let mut spans = context.event_scope(event)?;
            spans.find_map(|span| span.extensions().get::<Client>().map(|client| client.0.clone()))
        });
        let place = metadata.callsite();
        let key = Key { place, kind: fields.kind.take(), client };
        let mut table = self.shared.table();
        let is_first = table.note(Instant::now(), *metadata.level(), key, || fields.text());
        drop(table);
        if !is_first {
            self.shared.changed.notify_one();
        }
        is_first
    }
}

/// Notices are what the program says, not what happens to it.
fn is_summed_up(metadata: &Metadata<'_>) -> bool {
    !matches!(metadata.target(), TARGET | super::NOTICE)
}

/// What an event or a span says.
#[derive(Default)]
struct Fields {
    /// Who it is about: the field `client`, or `line` for a line.
    client: Option<String>,
    kind: Option<String>,
    message: String,
    others: String,
}

impl Fields {
    fn text(self) -> String {
        let Self { message: mut text, others, .. } = self;
        text.push_str(&others);
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        text
    }

    fn take(&mut self, field: &Field, value: &dyn std::fmt::Display) {
        match field.name() {
            "client" | "line" => self.client = Some(value.to_string()),
            "kind" => self.kind = Some(value.to_string()),
            "message" => self.message = value.to_string(),
            name => {
                // Writing to a string cannot fail.
                let _ = write!(self.others, " {name}={value}");
            }
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.take(field, &format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests;
