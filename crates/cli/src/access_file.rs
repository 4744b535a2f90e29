//! Reading access files, for every command that takes one.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sspc_access::{Access, FILE_MAX, Mistakes, Names, SystemNames};
use sspc_policy::Severity;

use crate::console::{Console, count};
use crate::exit::Failure;
use crate::policy_files::{is_stdin, name};

/// Why there are no rules.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    Read(Failure),
    /// It is wrong.
    Wrong(Mistakes),
}

/// Reads an access file; `-` is stdin.
pub(crate) fn load(path: &Path, names: &dyn Names) -> Result<Access, LoadError> {
    let text = read(path).map_err(|error| {
        LoadError::Read(Failure::new(format!(
            "cannot read the access file {}: {error}",
            name(path)
        )))
    })?;
    Access::parse(&text, &name(path), names).map_err(LoadError::Wrong)
}

/// Shows what is wrong, and gives the line that sums it up.
pub(crate) fn refuse(error: LoadError, console: Console) -> Failure {
    match error {
        LoadError::Read(failure) => failure,
        LoadError::Wrong(Mistakes(mistakes)) => {
            console.mistakes(Severity::Error, &mistakes);
            Failure::new(format!("the access file has {}", count(mistakes.len(), "error")))
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // One byte more than allowed, so that too much is noticed.
    let limit = FILE_MAX as u64 + 1;
    if is_stdin(path) {
        io::stdin().lock().take(limit).read_to_string(&mut text)?;
    } else {
        File::open(path)?.take(limit).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// The users and groups of another machine: those that this one does not have get numbers that nobody has.
#[derive(Debug, Default)]
pub(crate) struct AnyNames {
    users: RefCell<Vec<String>>,
    groups: RefCell<Vec<String>>,
}

impl Names for AnyNames {
    fn user(&self, name: &str) -> Option<u32> {
        SystemNames.user(name).or_else(|| stand_in(&self.users, name))
    }

    fn group(&self, name: &str) -> Option<u32> {
        SystemNames.group(name).or_else(|| stand_in(&self.groups, name))
    }
}

/// Counts down from the highest number, which means that there is none.
fn stand_in(known: &RefCell<Vec<String>>, name: &str) -> Option<u32> {
    let mut known = known.borrow_mut();
    let index = known.iter().position(|other| other == name).unwrap_or_else(|| {
        known.push(name.to_owned());
        known.len() - 1
    });
    u32::try_from(index).ok().and_then(|index| (u32::MAX - 1).checked_sub(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_another_machine_are_told_apart() {
        let names = AnyNames::default();
        assert_eq!(names.user("root"), Some(0));
        let (one, other) = (names.user("no such user"), names.user("nor this one"));
        assert!(one.is_some() && one != other);
        assert_eq!(names.user("no such user"), one);
    }
}
