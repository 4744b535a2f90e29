//! `sspc policy check`

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::checked::{Found, check_each};
use crate::console::{Console, count};
use crate::exit::Failure;
use crate::policy_files;

/// Find every mistake in policies, with line and column
///
/// Finds what keeps a policy from being used, what its author cannot have meant, and what the proxy does
/// not do. Diagnostics go to stderr. Exit code 0 if there are no errors, with or without warnings; 1 if
/// there are errors or a file cannot be read.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CheckArgs {
    /// The policies, each on its own: files or https: URLs; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    files: Vec<PathBuf>,

    /// Check each with this policy on top; may be given several times
    #[arg(short, long = "overlay", value_name = "FILE", value_hint = ValueHint::FilePath)]
    overlays: Vec<PathBuf>,

    /// Fail if there are warnings
    #[arg(long)]
    strict: bool,

    /// Warn of what libwebsockets would read or do otherwise, too
    #[arg(long)]
    reference: bool,
}

const HELP: &str = "\
Examples:
  sspc policy check policy.json
  sspc policy check policy.json --overlay site.json
  sspc policy check --strict policies/*.json
  sspc policy check --reference policy.json
  sspc policy check https://example.com/policy.json
  generate-policy | sspc policy check -

Exit codes:
  0  no errors; without --strict there may be warnings
  1  errors, or a file that cannot be read; with --strict also warnings
  2  the command line is wrong";

pub(super) fn run(args: &CheckArgs, console: Console) -> Result<(), Failure> {
    let stdins =
        args.files.iter().chain(&args.overlays).filter(|path| policy_files::is_stdin(path));
    if stdins.count() > 1 {
        return Err(Failure::usage("policy", "`-` is stdin, and can be given once"));
    }
    check_each(&args.files, "policy", args.strict, console, |file| check(file, args, console))
}

fn check(file: &Path, args: &CheckArgs, console: Console) -> Found {
    let mut loaded = match policy_files::load(Some(file), &args.overlays) {
        Ok(loaded) => loaded,
        Err(error) => return Found::Wrong(policy_files::refuse(error, console)),
    };
    if args.reference {
        loaded.warnings.extend(loaded.differences);
    }
    console.diagnose(&loaded.warnings);
    let warnings = loaded.warnings.warnings().count();
    let streamtypes = count(loaded.policy.streamtypes.len(), "streamtype");
    let said = count(warnings, "warning");
    console.say(&format!("{}: ok: {streamtypes}, {said}", policy_files::name(file)));
    if warnings == 0 { Found::Right } else { Found::Warnings }
}
