//! Commands from stdin.

use std::io::BufRead;
use std::str::FromStr;
use std::time::Duration;

use super::harm::{Change, parse_time};

/// What whoever started the tap wants of it now.
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
        let unused = if words.next().is_some() { Some("one value") } else { None };
        let command = match (name, value) {
            _ if unused.is_some() => return Err(format!("{name:?} takes one value at most")),
            ("cut", lasts) => Self::Cut(lasts.map(parse_time).transpose()?),
            ("restore", None) => Self::Restore,
            ("stats", None) => Self::Stats,
            ("quit", None) => Self::Quit,
            ("restore" | "stats" | "quit", Some(_)) => {
                return Err(format!("{name} takes no value"));
            }
            ("flip" | "drop" | "double" | "burst" | "delay" | "jitter" | "rate", Some(value)) => {
                Self::Change(Change::parse(name, value)?)
            }
            ("flip" | "drop" | "double" | "burst" | "delay" | "jitter" | "rate", None) => {
                return Err(format!("{name} needs a value"));
            }
            _ => {
                return Err(format!(
                    "there is no command {name:?}; there are cut, restore, flip, drop, double, \
                     burst, delay, jitter, rate, stats and quit"
                ));
            }
        };
        Ok(command)
    }
}

/// Each line of the input, until its end.
pub(super) fn read(input: impl BufRead, mut tell: impl FnMut(Result<Command, String>)) {
    for line in input.lines().map_while(Result::ok) {
        if !line.trim().is_empty() {
            tell(line.parse());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &str) -> Vec<Result<Command, String>> {
        let mut all = Vec::new();
        read(input.as_bytes(), |command| all.push(command));
        all
    }

    #[test]
    fn a_line_is_a_command() {
        let half = Duration::from_millis(500);
        let flip = Change::parse("flip", "c2p:100").unwrap();
        let rate = Change::parse("rate", "off").unwrap();
        assert_eq!(
            all("cut\n\n cut 500ms \nrestore\nflip c2p:100\nrate off\nstats\nquit"),
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
    }
}
