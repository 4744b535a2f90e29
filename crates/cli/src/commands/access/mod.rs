//! `sspc access`: check access files, or say what they let a client do.

mod check;
mod explain;

use clap::Subcommand;

use crate::console::Console;
use crate::exit::{Exit, Failure};

/// Check access files, which say who may do what, and explain them
#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
}

/// Runs the command to its end.
pub(crate) fn run(command: &AccessCommand, console: Console) -> Result<Exit, Failure> {
    match command {
        AccessCommand::Check(args) => check::run(args, console),
        AccessCommand::Explain(args) => explain::run(args, console),
    }
    .map(|()| Exit::Ok)
}
