//! The program `sspc`.
//!
//! [`commands`] has one module for each subcommand; they share the modules beside it and never use
//! each other.

mod access_file;
mod admin_client;
mod args;
mod cable;
mod capture_to;
mod checked;
mod commands;
mod console;
mod exit;
mod policy_files;
mod private_file;
mod seen_frame;
mod service;
mod shown;
mod socket;
mod splitmix;
mod trace;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::LogArgs;
use commands::Command;
use console::Console;
use exit::{Exit, Failure};

/// Secure Streams: applications open a stream by name, a proxy does the rest.
///
/// An application asks the proxy for a stream by the name of its type and gets payload. The proxy's
/// policy says where the stream goes, over which protocol, with which certificates, and how
/// failures are retried. So the application needs no TLS, HTTP or TCP of its own.
#[derive(Debug, Parser)]
#[command(
    name = "sspc",
    version,
    after_help = HELP_SHORT,
    after_long_help = HELP_LONG,
    max_term_width = 100,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,

    #[command(subcommand)]
    command: Command,
}

const HELP_SHORT: &str = "\
Try `sspc demo` first. `sspc COMMAND --help` has examples.";

const HELP_LONG: &str = "\
Examples:
  sspc demo
      See everything at work, without any set-up.

  sspc proxy &
  sspc cat __default --meta endpoint=https://example.com/
      Fetch a page through a proxy with the embedded policy.

  sspc policy check policy.json
  sspc proxy --policy policy.json
      Check a policy, then run a proxy with it.

Exit codes:
  0  done
  1  failed; stderr says what and why
  2  the command line is wrong
  Some commands have more; their --help lists them.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    console::init_log(cli.log, cli.command.logs_errors_only());
    let console = Console::new(cli.log);
    match cli.command.run(console, Cli::command) {
        Ok(exit) => exit.into(),
        Err(failure) => end(&failure, console),
    }
}

fn end(failure: &Failure, console: Console) -> ExitCode {
    if let Exit::Usage { command } = failure.exit {
        let mut all = Cli::command();
        let found = all.find_subcommand_mut(command).map(|found| found.clone());
        let mut found = found.unwrap_or(all).bin_name(format!("sspc {command}"));
        found.error(clap::error::ErrorKind::ArgumentConflict, &failure.message).exit();
    }
    if !failure.message.is_empty() {
        console.fail(&failure.message);
    }
    failure.exit.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
