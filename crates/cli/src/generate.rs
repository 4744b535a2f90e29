//! What is made from the definition of the command line: man pages and completions.

use std::fs;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::exit::{self, Failure};

/// `sspc man`
pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    match &args.dir {
        None => {
            let mut page = Vec::new();
            Man::new(Cli::command().disable_help_subcommand(true))
                .render(&mut page)
                .map_err(|error| Failure::new(format!("cannot make the man page: {error}")))?;
            exit::print(&String::from_utf8_lossy(&page))
        }
        Some(dir) => fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
            .map_err(|error| {
                Failure::new(format!("cannot write man pages to {}: {error}", dir.display()))
            }),
    }
}

/// `sspc completions`
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sspc", &mut script);
    exit::print(&String::from_utf8_lossy(&script))
}
