//! What is made from the definition of the command line: man pages and completions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, ValueHint};
use clap_mangen::Man;

use crate::console::print;
use crate::exit::{Exit, Failure};

/// Write the man page
///
/// Without DIR, prints sspc(1) to stdout. With DIR, writes it and one page for each command there:
/// sspc.1, sspc-cat.1 and so on.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages; made if it is not there
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

/// Write a shell's completions to stdout
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

const HELP: &str = "\
Examples:
  sspc completions bash > ~/.local/share/bash-completion/completions/sspc
  sspc completions zsh > ~/.zfunc/_sspc
  sspc completions fish > ~/.config/fish/completions/sspc.fish";

/// `sspc man`
pub(crate) fn man(args: &ManArgs, definition: Command) -> Result<Exit, Failure> {
    let mut command = definition.disable_help_subcommand(true);
    command.build();
    match &args.dir {
        None => {
            let page = page(command)
                .map_err(|error| Failure::new(format!("cannot make the man page: {error}")))?;
            print(&page)?;
        }
        Some(dir) => {
            fs::create_dir_all(dir).and_then(|()| write_pages(command, dir)).map_err(|error| {
                Failure::new(format!("cannot write man pages to {}: {error}", dir.display()))
            })?;
        }
    }
    Ok(Exit::Ok)
}

/// `sspc completions`
pub(crate) fn completions(
    args: &CompletionsArgs,
    mut definition: Command,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition, "sspc", &mut script);
    print(&String::from_utf8_lossy(&script)).map(|()| Exit::Ok)
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
