//! `sspc policy`: check a policy, or show what it says.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use sspc_policy::{Policy, suggest};

use crate::console::{Console, count, print};
use crate::exit::{Exit, Failure};
use crate::policy_files;

/// Check a policy, or show what it says
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    Check(CheckArgs),
    Show(ShowArgs),
}

/// Find every mistake in a policy, with line and column
///
/// Diagnostics go to stderr. Exit code 0 if there are no errors, with or without warnings; 1 if
/// there are errors or the file cannot be read.
#[derive(Debug, Args)]
#[command(after_long_help = CHECK_HELP)]
pub(crate) struct CheckArgs {
    /// The policy; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Check it with this policy on top; may be given several times
    #[arg(short, long = "overlay", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) overlays: Vec<PathBuf>,
}

const CHECK_HELP: &str = "\
Examples:
  sspc policy check policy.json
  sspc policy check policy.json --overlay site.json
  generate-policy | sspc policy check -

Exit codes:
  0  no errors; there may be warnings
  1  errors, or a file that cannot be read
  2  the command line is wrong";

/// Show the effective settings: defaults filled in, references resolved
///
/// Prints them as a policy, which can be used as one.
#[derive(Debug, Args)]
#[command(after_long_help = SHOW_HELP)]
pub(crate) struct ShowArgs {
    /// The policy; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Show this streamtype alone
    #[arg(value_name = "STREAMTYPE")]
    pub(crate) streamtype: Option<String>,

    /// Apply this policy on top first; may be given several times
    #[arg(short, long = "overlay", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) overlays: Vec<PathBuf>,
}

const SHOW_HELP: &str = "\
Examples:
  sspc policy show policy.json
  sspc policy show policy.json --overlay site.json mintest

Exit codes:
  0  shown
  1  the policy has errors, or does not have the streamtype
  2  the command line is wrong";

/// Runs the command to its end.
pub(crate) fn run(command: &PolicyCommand, console: Console) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Check(args) => check(args, console),
        PolicyCommand::Show(args) => show(args, console),
    }
    .map(|()| Exit::Ok)
}

fn check(args: &CheckArgs, console: Console) -> Result<(), Failure> {
    match policy_files::load(Some(&args.file), &args.overlays) {
        Ok(parsed) => {
            console.diagnose(&parsed.warnings);
            let warnings = count(parsed.warnings.warnings().count(), "warning");
            let streamtypes = count(parsed.policy.streamtypes.len(), "streamtype");
            console
                .say(&format!("{}: ok: {streamtypes}, {warnings}", policy_files::name(&args.file)));
            Ok(())
        }
        Err(error) => Err(policy_files::refuse(error, console)),
    }
}

fn show(args: &ShowArgs, console: Console) -> Result<(), Failure> {
    let parsed = policy_files::load(Some(&args.file), &args.overlays)
        .map_err(|error| policy_files::refuse(error, console))?;
    console.diagnose(&parsed.warnings);
    let policy = parsed.policy;
    let text = match &args.streamtype {
        None => policy.show(),
        Some(name) => policy.show_streamtype(name).ok_or_else(|| no_streamtype(&policy, name))?,
    };
    print(&text)
}

fn no_streamtype(policy: &Policy, name: &str) -> Failure {
    let known = || policy.streamtypes.keys().map(String::as_str);
    let hint = match suggest(name, known()) {
        Some(suggestion) => suggestion,
        None => format!("the policy has: {}", known().collect::<Vec<_>>().join(", ")),
    };
    Failure::new(format!("no streamtype {name:?}; {hint}"))
}
