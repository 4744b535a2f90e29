//! What is made from the definition of the command line: man pages and completions.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::exit::{self, Failure};

/// `sspc man`
pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    match &args.dir {
        None => {
            let page = page(command)
                .map_err(|error| Failure::new(format!("cannot make the man page: {error}")))?;
            exit::print(&page)
        }
        Some(dir) => {
            fs::create_dir_all(dir).and_then(|()| write_pages(command, dir)).map_err(|error| {
                Failure::new(format!("cannot write man pages to {}: {error}", dir.display()))
            })
        }
    }
}

/// `sspc completions`
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sspc", &mut script);
    exit::print(&String::from_utf8_lossy(&script))
}

/// A command's page and those of its subcommands.
fn write_pages(command: Command, dir: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands() {
        write_pages(subcommand.clone(), dir)?;
    }
    let file = dir.join(Man::new(command.clone()).get_filename());
    fs::write(file, page(command)?)
}

fn page(command: Command) -> io::Result<String> {
    let mut page = Vec::new();
    Man::new(command).manual("Secure Streams").render(&mut page)?;
    // Where the generator puts whatever follows the options in the help.
    let page = String::from_utf8_lossy(&page);
    Ok(page.replace("\n.SH EXTRA\n", "\n.SH EXAMPLES AND EXIT CODES\n"))
}
