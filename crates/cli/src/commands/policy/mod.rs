//! `sspc policy`: check policies, or show what they say.

mod check;
mod explain;
mod generate;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use sspc_policy::{Policy, suggest};

use crate::console::{Console, print};
use crate::exit::{Exit, Failure};
use crate::policy_files;

/// Check policies, show and explain them, and print what is made of them
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    Check(check::CheckArgs),
    Show(ShowArgs),
    Explain(explain::ExplainArgs),
    Schema(generate::SchemaArgs),
    Codegen(generate::CodegenArgs),
}

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
        PolicyCommand::Check(args) => check::run(args, console),
        PolicyCommand::Show(args) => show(args, console),
        PolicyCommand::Explain(args) => explain::run(args, console),
        PolicyCommand::Schema(_) => generate::schema(),
        PolicyCommand::Codegen(args) => generate::codegen(args, console),
    }
    .map(|()| Exit::Ok)
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
