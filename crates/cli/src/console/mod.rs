//! What the program prints: logs, and the lines that are not logs, for people or as JSON.

mod notices;
mod repeats;
mod stdout;
mod style;
mod text;

use std::io;

use sspc_access::Mistake;
use sspc_policy::{Diagnostic, Report, Severity};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::args::{LogArgs, LogFormat};
use crate::exit::Failure;

pub(crate) use notices::Notices;
use repeats::Repeats;
pub(crate) use stdout::{StdoutStop, StoppableStdout};
pub(crate) use style::{Painted, Painter, Style, wants_color};
pub(crate) use text::{age, count, labelled, printable, rate, size};

/// The target of lines that are no logs.
const NOTICE: &str = "sspc::notice";

/// Sets up what `-v` and `--log` ask for; `RUST_LOG`, if set, replaces what `-v` asks for. With
/// `errors_only`, warnings need `-v` too.
pub(crate) fn init_log(args: LogArgs, errors_only: bool) {
    let (ours, others) = match args.verbose {
        0 if errors_only => (LevelFilter::ERROR, LevelFilter::ERROR),
        0 => (LevelFilter::WARN, LevelFilter::ERROR),
        1 => (LevelFilter::INFO, LevelFilter::WARN),
        2 => (LevelFilter::DEBUG, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    let mut filter = EnvFilter::builder().with_default_directive(others.into()).from_env_lossy();
    if std::env::var_os("RUST_LOG").is_none() {
        for crate_name in
            ["sspc", "sspc_line", "sspc_proxy", "sspc_admin", "sspc_policy", "sspc_ws", "sspc_wire"]
        {
            filter = add(filter, &format!("{crate_name}={ours}"));
        }
    }
    let repeats = Repeats::default();
    let format = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let (filter, format) = match args.format {
        LogFormat::Text => (filter, format.with_ansi(wants_color(&io::stderr())).boxed()),
        LogFormat::Json => {
            (add(filter, &format!("{NOTICE}=info")), format.json().flatten_event(true).boxed())
        }
    };
    tracing_subscriber::registry().with(filter).with(repeats.clone()).with(format).init();
    repeats.start();
}

fn add(filter: EnvFilter, directive: &str) -> EnvFilter {
    match directive.parse::<Directive>() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

/// Prints the lines that are no logs to stderr: as they are, or as JSON among the logs, so that all
/// of stderr is JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    log: LogArgs,
}

impl Console {
    pub(crate) const fn new(args: LogArgs) -> Self {
        Self { log: args }
    }

    /// Whether `-v` asks for more.
    pub(crate) const fn is_verbose(self) -> bool {
        self.log.verbose > 0
    }

    /// The format of logs.
    pub(crate) const fn format(self) -> LogFormat {
        self.log.format
    }

    /// Something that the user waits for, such as "ready".
    pub(crate) fn say(self, line: &str) {
        match self.log.format {
            LogFormat::Text => say(line),
            LogFormat::Json => tracing::info!(target: NOTICE, "{line}"),
        }
    }

    /// What is wrong with a policy: as compilers show it, or an object for each diagnostic.
    pub(crate) fn diagnose(self, report: &Report) {
        if report.is_empty() {
            return;
        }
        match self.log.format {
            LogFormat::Text => say(&report.render(wants_color(&io::stderr()))),
            LogFormat::Json => report.diagnostics().iter().for_each(log_diagnostic),
        }
    }

    /// What is wrong with an access file, a line or an object each.
    pub(crate) fn mistakes(self, severity: Severity, mistakes: &[Mistake]) {
        match self.log.format {
            LogFormat::Text => {
                mistakes.iter().for_each(|mistake| {
                    say(&printable(&format!("{severity}: {mistake}")));
                });
            }
            LogFormat::Json => {
                mistakes.iter().for_each(|mistake| log_mistake(severity, mistake));
            }
        }
    }

    /// Why the program ends.
    pub(crate) fn fail(self, line: &str) {
        match self.log.format {
            LogFormat::Text => say(&format!("sspc: {line}")),
            LogFormat::Json => tracing::error!(target: NOTICE, "{line}"),
        }
    }
}

fn log_diagnostic(diagnostic: &Diagnostic) {
    // The level is part of what the macros make at compile time.
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                target: NOTICE,
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

fn log_mistake(severity: Severity, mistake: &Mistake) {
    let Mistake { file, line, message, help } = mistake;
    let help = help.as_deref();
    match severity {
        Severity::Error => tracing::error!(target: NOTICE, %file, line, help, "{message}"),
        Severity::Warning => tracing::warn!(target: NOTICE, %file, line, help, "{message}"),
    }
}

/// Writes a whole text to stdout.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    use io::Write;
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::stdout(&error))
}

/// Writes one line to stderr. If stderr cannot be written to, the program goes on.
pub(crate) fn say(line: &str) {
    use io::Write;
    let _ = writeln!(io::stderr().lock(), "{line}");
}
