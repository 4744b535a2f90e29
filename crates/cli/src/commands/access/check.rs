//! `sspc access check`

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use sspc_access::{Access, SystemNames};
use sspc_policy::{Policy, Severity};

use crate::access_file::{self, AnyNames};
use crate::checked::{Found, check_each};
use crate::console::{Console, count};
use crate::exit::Failure;
use crate::policy_files;

/// Find every mistake in access files, with its line
///
/// Finds what keeps a file from being used, and rules that are never used. With a policy it also finds
/// streamtypes and metadata that the policy does not have. All that goes to stderr. Exit code 0 if there
/// are no errors, with or without warnings; 1 if there are errors or a file cannot be read.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CheckArgs {
    /// The access files, each on its own; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    files: Vec<PathBuf>,

    /// Warn of what this policy does not have: a file or an https: URL
    #[arg(short, long, value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    policy: Option<PathBuf>,

    /// Apply this policy on top of --policy first; may be given several times
    #[arg(short, long = "overlay", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "policy")]
    overlays: Vec<PathBuf>,

    /// Fail if there are warnings
    #[arg(long)]
    strict: bool,

    /// The files are for another machine: take users and groups that this one does not have for right
    #[arg(long)]
    elsewhere: bool,
}

const HELP: &str = "\
Examples:
  sspc access check access.toml
  sspc access check access.toml --policy policy.json --strict
  sspc access check --elsewhere sites/*.toml

Exit codes:
  0  no errors; without --strict there may be warnings
  1  errors, or a file that cannot be read; with --strict also warnings
  2  the command line is wrong";

pub(super) fn run(args: &CheckArgs, console: Console) -> Result<(), Failure> {
    let all = args.files.iter().chain(&args.policy).chain(&args.overlays);
    if all.filter(|path| policy_files::is_stdin(path)).count() > 1 {
        return Err(Failure::usage("access", "`-` is stdin, and can be given once"));
    }
    let policy = args.policy.as_deref().map(|path| {
        policy_files::load(Some(path), &args.overlays)
            .map_err(|error| policy_files::refuse(error, console))
    });
    let policy = policy.transpose()?.map(|loaded| loaded.policy);
    check_each(&args.files, "access file", args.strict, console, |file| {
        check(file, args, policy.as_ref(), console)
    })
}

fn check(file: &Path, args: &CheckArgs, policy: Option<&Policy>, console: Console) -> Found {
    let access = match load(file, args.elsewhere) {
        Ok(access) => access,
        Err(error) => return Found::Wrong(access_file::refuse(error, console)),
    };
    let mut warnings = access.warnings().to_vec();
    warnings.extend(policy.map(|policy| access.warnings_about(policy)).unwrap_or_default());
    warnings.sort_by_key(|warning| warning.line);
    console.mistakes(Severity::Warning, &warnings);
    let rules = count(access.rules().count(), "rule");
    let (default, said) = (access.default_is(), count(warnings.len(), "warning"));
    let name = policy_files::name(file);
    console.say(&format!("{name}: ok: {rules}, default \"{default}\", {said}"));
    if warnings.is_empty() { Found::Right } else { Found::Warnings }
}

fn load(file: &Path, elsewhere: bool) -> Result<Access, access_file::LoadError> {
    if elsewhere {
        access_file::load(file, &AnyNames::default())
    } else {
        access_file::load(file, &SystemNames)
    }
}
