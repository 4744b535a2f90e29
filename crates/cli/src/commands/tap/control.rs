//! Commands from stdin.

use std::io::{self, BufRead, Read};
use std::str::{FromStr, from_utf8};
use std::time::Duration;

use sspc_policy::suggest;

use crate::cable::{Change, parse_time};

/// The longest command line, in bytes.
const LINE_MAX: usize = 1024;

/// What the tap is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// For this long, or until it is restored.
    Cut(Option<Duration>),
    Restore,
    /// Cuts a whole wire, restores one that is cut.
    Toggle,
    Change(Change),
    Stats,
    Quit,
}

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let (name, value) = (words.next().unwrap_or_default(), words.next());
        let command = match (name, value) {
            _ if words.next().is_some() => return Err(format!("{name:?} takes one value at most")),
            ("cut", lasts) => Self::Cut(lasts.map(parse_time).transpose()?),
            ("restore", None) => Self::Restore,
            ("stats", None) => Self::Stats,
            ("quit", None) => Self::Quit,
            ("restore" | "stats" | "quit", Some(_)) => {
                return Err(format!("{name} takes no value"));
            }
            (setting, value) if Change::NAMES.contains(&setting) => match value {
                Some(value) => Self::Change(Change::parse(setting, value)?),
                None => return Err(format!("{setting} needs a value")),
            },
            _ => return Err(unknown(name)),
        };
        Ok(command)
    }
}

fn unknown(name: &str) -> String {
    let names = [&["cut", "restore"], &Change::NAMES[..], &["stats", "quit"]].concat();
    match suggest(name, names.iter().copied()) {
        Some(suggestion) => format!("there is no command {name:?}; {suggestion}"),
        None => format!("there is no command {name:?}; there are {}", names.join(", ")),
    }
}

/// Reads commands, one a line, until the input ends or `take` says no. A line that is
/// too long or not text is reported, and the next one is read as if nothing had happened.
pub(super) fn read(mut input: impl BufRead, mut take: impl FnMut(Result<Command, String>) -> bool) {
    while let Ok(Some(command)) = next_line(&mut input) {
        if !take(command) {
            return;
        }
    }
}

/// The command in the next line that is not empty; `None` at the end.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Result<Command, String>>> {
    loop {
        let mut line = Vec::new();
        // One byte more than allowed, so that too much is noticed.
        input.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.len() > LINE_MAX && !line.ends_with(b"\n") {
            input.skip_until(b'\n')?;
            return Ok(Some(Err(format!("a command has at most {LINE_MAX} bytes"))));
        }
        match from_utf8(&line) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => return Ok(Some(text.parse())),
            Err(_) => {
                let line = line.trim_ascii().escape_ascii();
                return Ok(Some(Err(format!("\"{line}\" is not a command: it is not UTF-8"))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<Result<Command, String>> {
        let mut all = Vec::new();
        read(input, |command| {
            all.push(command);
            true
        });
        all
    }

    #[test]
    fn a_line_is_a_command() {
        let half = Duration::from_millis(500);
        let flip = Change::parse("flip", "c2p:100").unwrap();
        let rate = Change::parse("rate", "off").unwrap();
        assert_eq!(
            all(b"cut\n\n cut 500ms \nrestore\nflip c2p:100\nrate off\nstats\nquit"),
            [
                Command::Cut(None),
                Command::Cut(Some(half)),
                Command::Restore,
                Command::Change(flip),
                Command::Change(rate),
                Command::Stats,
                Command::Quit,
            ]
            .map(Ok)
        );
    }

    #[test]
    fn what_is_no_command_says_what_is() {
        for wrong in ["pull", "flip", "flip much", "flip 1 2", "cut soon", "quit now", "stats 1"] {
            assert!(wrong.parse::<Command>().is_err(), "{wrong}");
        }
        let told = "pull".parse::<Command>().unwrap_err();
        assert!(told.contains("there are cut, restore"), "{told}");
        let told = "restor".parse::<Command>().unwrap_err();
        assert!(told.contains("did you mean `restore`?"), "{told}");
    }

    #[test]
    fn a_line_that_is_not_text_is_reported_and_the_next_one_obeyed() {
        // It was the last line that was read.
        let [wrong, right] = all(b"\xff\xfe stats\nstats").try_into().unwrap();
        assert!(wrong.unwrap_err().contains("\\xff\\xfe stats"));
        assert_eq!(right, Ok(Command::Stats));
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        // All of it was gathered in memory.
        let mut endless =
            io::BufReader::new(io::repeat(b'x').take(1 << 20).chain(&b"\nquit\n"[..]));
        assert!(next_line(&mut endless).unwrap().unwrap().unwrap_err().contains("1024 bytes"));
        assert_eq!(next_line(&mut endless).unwrap(), Some(Ok(Command::Quit)));
        assert_eq!(next_line(&mut endless).unwrap(), None);

        let exact = [b" ".repeat(LINE_MAX - 4).as_slice(), b"quit\n"].concat();
        assert_eq!(all(&exact), [Ok(Command::Quit)]);
    }
}
