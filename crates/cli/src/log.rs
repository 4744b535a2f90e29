//! Logs to stderr, and the few lines that are not logs but go there too.

use std::io;

use sspc_policy::{Diagnostic, Report, Severity};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use crate::args::{LogArgs, LogFormat};
use crate::terminal;

/// Sets up what `-v` and `--log` ask for. `RUST_LOG`, if set, has the last word. A command that does
/// harm on purpose is `quiet`: its warnings are no news.
pub(crate) fn init(args: LogArgs, quiet: bool) {
    let (ours, others) = match args.verbose {
        0 if quiet => (LevelFilter::ERROR, LevelFilter::ERROR),
        0 => (LevelFilter::WARN, LevelFilter::ERROR),
        1 => (LevelFilter::INFO, LevelFilter::WARN),
        2 => (LevelFilter::DEBUG, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    let mut filter = EnvFilter::builder().with_default_directive(others.into()).from_env_lossy();
    if std::env::var_os("RUST_LOG").is_none() {
        for crate_name in ["sspc", "sspc_line", "sspc_proxy", "sspc_policy", "sspc_ws", "sspc_wire"]
        {
            filter = add(filter, &format!("{crate_name}={ours}"));
        }
    }
    let builder = tracing_subscriber::fmt().with_writer(io::stderr);
    match args.format {
        LogFormat::Text => {
            let color = terminal::wants_color(&io::stderr());
            builder.with_env_filter(filter).with_ansi(color).init();
        }
        LogFormat::Json => {
            let filter = add(filter, "sspc::notice=info");
            builder.with_env_filter(filter).json().flatten_event(true).init();
        }
    }
}

fn add(filter: EnvFilter, directive: &str) -> EnvFilter {
    match directive.parse::<Directive>() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

/// Where lines for whoever started the program go: as they are on stderr, or into the JSON log so
/// that all of stderr stays JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice {
    format: LogFormat,
}

impl Voice {
    pub(crate) fn new(args: LogArgs) -> Self {
        Self { format: args.format }
    }

    /// Something that its user waits for, such as "ready".
    pub(crate) fn say(self, line: &str) {
        match self.format {
            LogFormat::Text => say(line),
            LogFormat::Json => tracing::info!(target: "sspc::notice", "{line}"),
        }
    }

    /// What is wrong with a policy: as compilers show it, or an object for each diagnostic.
    pub(crate) fn diagnose(self, report: &Report) {
        if report.is_empty() {
            return;
        }
        match self.format {
            LogFormat::Text => say(&report.render(terminal::wants_color(&io::stderr()))),
            LogFormat::Json => report.diagnostics().iter().for_each(log),
        }
    }

    /// Why the program ends.
    pub(crate) fn fail(self, line: &str) {
        match self.format {
            LogFormat::Text => say(&format!("sspc: {line}")),
            LogFormat::Json => tracing::error!(target: "sspc::notice", "{line}"),
        }
    }
}

fn log(diagnostic: &Diagnostic) {
    // The level is part of what the macros make at compile time.
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                target: "sspc::notice",
                file = %diagnostic.file,
                line = diagnostic.line,
                column = diagnostic.column,
                code = %diagnostic.code,
                text = %diagnostic.text,
                expected = diagnostic.expected.as_deref(),
                help = diagnostic.help.as_deref(),
                "{}",
                diagnostic.message
            )
        };
    }
    match diagnostic.severity {
        Severity::Error => log!(error),
        Severity::Warning => log!(warn),
    }
}

/// One line to stderr. If nobody can be told, nobody wants to know.
pub(crate) fn say(line: &str) {
    use io::Write;
    let _ = writeln!(io::stderr().lock(), "{line}");
}
