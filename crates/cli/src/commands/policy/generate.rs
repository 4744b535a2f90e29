//! `sspc policy schema` and `sspc policy codegen`: what is made from the table of keys, and from a policy.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use sspc_policy::Language;

use crate::console::{Console, print};
use crate::exit::Failure;
use crate::policy_files;

/// Print a JSON Schema of policies
///
/// JSON Schema 2020-12, for editors and for programs that make policies: each key with its type, its range
/// and what it means. It is of JSON, without the comments that a policy may have. `sspc policy check` finds
/// more.
#[derive(Debug, Args)]
#[command(after_long_help = SCHEMA_HELP)]
pub(crate) struct SchemaArgs {}

const SCHEMA_HELP: &str = "\
Examples:
  sspc policy schema > policy.schema.json

Exit codes:
  0  printed
  2  the command line is wrong";

/// Print the names of a policy as constants of a program
///
/// Each streamtype and each metadata item, so that a misspelt name does not compile. Characters that
/// identifiers cannot have become `_`; identifiers that would be the same get a number.
#[derive(Debug, Args)]
#[command(after_long_help = CODEGEN_HELP)]
pub(crate) struct CodegenArgs {
    #[command(flatten)]
    language: LanguageArgs,

    /// The policy; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Apply this policy on top first; may be given several times
    #[arg(short, long = "overlay", value_name = "FILE", value_hint = ValueHint::FilePath)]
    overlays: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct LanguageArgs {
    /// A module of Rust: `names::weather::STREAMTYPE`, `names::weather::META_CITY`
    #[arg(long)]
    rust: bool,

    /// A header for C and C++: SS_WEATHER, SS_WEATHER_META_CITY
    #[arg(long)]
    c: bool,
}

const CODEGEN_HELP: &str = "\
Examples:
  sspc policy codegen --rust policy.json > src/names.rs
  sspc policy codegen --c policy.json > names.h

Exit codes:
  0  printed
  1  the policy has errors, or cannot be read
  2  the command line is wrong";

pub(super) fn schema() -> Result<(), Failure> {
    print(&format!("{:#}\n", sspc_policy::schema()))
}

pub(super) fn codegen(args: &CodegenArgs, console: Console) -> Result<(), Failure> {
    let loaded = policy_files::load(Some(&args.file), &args.overlays)
        .map_err(|error| policy_files::refuse(error, console))?;
    let language = if args.language.rust { Language::Rust } else { Language::C };
    print(&loaded.policy.constants(language))
}
