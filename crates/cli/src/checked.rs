//! Checking several files, each on its own.

use std::path::{Path, PathBuf};

use crate::console::{Console, count};
use crate::exit::Failure;
use crate::policy_files;

/// How it is about one file.
pub(crate) enum Found {
    Right,
    Warnings,
    Wrong(Failure),
}

/// Checks each file, and sums up several of them in a last line. `kind` is what a file is called.
pub(crate) fn check_each(
    files: &[PathBuf],
    kind: &str,
    strict: bool,
    console: Console,
    check: impl Fn(&Path) -> Found,
) -> Result<(), Failure> {
    if let [file] = files {
        return match check(file) {
            Found::Wrong(failure) => Err(failure),
            Found::Warnings if strict => {
                Err(Failure::new(format!("the {kind} has warnings, and --strict allows none")))
            }
            _ => Ok(()),
        };
    }
    let (mut wrong, mut warnings) = (0, 0);
    for file in files {
        match check(file) {
            Found::Right => {}
            Found::Warnings => warnings += 1,
            Found::Wrong(failure) => {
                console.say(&format!("{}: {failure}", policy_files::name(file)));
                wrong += 1;
            }
        }
    }
    summary(files.len(), wrong, warnings, strict, console)
}

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
