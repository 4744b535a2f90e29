//! `sspc policy check`

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

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

/// How it is about one policy.
enum Found {
    Right,
    Warnings,
    Wrong(Failure),
}

pub(super) fn run(args: &CheckArgs, console: Console) -> Result<(), Failure> {
    let stdins =
        args.files.iter().chain(&args.overlays).filter(|path| policy_files::is_stdin(path));
    if stdins.count() > 1 {
        return Err(Failure::usage("policy", "`-` is stdin, and can be given once"));
    }
    let mut found = args.files.iter().map(|file| check(file, args, console));
    if let [_] = args.files.as_slice() {
        return match found.next() {
            Some(Found::Wrong(failure)) => Err(failure),
            Some(Found::Warnings) if args.strict => {
                Err(Failure::new("the policy has warnings, and --strict allows none"))
            }
            _ => Ok(()),
        };
    }
    let (mut wrong, mut warnings) = (0, 0);
    for (found, file) in found.zip(&args.files) {
        match found {
            Found::Right => {}
            Found::Warnings => warnings += 1,
            Found::Wrong(failure) => {
                console.say(&format!("{}: {failure}", policy_files::name(file)));
                wrong += 1;
            }
        }
    }
    summary(args.files.len(), wrong, warnings, args.strict, console)
}

/// The last line about several policies.
fn summary(
    all: usize,
    wrong: usize,
    warnings: usize,
    strict: bool,
    console: Console,
) -> Result<(), Failure> {
    let files = count(all, "file");
    let text = match (wrong, warnings) {
        (0, 0) => format!("{files}: all are right"),
        (0, _) => format!("{files}: {warnings} with warnings"),
        (_, 0) => format!("{files}: {wrong} wrong"),
        _ => format!("{files}: {wrong} wrong, {warnings} with warnings"),
    };
    if wrong > 0 {
        return Err(Failure::new(text));
    }
    if strict && warnings > 0 {
        return Err(Failure::new(format!("{text}, and --strict allows none")));
    }
    console.say(&text);
    Ok(())
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
